//! Which MTUs are possible on this host, and why not larger ones.

use super::facts::{HostFacts, InterfaceFacts};
use super::plan::{Attach, Finding, Matched};
use super::{Config, Switch};
use crate::wire::Mtu;
use crate::wire::vlan::TAG;

/// `XDP_USE_SG` came with 6.6.
const KERNEL: (u32, u32) = (6, 6);

/// What the kernel keeps free in front of every received frame (XDP_PACKET_HEADROOM), and in every further chunk of it.
const HEADROOM: u32 = 256;

/// What a driver needs behind a frame for its own book-keeping (`struct skb_shared_info`) in native XDP.
const TAILROOM: u32 = 320;

/// Drivers receive for XDP into one page, unless into several.
const PAGE: u32 = 4096;

/// Ethernet header.
const ETHERNET: u32 = 14;

/// The largest MTU whose frames a driver can receive into one page.
const ONE_PAGE: u32 = PAGE - HEADROOM - TAILROOM - ETHERNET;

/// The largest MTU that is obeyed, whatever the interface's.
const LARGEST: u32 = Mtu::MAX as u32;

/// What decides about the size of packets.
pub(super) struct Sizes<'a> {
    config: &'a Config,
    kernel: (u32, u32),
    /// Packets may have several chunks.
    multi_buffer: bool,
}

/// Why a port has no packets in several chunks, and what would mend it if anything does.
struct Refusal {
    why: String,
    mend: Option<String>,
}

