//! The same for IPv6: frames written byte by byte from the RFCs.

use super::frames::{checksum, ones_sum, syn, tcp, udp};

/// An IPv6 packet in the making. Extension headers are part of the payload.
#[derive(Clone, Debug)]
pub struct Ip6 {
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub class: u8,
    pub label: u32,
    pub hop_limit: u8,
    pub next: u8,
    pub payload: Vec<u8>,
}

impl Ip6 {
    pub fn new(src: [u8; 16], dst: [u8; 16], next: u8, payload: Vec<u8>) -> Self {
        Self { src, dst, class: 0, label: 0, hop_limit: 64, next, payload }
    }

    /// UDP with a right checksum.
    pub fn udp(src: [u8; 16], dst: [u8; 16], ports: (u16, u16), data: &[u8]) -> Self {
        let mut ip = Self::new(src, dst, 17, udp(ports, data));
        ip.finish(6);
        ip
    }

    /// A TCP segment with a right checksum.
    pub fn tcp(src: [u8; 16], dst: [u8; 16], ports: (u16, u16), data: &[u8]) -> Self {
        let mut ip = Self::new(src, dst, 6, tcp(ports, data));
        ip.finish(16);
        ip
    }

    /// A TCP segment that opens a connection, as [`super::frames::Ip::syn`].
    pub fn syn(src: [u8; 16], dst: [u8; 16], mss: u16, odd: bool) -> Self {
        let mut ip = Self::new(src, dst, 6, syn(mss, odd));
        ip.finish(16);
        ip
    }

    /// An ICMPv6 message with a right checksum: type, code, the rest.
    pub fn icmp(src: [u8; 16], dst: [u8; 16], kind: u8, rest: &[u8]) -> Self {
        let mut ip = Self::new(src, dst, 58, [&[kind, 0, 0, 0], rest].concat());
        ip.finish(2);
        ip
    }

    /// An echo request.
    pub fn echo(src: [u8; 16], dst: [u8; 16], data: &[u8]) -> Self {
        Self::icmp(src, dst, 128, &[&[0x12, 0x34, 0, 1], data].concat())
    }

    /// A neighbour solicitation for `target`, as RFC 4861 §7.2.2 has it sent.
    pub fn solicitation(src: [u8; 16], target: [u8; 16], mac: [u8; 6]) -> Self {
        let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
        group[13..].copy_from_slice(&target[13..]);
        let mut ip = Self::icmp(src, group, 135, &[&[0; 4][..], &target, &[1, 1], &mac].concat());
        ip.hop_limit = 255;
        ip
    }

    /// Puts extension headers in front of the payload: `headers` begins with one of type `next`, and says itself what
    /// follows it.
    pub fn behind(mut self, next: u8, headers: &[u8]) -> Self {
        self.next = next;
        self.payload.splice(..0, headers.iter().copied());
        self
    }

    pub fn pseudo(&self) -> Vec<u8> {
        let len = (self.payload.len() as u32).to_be_bytes();
        [&self.src[..], &self.dst[..], &len[..], &[0, 0, 0, self.next]].concat()
    }

    /// Writes the transport checksum at `at`.
    pub fn finish(&mut self, at: usize) {
        self.payload[at..at + 2].fill(0);
        let mut sum = checksum(&[self.pseudo(), self.payload.clone()].concat());
        if self.next == 17 && sum == [0, 0] {
            sum = [0xff, 0xff];
        }
        self.payload[at..at + 2].copy_from_slice(&sum);
    }

    /// Leaves the transport checksum at `at` as a stack leaves it to hardware: the pseudo-header's sum.
    pub fn unfinish(&mut self, at: usize) {
        let sum = ones_sum(&self.pseudo()).to_be_bytes();
        self.payload[at..at + 2].copy_from_slice(&sum);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = (6 << 28 | u32::from(self.class) << 20 | self.label).to_be_bytes().to_vec();
        out.extend((self.payload.len() as u16).to_be_bytes());
        out.extend([self.next, self.hop_limit]);
        out.extend(self.src);
        out.extend(self.dst);
        out.extend(&self.payload);
        out
    }

    /// One hop later.
    pub fn aged(&self) -> Vec<u8> {
        Self { hop_limit: self.hop_limit - 1, ..self.clone() }.bytes()
    }
}
