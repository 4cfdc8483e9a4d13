//! What the machine must have, told in one line when it has not.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::{DemoError, MapSource};
use crate::lab::{End, EtcdServer, Lab, LabError, Vxlan};
use crate::wire::addr::{Mac, Vni};

/// EOPNOTSUPP, as the kernel answers a request for a kind of link it does not know.
const NOT_SUPPORTED: i32 = Errno::OPNOTSUPP.raw_os_error();

/// Looks for everything the demonstration needs, before it makes anything that matters.
pub(super) fn check() -> Result<(), DemoError> {
    let lacking = |what: &str| Err(DemoError::Host(what.to_string()));
    if !geteuid().is_root() {
        return lacking("the demonstration needs root (it makes network namespaces): try sudo");
    }
    let has = capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
    for (capability, name) in [
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
        (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
    ] {
        if !has.contains(capability) {
            return lacking(&format!("the demonstration needs {name}, which this root does not have"));
        }
    }
    if let Err(Errno::AFNOSUPPORT) = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None) {
        return lacking("this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)");
    }
    try_links()
}

/// Looks for what a source of the map needs besides.
pub(super) fn check_source(source: MapSource) -> Result<(), DemoError> {
    match source {
        MapSource::File => Ok(()),
        MapSource::Etcd if !cfg!(feature = "etcd") => Err(DemoError::Host(
            "this program was built without what `--source etcd` needs; build it with the feature `etcd`".into(),
        )),
        MapSource::Etcd if !EtcdServer::installed() => Err(DemoError::Host(
            "`--source etcd` starts a real etcd, and there is none in PATH: install the Debian package etcd-server"
                .into(),
        )),
        MapSource::Etcd => Ok(()),
    }
}

/// Makes one link of every kind in a namespace of its own.
fn try_links() -> Result<(), DemoError> {
    let lab = Lab::new("probe").and_then(|lab| Ok((lab.namespace("a")?, lab)));
    let (ns, lab) = lab.map_err(|e| DemoError::Host(format!("no network namespace can be made here: {e}")))?;
    let judge = |kind: &str, result: Result<(), LabError>| match result {
        Err(e) if e.io().raw_os_error() == Some(NOT_SUPPORTED) => {
            Err(DemoError::Host(format!("this kernel has no {kind} links (CONFIG_{})", kind.to_uppercase())))
        }
        Err(e) => Err(DemoError::Host(e.to_string())),
        Ok(()) => Ok(()),
    };
    judge("veth", lab.veth(&End::new(&ns, "v0"), &End::new(&ns, "v1")))?;
    judge("bridge", ns.bridge("b0"))?;
    let vni = Vni::from_octets([0, 0, 1]);
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let local = std::net::Ipv4Addr::LOCALHOST.into();
    let vxlan = Vxlan { name: "x0", vni, port: 4789, local, dev: "v0", mac, mtu: 1450, zero_checksum: false };
    judge("vxlan", ns.vxlan(&vxlan))
}
