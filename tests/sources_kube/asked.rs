//! What is asked in these tests.

use selvedge::control::kubernetes::{Access, Options};
use selvedge::control::source::flannel::{Family, Half};
use selvedge::control::source::kube::Kube;
use selvedge::wire::Vni;

/// flannel as its own manifest sets it up, and an overlay of a family.
pub(crate) fn options(access: Access) -> Options {
    Options { access, annotations: Default::default(), net_conf: Default::default(), gateway: "gateway".into() }
}

/// The half of it that a usual overlay is.
pub(crate) fn half(family: Family) -> Half {
    Half { family, vni: Vni::new(1).unwrap(), udp_port: 8472 }
}

/// A source of both.
pub(crate) fn asked(access: Access, family: Family) -> Kube {
    Kube::new(options(access), half(family))
}
