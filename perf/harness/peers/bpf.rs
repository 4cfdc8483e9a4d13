//! The two peers in BPF: a tunnel in tc as Cilium's, and a gateway wholly in XDP. Sources in `perf/peers`.

use std::net::Ipv4Addr;
use std::path::Path;

use aya::maps::HashMap;
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode, tc};
use aya::{Ebpf, EbpfLoader};

use super::{BOTH_CORES, System};
use crate::Result;
use crate::bed::{
    ACCESS, BLUE, Bed, Cluster, GREEN, MAC_FAR, MAC_NEAR, MAC_SUT_ACCESS, MAC_SUT_UNDERLAY, SUT_UNDERLAY, UNDERLAY,
};

/// `struct route` of routes.h.
const ROUTE: usize = 24;
/// `struct bed` of routes.h.
const BED: usize = 44;

/// Programs at work: they go with this value.
pub(crate) struct Programs(#[expect(dead_code, reason = "held for its attachments")] Ebpf);

impl System for Programs {}

/// A gateway wholly in XDP.
pub(super) fn xdp(bed: &Bed) -> Result<Programs> {
    let mut object = load(bed, "xdp.bpf.o", [0, 0])?;
    for (program, port) in [("from_access", ACCESS), ("from_underlay", UNDERLAY)] {
        let program: &mut Xdp = object.program_mut(program).ok_or("no such program")?.try_into()?;
        program.load()?;
        bed.sut.run(|| program.attach(port, XdpMode::Driver).map(|_| ()).map_err(|e| e.to_string()))??;
    }
    Ok(Programs(object))
}

/// A tunnel in tc. One external vxlan device for each UDP port: the port is the device's, not the packet's.
pub(super) fn tc(bed: &Bed) -> Result<Programs> {
    let mut tunnels = [0; 2];
    for (cluster, index) in [BLUE, GREEN].iter().zip(&mut tunnels) {
        let (device, port) = (device(cluster), cluster.udp_port.to_string());
        let add = ["link", "add", &device, "type", "vxlan", "external", "dstport", &port];
        bed.run(&bed.sut, "ip", &add)?;
        bed.run(&bed.sut, "ip", &["link", "set", &device, "address", &cluster.gateway_mac().to_string(), "up"])?;
        *index = bed.sut.index(&device)?;
    }
    let mut object = load(bed, "tc.bpf.o", tunnels)?;
    let ports = [("from_access", ACCESS.to_string())];
    let tunnels = [BLUE, GREEN].map(|c| ("from_tunnel", device(&c)));
    for name in ["from_access", "from_tunnel"] {
        let program: &mut SchedClassifier = object.program_mut(name).ok_or("no such program")?.try_into()?;
        program.load()?;
        for (_, device) in ports.iter().chain(&tunnels).filter(|(program, _)| *program == name) {
            let attach = || {
                tc::qdisc_add_clsact(device).map_err(|e| e.to_string())?;
                program.attach(device, TcAttachType::Ingress).map(|_| ()).map_err(|e| e.to_string())
            };
            bed.sut.run(attach)??;
        }
    }
    bed.poll_without_xdp()?;
    bed.spread(ACCESS, BOTH_CORES)?;
    bed.spread(UNDERLAY, BOTH_CORES)?;
    Ok(Programs(object))
}

fn device(cluster: &Cluster) -> String {
    format!("vx-{}", cluster.name)
}

fn load(bed: &Bed, object: &str, tunnels: [u32; 2]) -> Result<Ebpf> {
    let place = config(bed, tunnels)?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/perf").join(object);
    let mut object = EbpfLoader::new().override_global("bed", &place, true).load_file(file)?;
    let mut routes: HashMap<_, [u8; 4], [u8; ROUTE]> = object.map_mut("routes").ok_or("no map `routes`")?.try_into()?;
    for (overlay, cluster) in [BLUE, GREEN].iter().enumerate() {
        for node in 0..bed.nodes {
            let route = route(cluster, overlay as u8, node);
            routes.insert(cluster.network(node).octets(), route, 0)?;
        }
    }
    // the native network, all of it behind one neighbour
    for third in 0..=255 {
        routes.insert(Ipv4Addr::new(10, 10, third, 0).octets(), [0; ROUTE], 0)?;
    }
    Ok(object)
}

fn route(cluster: &Cluster, overlay: u8, node: u32) -> [u8; ROUTE] {
    let mut bytes = [0; ROUTE];
    bytes[..4].copy_from_slice(&cluster.vtep(node).octets());
    bytes[4..8].copy_from_slice(&cluster.vni.to_ne_bytes());
    bytes[8..10].copy_from_slice(&cluster.udp_port.to_be_bytes());
    bytes[10] = overlay;
    bytes[12..18].copy_from_slice(&cluster.vtep_mac(node).0);
    bytes[18..24].copy_from_slice(&cluster.gateway_mac().0);
    bytes
}

fn config(bed: &Bed, tunnels: [u32; 2]) -> Result<[u8; BED]> {
    let mut bytes = Vec::with_capacity(BED);
    for index in [bed.sut.index(ACCESS)?, bed.sut.index(UNDERLAY)?, tunnels[0], tunnels[1]] {
        bytes.extend(index.to_ne_bytes());
    }
    bytes.extend(SUT_UNDERLAY.octets());
    for mac in [MAC_NEAR, MAC_FAR, MAC_SUT_ACCESS, MAC_SUT_UNDERLAY] {
        bytes.extend(mac.0);
    }
    bytes.try_into().map_err(|b: Vec<u8>| format!("struct bed has {} bytes", b.len()).into())
}
