//! `[[source]]`: where the map is learnt from, beside the file itself.

use core::time::Duration;
use std::path::PathBuf;

use super::reader::{At, Field, Section};
use super::{Advertise, fragment, kinds};
use crate::control::etcd::{self, Identity, User};
use crate::control::kubernetes::{self, Access};
use crate::control::source::kernel::MAIN_TABLE;
use crate::control::source::{Kind, directory, kernel};
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
    pub(super) deregister: Field<bool>,
}

/// Reads the keys of one kind.
type Keys = fn(&mut Section<'_, '_>) -> Option<Kind>;

/// The kinds, each with what reads its keys.
const KINDS: &[(&str, Keys)] = &[
    ("flannel-etcd", flannel_etcd),
    ("flannel-kube", flannel_kube),
    ("kernel", kernel_keys),
    ("directory", directory_keys),
];

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
    let ca = s.optional("ca", kinds::absolute_path);
    let identity =
        both(s, "certificate", "key").map(|pair| pair.map(|(certificate, key)| Identity { certificate, key }));
    let lifetime = s.or("lease_seconds", etcd::LIFETIME.as_secs(), kinds::integer("a time in seconds", 5..=86_400u64));
    let user = s.optional("username", kinds::string);
    let password = s.optional("password_file", kinds::absolute_path);
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
        lifetime: Duration::from_secs(lifetime?.value),
    }))
}

fn flannel_kube(s: &mut Section<'_, '_>) -> Option<Kind> {
    built_with(s, "kubernetes", cfg!(feature = "kubernetes"));
    let kubeconfig = s.optional("kubeconfig", kinds::absolute_path);
    let context = s.optional("context", kinds::string);
    let annotations = s.optional("annotations", kinds::annotation_prefix);
    let net_conf = s.optional("net_conf", kinds::config_map);
    let gateway = s.or("gateway", kubernetes::GATEWAY.to_owned(), kinds::node_name);
    let access = Access { kubeconfig: kubeconfig.settled()?, context: context.settled()? };
    if access.kubeconfig.is_none() && access.context.is_some() {
        s.complain("context", "a context is part of a file; `kubeconfig` says which".to_owned());
        return None;
    }
    Some(Kind::FlannelKube(kubernetes::Options {
        access,
        annotations: annotations.settled()?.unwrap_or_default(),
        net_conf: net_conf.settled()?.unwrap_or_default(),
        gateway: gateway?.value,
    }))
}

/// Two files of which neither is of use alone. `None` if something is wrong with them.
fn both(s: &mut Section<'_, '_>, one: &'static str, other: &'static str) -> Option<Option<(PathBuf, PathBuf)>> {
    let (first, second) =
        (s.optional(one, kinds::absolute_path).settled()?, s.optional(other, kinds::absolute_path).settled()?);
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
    let advertise = s.optional("advertise", kinds::advertise);
    let deregister = s.optional("deregister_on_stop", kinds::boolean);
    // which keys there are besides, nobody knows where the kind is unknown
    let kind = match kind {
        Some(keys) => (keys.value)(s),
        None => {
            s.forgive();
            None
        }
    };
    if advertise.known().is_some() && kind.as_ref().is_some_and(|kind| !kind.attracts()) {
        s.complain("advertise", "a source of this kind has no place where the gateway could register itself".into());
    }
    if deregister.known().is_some() && advertise.known().is_none() {
        s.complain("deregister_on_stop", "nothing is registered; it belongs to `advertise`".into());
    }
    RawSource {
        name,
        overlay,
        preference: s.or("preference", 100, kinds::integer("a preference", 0..=255u8)),
        allow: s.list("allow", prefixes, kinds::prefix),
        vteps: s.list("vteps", prefixes, kinds::prefix),
        max_prefixes: s.or("max_prefixes", 250_000, kinds::integer("a number of prefixes", 1..=2_000_000u32)),
        withdraw_at_most: s.or("withdraw_at_most", 50, kinds::integer("a percentage", 0..=100u8)),
        advertise,
        deregister,
        kind,
    }
}

fn kernel_keys(s: &mut Section<'_, '_>) -> Option<Kind> {
    let device = s.required("device", kinds::interface);
    let table = s.or("table", MAIN_TABLE, kinds::integer("the number of a routing table", 1..=u32::MAX));
    Some(Kind::Kernel(kernel::Options { device: device?.value, table: table?.value }))
}

fn directory_keys(s: &mut Section<'_, '_>) -> Option<Kind> {
    let path = s.required("path", kinds::absolute_path)?.value;
    Some(Kind::Directory(directory::Options { path, read: fragment::claims }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const SAMPLE: &str = include_str!("../../config/sources.toml");

    #[test]
    fn each_kind_of_the_sample_is_read_and_its_mistakes_are_named() {
        let config = Config::parse(SAMPLE, "sources.toml").unwrap_or_else(|e| panic!("{e}"));
        let of = |name: &str| config.sources.iter().find(|s| s.name == name).map(|s| s.kind.clone());
        let device = kernel::Options { device: "flannel.1".to_owned(), table: MAIN_TABLE };
        assert_eq!(of("east-device"), Some(Kind::Kernel(device)));
        assert_eq!(of("east-files").unwrap().origin(), "directory /etc/selvedge/east.d");
        let wrong = |from: &str, to: &str| {
            assert!(SAMPLE.contains(from), "{from}");
            Config::parse(&SAMPLE.replacen(from, to, 1), "f").unwrap_err().to_string()
        };
        assert!(wrong("# table = 254", "table = 0").contains("1 to 4294967295"));
        assert!(wrong("device = \"flannel.1\"", "").contains("needs `device`"));
        assert!(wrong("device =", "devise =").contains("did you mean `device`?"));
        assert!(wrong("\"/etc/selvedge/east.d\"", "\"east.d\"").contains("an absolute path"));
    }
}