impl<'a> Sizes<'a> {
    /// Packets have several chunks where the file insists, or where a port's MTU takes it (or its driver several pages) and
    /// all such ports can.
    pub(super) fn new(config: &'a Config, host: &HostFacts, ports: &[Matched<'_>], attached: &[Attach]) -> Self {
        let mut sizes = Self { config, kernel: host.kernel, multi_buffer: config.xdp.multi_buffer == Switch::On };
        if config.xdp.multi_buffer == Switch::Auto {
            let one = |p: &Matched<'_>| sizes.one_chunk(p).min(ONE_PAGE);
            let mut large = ports.iter().zip(attached).filter(|(p, _)| p.obeyed() > one(p)).peekable();
            let wanted = large.peek().is_some();
            sizes.multi_buffer = wanted && large.all(|(p, attach)| sizes.refusal(p, *attach).is_none());
        }
        sizes
    }

    /// Packets may have several chunks.
    pub(super) fn multi_buffer(&self) -> bool {
        self.multi_buffer
    }

    fn chunk(&self) -> u32 {
        self.config.memory.chunk_size.into()
    }

    /// The largest MTU whose frames fit one chunk.
    fn one_chunk(&self, port: &Matched<'_>) -> u32 {
        self.chunk() - HEADROOM - port.frame()
    }

    /// The chunks of a packet of the largest MTU, encapsulated, where that is more than a zero-copy socket of the port
    /// sends; and how many it does.
    pub(super) fn too_many_pieces(&self, port: &Matched<'_>) -> Option<(u32, u32)> {
        let most = port.device.zero_copy_segments.filter(|_| self.multi_buffer)?;
        let pieces = self.pieces(port);
        (pieces > most).then_some((pieces, most))
    }

    fn pieces(&self, port: &Matched<'_>) -> u32 {
        (port.obeyed() + port.frame()).div_ceil(self.chunk() - HEADROOM)
    }

    fn refusal(&self, port: &Matched<'_>, attach: Attach) -> Option<Refusal> {
        let InterfaceFacts { driver, xdp_sg, .. } = port.device;
        let (major, minor) = self.kernel;
        let (why, mend) = match (self.config.xdp.multi_buffer, attach, xdp_sg) {
            (Switch::Off, ..) => ("xdp.multi_buffer is \"off\"".to_owned(), Some("xdp.multi_buffer = \"auto\"")),
            _ if self.kernel < KERNEL => {
                (format!("kernel {major}.{minor} has none, 6.6 has"), Some("boot a kernel of 6.6 or newer"))
            }
            (_, Attach::Generic, _) => ("there are none in generic mode".to_owned(), None),
            (_, _, Some(false)) => (format!("driver `{driver}` has none"), None),
            (_, _, None) => (format!("driver `{driver}` does not say that it has any"), None),
            _ => return None,
        };
        Some(Refusal { why, mend: mend.map(str::to_owned) })
    }

    /// Which MTU the port could have.
    pub(super) fn most(&self, port: &Matched<'_>, attach: Attach) -> String {
        let one = self.one_chunk(port);
        let pieces = self.pieces(port);
        match (self.refusal(port, attach), self.multi_buffer && pieces > 1) {
            (None, true) => format!("in up to {pieces} chunks; at most {LARGEST}"),
            (None, false) => format!("in one chunk, which holds {one}; at most {LARGEST} in several"),
            (Some(no), _) => format!("at most {one}, what a chunk holds; packets in several: {}", no.why),
        }
    }

    /// Can the port have its MTU?
    pub(super) fn check(&self, port: &Matched<'_>, attach: Attach, findings: &mut Vec<Finding>) {
        let InterfaceFacts { name, mtu, .. } = port.facts;
        if port.mtu.is_none() {
            findings.push(Finding::error(
                format!("{name}: its MTU of {mtu} is less than the 576 bytes every IPv4 host must take"),
                format!("ip link set dev {name} mtu 1500"),
            ));
            return;
        }
        match self.refusal(port, attach) {
            None if self.multi_buffer => return self.several(port, findings),
            Some(no) if self.config.xdp.multi_buffer == Switch::On => findings.push(Finding::error(
                format!(
                    "{name}: packets in several chunks cannot be had, since {}, but xdp.multi_buffer is \"on\"",
                    no.why
                ),
                no.mend.unwrap_or_else(|| "xdp.multi_buffer = \"auto\"".to_owned()),
            )),
            refusal => self.one(port, refusal, findings),
        }
        self.page(port, attach, findings);
    }

    /// In several chunks.
    fn several(&self, port: &Matched<'_>, findings: &mut Vec<Finding>) {
        let InterfaceFacts { name, mtu, .. } = port.facts;
        if *mtu > LARGEST {
            findings.push(Finding::warning(
                format!(
                    "{name}: an MTU of {mtu} is beyond {LARGEST}, the largest that is obeyed. Larger frames are lost"
                ),
                format!("ip link set dev {name} mtu {LARGEST}"),
            ));
        }
    }

    /// In one chunk.
    fn one(&self, port: &Matched<'_>, refusal: Option<Refusal>, findings: &mut Vec<Finding>) {
        let InterfaceFacts { name, mtu, .. } = port.facts;
        let (chunk, frame, largest) = (self.chunk(), port.frame(), self.one_chunk(port));
        if *mtu <= largest {
            return;
        }
        let (why, cure) = match refusal {
            Some(Refusal { why, mend }) => (format!("; packets in several: {why}"), mend),
            // it could, and another port, which cannot, has such an MTU, too; or the file promises a smaller one
            None => (String::new(), None),
        };
        let what = format!(
            "{name}: a frame of MTU {mtu} is {} bytes with Ethernet header and VLAN tag, but a chunk of {chunk} has room \
             for {}: the kernel keeps {HEADROOM} in front{why}. Larger frames are lost",
            mtu + frame,
            largest + frame
        );
        let lower = format!("ip link set dev {name} mtu {largest}");
        let most = (PAGE - HEADROOM - frame).min(ONE_PAGE);
        let larger = (chunk < PAGE).then(|| match *mtu <= most {
            true => format!("memory.chunk_size = {PAGE}"),
            false => format!("memory.chunk_size = {PAGE} and ip link set dev {name} mtu {most}"),
        });
        let mend: Vec<String> = cure.into_iter().chain(larger).chain([lower]).collect();
        // A smaller MTU in the file is a promise that neighbours keep to it.
        let finding = if port.obeyed() > largest { Finding::error } else { Finding::warning };
        findings.push(finding(what, mend.join(", or ")));
    }

    /// Without packets in several buffers, a driver receives for XDP into one page.
    fn page(&self, port: &Matched<'_>, attach: Attach, findings: &mut Vec<Finding>) {
        let InterfaceFacts { name, mtu, .. } = port.device;
        if attach == Attach::Native && *mtu > ONE_PAGE {
            findings.push(Finding::warning(
                format!(
                    "{name}: MTU {mtu} is beyond the {ONE_PAGE} a driver can receive into one page for XDP (less {HEADROOM} \
                     in front, {TAILROOM} behind and the Ethernet header); many drivers refuse the program"
                ),
                format!("ip link set dev {name} mtu {ONE_PAGE}"),
            ));
        }
    }
}

impl Matched<'_> {
    /// Bytes of a frame in front of its packet: the Ethernet header, and the port's VLAN tags. One tag is reckoned with
    /// on every port.
    fn frame(&self) -> u32 {
        ETHERNET + self.tags.len().max(TAG) as u32
    }

    /// The MTU to obey; 0 if there is none.
    fn obeyed(&self) -> u32 {
        self.mtu.map_or(0, |m| m.get().into())
    }
}
