//! A VTEP behind a router, on a link that may take less than that of the gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use selvedge::lab::{End, Family, Host, Namespace, Shape};
use selvedge::wire::Prefix;

use super::netns::{Net, run_in};

/// A network in which green1 is behind a router.
pub(crate) struct Far {
    pub(crate) net: Net,
    pub(crate) router: Namespace,
    /// The VTEP of green1.
    pub(crate) vtep: IpAddr,
}

/// The router's address on the underlay, that on the far link, and the VTEP behind it; and the length of both prefixes.
pub(crate) fn addresses(outer: Family) -> ([IpAddr; 3], u8) {
    match outer {
        Family::V4 => {
            let far = |host| Ipv4Addr::new(203, 0, 113, host).into();
            ([Ipv4Addr::new(192, 0, 2, 99).into(), far(1), far(5)], 24)
        }
        Family::V6 => {
            let at = |net, host| Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host).into();
            ([at(0, 0x99), at(2, 1), at(2, 5)], 64)
        }
    }
}

impl Far {
    /// Moves green1 behind a router, and the gateway's peer with it. Its VXLAN device sends with DF: fragments would come
    /// from the node otherwise, and the gateway takes none.
    pub(crate) fn new(tag: &str, outer: Family) -> Option<Self> {
        Self::with_mtu(tag, outer, Shape::default().mtu)
    }

    /// The same with links of another MTU.
    pub(crate) fn with_mtu(tag: &str, outer: Family, mtu: u16) -> Option<Self> {
        let mut net = Net::shaped(tag, Shape { underlay: outer, mtu, dual_stack: true, ..Shape::default() })?;
        let t = net.t.clone();
        let (green, green1) = (&t.green, &t.green.nodes[0]);
        let ([near, far, vtep], len) = addresses(outer);
        let router = net.lab.namespace("router").unwrap();
        for key in ["ipv6.conf.all.disable_ipv6", "ipv6.conf.default.disable_ipv6", "ipv6.conf.default.accept_dad"] {
            router.sysctl(&format!("net.{key}"), "0").unwrap();
        }
        for key in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
            router.sysctl(&format!("net.{key}"), "1").unwrap();
        }
        let end = |ns, name| End::new(ns, name).mtu(mtu);
        net.lab.veth(&end(&router, "near").address(near, len), &end(&t.fabric, "router")).unwrap();
        t.fabric.attach("router", "br0").unwrap();
        net.lab.veth(&end(&router, "far").address(far, len), &end(&green1.ns, "far").address(vtep, len)).unwrap();
        green1.ns.route(Prefix::host(t.gateway_vtep), far).unwrap();
        t.gateway.route(Prefix::host(vtep).widened(len), near).unwrap();

        let device = green.device();
        green1.ns.delete(&device).unwrap();
        let (mac, vni, port) = (green1.vtep_mac.to_string(), green.vni.to_string(), green.udp_port.to_string());
        let (local, mtu) = (vtep.to_string(), t.shape.inner_mtu().to_string());
        let words = ["ip", "link", "add", &device, "address", &mac, "mtu", &mtu, "type", "vxlan", "id", &vni];
        let more = ["dev", "far", "local", &local, "dstport", &port, "nolearning", "df", "set"];
        run_in(&green1.ns, &[&words[..], &more].concat());
        green1.ns.up(&device).unwrap();
        for address in &green1.device_addresses {
            green1.ns.address(&device, *address, Prefix::host(*address).len()).unwrap();
        }
        green1.ns.fdb(&device, green.gateway_mac, t.gateway_vtep).unwrap();
        for gateway in green.gateway_addresses() {
            green1.ns.neighbour(&device, gateway, green.gateway_mac).unwrap();
            let natives = [t.native_prefix].into_iter().chain(t.native_prefix6);
            let outside = t.blue.all_pods().chain(natives).chain([Prefix::host(gateway)]);
            for prefix in outside.filter(|prefix| prefix.addr().is_ipv4() == gateway.is_ipv4()) {
                green1.ns.route_onlink(prefix, gateway, &device).unwrap();
            }
        }
        net.edit(&format!("vtep = \"{}\"", green1.vtep), &format!("vtep = \"{vtep}\""));
        Some(Self { net, router, vtep })
    }

    /// Both ends of the far link.
    pub(crate) fn link(&self, mtu: u16) {
        self.router.mtu("far", mtu).unwrap();
        self.net.t.green.nodes[0].ns.mtu("far", mtu).unwrap();
    }

    /// The path MTU that the gateway has learnt, if any.
    pub(crate) fn learnt(&self) -> Option<f64> {
        self.net.scrape().max("selvedge_path_mtu_bytes", &[("vtep", &self.vtep.to_string())])
    }

    pub(crate) fn ends(&self) -> (Host, Host) {
        (self.net.t.native.clone(), self.net.t.green.nodes[0].pod.clone())
    }
}
