//! `[[source]]`: where the map is learnt from, beside the file itself.

use super::reader::{At, Field, Section};
use super::{Advertise, kinds};
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
    pub(super) advertise: Field<Advertise>,
}

/// Reads the keys of one kind.
type Keys = fn(&mut Section<'_, '_>) -> Option<Kind>;

/// The kinds, each with what reads its keys.
const KINDS: &[(&str, Keys)] = &[("flannel-etcd", etcd)];

#[cfg(not(feature = "etcd"))]
fn etcd(s: &mut Section<'_, '_>) -> Option<Kind> {
    s.forgive();
    s.wrong("kind", "this program was built without it: build it with the feature `etcd`");
    None
}

#[cfg(feature = "etcd")]
fn etcd(s: &mut Section<'_, '_>) -> Option<Kind> {
    use core::time::Duration;

    use crate::control::etcd::{Identity, LIFETIME, Options, PREFIX, User};

    let endpoints = s.required_list("endpoints", "an array of at least one URL", kinds::etcd_endpoint);
    let prefix = s.or("prefix", PREFIX.into(), kinds::etcd_prefix);
    let ca = s.optional("ca", kinds::directory);
    let identity = s.both(("certificate", kinds::directory), ("key", kinds::directory));
    let user = s.both(("user", kinds::string), ("password_file", kinds::directory));
    let lifetime = s.or("lease_seconds", LIFETIME.as_secs(), kinds::integer("a time in seconds", 5..=86_400u64));
    let endpoints: Vec<String> = endpoints?.value.into_iter().flatten().map(|at| at.value).collect();
    Some(Kind::FlannelEtcd(Options {
        endpoints,
        prefix: prefix?.value,
        ca: ca.known().map(|at| at.value.clone()),
        identity: identity.map(|(certificate, key)| Identity { certificate, key }),
        user: user.map(|(name, password)| User { name, password }),
        lifetime: Duration::from_secs(lifetime?.value),
    }))
}

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
        advertise: s.optional("advertise", kinds::advertise),
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
