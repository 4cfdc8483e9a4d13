//! A VXLAN packet field by field, to be spoilt field by field, and its bytes, written by hand from the RFCs.

use std::net::IpAddr;

/// A checksum field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checksum {
    Zero,
    Right,
    /// The right one with these bits flipped.
    Off(u16),
}

/// An IP header. What is `None` is as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// TOS or traffic class.
    pub(crate) tos: u8,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// What tells one packet from another: identification, or flow label.
    pub(crate) id: u16,
    /// IPv4: flags and fragment offset. IPv6: those of a fragment header, which is there if it is not 0.
    pub(crate) fragment: u16,
    pub(crate) protocol: u8,
    /// IPv4: options, a multiple of four bytes. IPv6: destination options, a multiple of eight less two.
    pub(crate) options: Vec<u8>,
    pub(crate) version: Option<u8>,
    /// IPv4: header length in words.
    pub(crate) words: Option<u8>,
    /// Added to the length field.
    pub(crate) length_off: i32,
    pub(crate) checksum: Checksum,
}

/// IPv4: don't fragment.
const DF: u16 = 0x4000;
/// More fragments, in IPv4's spelling.
pub(crate) const MF: u16 = 0x2000;

const DESTINATION_OPTIONS: u8 = 60;
const FRAGMENT: u8 = 44;

impl Header {
    pub(crate) fn new(src: IpAddr, dst: IpAddr, protocol: u8) -> Self {
        Self {
            src,
            dst,
            tos: 0,
            ttl: 64,
            id: 0,
            fragment: if src.is_ipv4() { DF } else { 0 },
            protocol,
            options: Vec::new(),
            version: None,
            words: None,
            length_off: 0,
            checksum: Checksum::Right,
        }
    }

    pub(crate) fn ethertype(&self) -> u16 {
        if self.src.is_ipv4() { 0x0800 } else { 0x86dd }
    }

    /// The pseudo-header of a payload (RFC 768, RFC 8200 §8.1).
    fn pseudo(&self, length: usize) -> Vec<u8> {
        let mut out = self.addresses();
        out.extend((length as u32).to_be_bytes());
        out.extend([0, 0, 0, self.protocol]);
        out
    }

    fn addresses(&self) -> Vec<u8> {
        let octets = |address| match address {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        [octets(self.src), octets(self.dst)].concat()
    }

    pub(crate) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        if self.src.is_ipv4() { self.v4(payload) } else { self.v6(payload) }
    }

    fn v4(&self, payload: &[u8]) -> Vec<u8> {
        let words = self.words.unwrap_or((5 + self.options.len() / 4) as u8);
        let total = (20 + self.options.len() + payload.len()) as i32 + self.length_off;
        let mut out = vec![self.version.unwrap_or(4) << 4 | words & 15, self.tos];
        out.extend((total as u16).to_be_bytes());
        out.extend(self.id.to_be_bytes());
        out.extend(self.fragment.to_be_bytes());
        out.extend([self.ttl, self.protocol, 0, 0]);
        out.extend(self.addresses());
        out.extend(&self.options);
        out.extend(payload);
        // over what the header length says is header
        let end = (usize::from(words & 15) * 4).min(out.len());
        let sum = field(self.checksum, checksum(&out[..end]));
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out
    }

    fn v6(&self, payload: &[u8]) -> Vec<u8> {
        let mut rest = payload.to_vec();
        let mut next = self.protocol;
        if self.fragment != 0 {
            // RFC 8200 §4.5: offset in units of eight bytes, two reserved bits, M
            let field = self.fragment << 3 | u16::from(self.fragment & MF != 0);
            let head = [&[next, 0], &field.to_be_bytes()[..], &u32::from(self.id).to_be_bytes()].concat();
            (rest, next) = ([head, rest].concat(), FRAGMENT);
        }
        if !self.options.is_empty() {
            let head = [next, ((self.options.len() + 2) / 8 - 1) as u8];
            (rest, next) = ([&head, &self.options[..], &rest].concat(), DESTINATION_OPTIONS);
        }
        let word = u32::from(self.version.unwrap_or(6)) << 28 | u32::from(self.tos) << 20 | u32::from(self.id);
        let length = rest.len() as i32 + self.length_off;
        let head = [&word.to_be_bytes()[..], &(length as u16).to_be_bytes(), &[next, self.ttl]].concat();
        [head, self.addresses(), rest].concat()
    }
}

