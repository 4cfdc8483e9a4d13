//! Frames as they arrive, one after the other, all of one length.

use super::Random;
use super::gateway::frames::{Ip, Vxlan, ethernet};
use super::gateway::{ACCESS, BLUE_MAC, BLUE_VTEP, PORT_MACS, ROUTER, UNDERLAY, plain};
use super::world::{Net, Node, Size, native, node, pod};
use selvedge::tables::PortId;

/// What the frames of a case are. They come around without end.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    pub(crate) port: PortId,
    bytes: Vec<u8>,
    len: usize,
}

/// The ways through the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Journey {
    Encap,
    Decap,
    Transit,
}

impl Journey {
    pub(crate) const ALL: [Self; 3] = [Self::Encap, Self::Decap, Self::Transit];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Encap => "encap",
            Self::Decap => "decap",
            Self::Transit => "transit",
        }
    }

    pub(crate) const fn port(self) -> PortId {
        match self {
            Self::Encap => ACCESS,
            Self::Decap | Self::Transit => UNDERLAY,
        }
    }
}

/// Native hosts that talk to pods.
const HOSTS: usize = 250;

impl Traffic {
    /// Frames from `make`, which must all have the same length.
    pub(crate) fn of(port: PortId, frames: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut all = Self { port, bytes: Vec::new(), len: 0 };
        for frame in frames {
            assert!(all.len == 0 || all.len == frame.len(), "frames of one length only");
            all.len = frame.len();
            all.bytes.extend(frame);
        }
        assert!(all.len > 0, "no traffic");
        all
    }

    /// `size.flows` flows over `size.pods` pods, in an order without one, with `data` bytes of UDP payload.
    pub(crate) fn flows(journey: Journey, size: Size, data: usize, seed: u64) -> Self {
        let (mut random, data) = (Random(seed), vec![7; data]);
        let far = random.order(size.pods);
        let make = |n: usize| {
            let ports = (1024 + (n / size.pods) as u16, 80);
            let (near, far) = (n % size.pods, far[n % size.pods]);
            match journey {
                Journey::Encap => plain(&Ip::udp(native(n % HOSTS), pod(Net::Blue, far, size.nodes), ports, &data)),
                Journey::Decap | Journey::Transit => {
                    let to = match journey {
                        Journey::Decap => native(n % HOSTS),
                        _ => pod(Net::Green, far, size.nodes),
                    };
                    let from = pod(Net::Blue, near, size.nodes);
                    vxlan(node(Net::Blue, near % size.nodes), &Ip::udp(from, to, ports, &data)).frame()
                }
            }
        };
        let order = Random(seed ^ 1).order(size.flows);
        Self::of(journey.port(), order.into_iter().map(make))
    }

    /// The frames of both, one of each in turn.
    pub(crate) fn mixed(a: &Self, b: &Self) -> Self {
        let many = a.count().max(b.count());
        Self::of(a.port, (0..many).flat_map(|n| [a.frame(n).to_vec(), b.frame(n).to_vec()]))
    }

    /// Frame `n`, the first again after the last.
    #[inline]
    pub(crate) fn frame(&self, n: usize) -> &[u8] {
        let at = n % self.count() * self.len;
        &self.bytes[at..at + self.len]
    }

    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / self.len
    }

    /// All frames, each for itself.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        self.bytes.chunks_exact(self.len).map(<[u8]>::to_vec).collect()
    }
}

/// A VXLAN packet of a node of the blue overlay.
pub(crate) fn vxlan((vtep, mac): Node, ip: &Ip) -> Vxlan {
    Vxlan {
        link: (PORT_MACS[0], ROUTER),
        outer: Ip::new(vtep, BLUE_VTEP, 17, vec![]),
        udp_port: 8472,
        flags: 8,
        vni: 1,
        inner: ethernet(BLUE_MAC, mac, 0x0800, &ip.bytes()),
    }
}
