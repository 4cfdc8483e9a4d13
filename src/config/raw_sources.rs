//! `[[source]]`: where the map is learnt from, beside the file itself.

use std::path::PathBuf;

use super::kinds;
use super::reader::{At, Field, Section};
use crate::control::etcd::{self, Identity, User};
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
const KINDS: &[(&str, Keys)] = &[("flannel-etcd", flannel_etcd)];

/// What a gateway that was built without a client says.
fn built_with(s: &mut Section<'_, '_>, feature: &'static str, is: bool) {
    if !is {
        s.complain("kind", format!("this gateway was built without it; build it with the feature `{feature}`"));
    }
}

fn flannel_etcd(s: &mut Section<'_, '_>) -> Option<Kind> {
    built_with(s, "etcd", cfg!(feature = "etcd"));
    let endpoints = s.required_list("endpoints", "an array of at least one URL", kinds::url);
    let prefix = s.or("prefix", etcd::PREFIX.to_owned(), kinds::etcd_prefix);
    let ca = s.optional("ca", kinds::directory);
    let identity =
        both(s, "certificate", "key").map(|pair| pair.map(|(certificate, key)| Identity { certificate, key }));
    let user = s.optional("username", kinds::string);
    let password = s.optional("password_file", kinds::directory);
    let user = match (user.settled()?, password.settled()?) {
        (Some(name), Some(password)) => Some(User { name, password }),
        (None, None) => None,
        (name, _) => {
            let missing = if name.is_some() { "password_file" } else { "username" };
            s.complain(missing, "missing; `username` and `password_file` go together".to_owned());
            return None;
        }
    };
    Some(Kind::FlannelEtcd(etcd::Options {
        endpoints: endpoints?.value.into_iter().map(|at| at.map(|at| at.value)).collect::<Option<_>>()?,
        prefix: prefix?.value,
        ca: ca.settled()?,
        identity: identity?,
        user,
    }))
}

/// Two files of which neither is of use alone. `None` if something is wrong with them.
fn both(s: &mut Section<'_, '_>, one: &'static str, other: &'static str) -> Option<Option<(PathBuf, PathBuf)>> {
    let (first, second) =
        (s.optional(one, kinds::directory).settled()?, s.optional(other, kinds::directory).settled()?);
    match (first, second) {
        (Some(first), Some(second)) => Some(Some((first, second))),
        (None, None) => Some(None),
        (first, _) => {
            let missing = if first.is_some() { other } else { one };
            s.complain(missing, format!("missing; `{one}` and `{other}` go together"));
            None
        }
    }
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