/// A UDP datagram of this header.
pub(crate) fn udp(ip: &Header, ports: (u16, u16), length_off: i32, sum: Checksum, data: &[u8]) -> Vec<u8> {
    let length = 8 + data.len();
    let mut out = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    out.extend(((length as i32 + length_off) as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(data);
    let right = match checksum(&[ip.pseudo(length), out.clone()].concat()) {
        0 => 0xffff,
        sum => sum,
    };
    out[6..8].copy_from_slice(&field(sum, right).to_be_bytes());
    out
}

fn field(wanted: Checksum, right: u16) -> u16 {
    match wanted {
        Checksum::Zero => 0,
        Checksum::Right => right,
        Checksum::Off(bits) => right ^ bits,
    }
}

/// RFC 1071 §4.1, word by word.
fn checksum(data: &[u8]) -> u16 {
    let words = data.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A VXLAN packet from a node to the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Destination and source.
    pub(crate) link: ([u8; 6], [u8; 6]),
    pub(crate) outer: Header,
    pub(crate) ports: (u16, u16),
    pub(crate) udp_length_off: i32,
    pub(crate) udp_checksum: Checksum,
    pub(crate) vxlan: [u8; 8],
    /// Destination and source.
    pub(crate) inner_link: ([u8; 6], [u8; 6]),
    /// 802.1Q and 802.1ad tags: protocol, and priority with VID.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) ethertype: Option<u16>,
    pub(crate) inner: Header,
    /// What the inner packet carries behind a UDP header.
    pub(crate) data: Vec<u8>,
    /// Bytes behind the inner packet, within the outer one.
    pub(crate) inner_padding: usize,
    /// Bytes behind the outer packet.
    pub(crate) padding: usize,
    /// The inner frame ends here, and the outer lengths say so.
    pub(crate) inner_cut: Option<usize>,
    /// The whole frame ends here, whatever its lengths say.
    pub(crate) cut: Option<usize>,
    /// The outer packet comes in two fragments; the second begins at eight times this.
    pub(crate) split: Option<usize>,
}

impl Draft {
    fn inner_frame(&self) -> Vec<u8> {
        let mut out = [self.inner_link.0, self.inner_link.1].concat();
        for (protocol, control) in &self.tags {
            out.extend(protocol.to_be_bytes());
            out.extend(control.to_be_bytes());
        }
        out.extend(self.ethertype.unwrap_or(self.inner.ethertype()).to_be_bytes());
        let upper = udp(&self.inner, (4444, 5555), 0, Checksum::Right, &self.data);
        out.extend(self.inner.packet(&upper));
        out.extend(vec![0xee; self.inner_padding]);
        out.truncate(self.inner_cut.unwrap_or(usize::MAX));
        out
    }

    /// The frames, usually one.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        let carried = [&self.vxlan[..], &self.inner_frame()].concat();
        let datagram = udp(&self.outer, self.ports, self.udp_length_off, self.udp_checksum, &carried);
        let whole = |outer: &Header, payload: &[u8]| {
            let mut frame = [self.link.0, self.link.1].concat();
            frame.extend(outer.ethertype().to_be_bytes());
            frame.extend(outer.packet(payload));
            frame.extend(vec![0xee; self.padding]);
            frame.truncate(self.cut.unwrap_or(usize::MAX));
            frame
        };
        match self.split.filter(|at| at * 8 < datagram.len()) {
            None => vec![whole(&self.outer, &datagram)],
            Some(at) => {
                let (first, later) = datagram.split_at(at * 8);
                let part = |fragment| Header { fragment, ..self.outer.clone() };
                vec![whole(&part(MF), first), whole(&part(at as u16), later)]
            }
        }
    }
}
