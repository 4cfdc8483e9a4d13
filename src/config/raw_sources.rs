//! `[[source]]`: where the map is learnt from, beside the file itself.

use super::kinds;
use super::reader::{At, Field, Section};
use crate::control::source::Kind;
use crate::wire::Prefix;

/// One `[[source]]`.
pub(super) struct RawSource {
    pub(super) name: Option<At<String>>,
    pub(super) overlay: Option<At<String>>,
    pub(super) kind: Option<Kind>,
    pub(super) preference: Option<At<u8>>,
    /// Wrong ones stand as `None`.
    pub(super) allow: Field<Vec<Option<At<Prefix>>>>,
    pub(super) vteps: Field<Vec<Option<At<Prefix>>>>,
    pub(super) max_prefixes: Option<At<u32>>,
    pub(super) withdraw_at_most: Option<At<u8>>,
}

/// Reads the keys of one kind.
type Keys = fn(&mut Section<'_, '_>) -> Option<Kind>;

/// The kinds, each with what reads its keys.
const KINDS: &[(&str, Keys)] = &[];

pub(super) fn source(s: &mut Section<'_, '_>) -> RawSource {
    let name = s.required("name", kinds::overlay_name);
    s.set_label(name.as_ref().map(|n| n.value.as_str()));
    let overlay = s.required("overlay", kinds::string);
    let kind = s.required("kind", kinds::word(KINDS));
    let prefixes = "an array of at least one prefix";
    RawSource {
        name,
        overlay,
        preference: s.or("preference", 100, kinds::integer("a preference", 0..=255u8)),
        allow: s.list("allow", prefixes, kinds::prefix),
        vteps: s.list("vteps", prefixes, kinds::prefix),
        max_prefixes: s.or("max_prefixes", 250_000, kinds::integer("a number of prefixes", 1..=2_000_000u32)),
        withdraw_at_most: s.or("withdraw_at_most", 50, kinds::integer("a percentage", 0..=100u8)),
        // which keys there are besides, nobody knows where the kind is unknown
        kind: match kind {
            Some(keys) => (keys.value)(s),
            None => {
                s.forgive();
                None
            }
        },
    }
}
