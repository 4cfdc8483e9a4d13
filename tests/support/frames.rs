//! Frames written byte by byte from the RFCs, with none of the product's code: an oracle that shares no mistake
//! with what it judges.

/// Ones' complement sum of 16-bit words, as RFC 1071 §4.1 spells it.
pub fn ones_sum(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

pub fn checksum(data: &[u8]) -> [u8; 2] {
    (!ones_sum(data)).to_be_bytes()
}

/// An IPv4 packet in the making.
#[derive(Clone, Debug)]
pub struct Ip {
    pub src: [u8; 4],
    pub dst: [u8; 4],
    pub tos: u8,
    pub ttl: u8,
    pub flags_offset: u16,
    pub protocol: u8,
    pub payload: Vec<u8>,
}

impl Ip {
    pub fn new(src: [u8; 4], dst: [u8; 4], protocol: u8, payload: Vec<u8>) -> Self {
        Self { src, dst, tos: 0, ttl: 64, flags_offset: 0x4000, protocol, payload }
    }

    /// UDP with a right checksum.
    pub fn udp(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), data: &[u8]) -> Self {
        let mut ip = Self::new(src, dst, 17, udp(ports, data));
        ip.finish(6);
        ip
    }

    /// A TCP segment with a right checksum.
    pub fn tcp(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), data: &[u8]) -> Self {
        let mut ip = Self::new(src, dst, 6, tcp(ports, data));
        ip.finish(16);
        ip
    }

    /// A TCP segment that opens a connection and announces a maximum segment size, between other options. With `odd` the
    /// option begins at an odd place.
    pub fn syn(src: [u8; 4], dst: [u8; 4], mss: u16, odd: bool) -> Self {
        let mut ip = Self::new(src, dst, 6, syn(mss, odd));
        ip.finish(16);
        ip
    }

    /// An echo request.
    pub fn echo(src: [u8; 4], dst: [u8; 4], data: &[u8]) -> Self {
        let mut message = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
        message.extend(data);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        Self::new(src, dst, 1, message)
    }

    pub fn pseudo(&self) -> Vec<u8> {
        let len = (self.payload.len() as u16).to_be_bytes();
        [&self.src[..], &self.dst[..], &[0, self.protocol], &len[..]].concat()
    }

    /// Writes the transport checksum at `at`.
    pub fn finish(&mut self, at: usize) {
        self.payload[at..at + 2].fill(0);
        let mut sum = checksum(&[self.pseudo(), self.payload.clone()].concat());
        if self.protocol == 17 && sum == [0, 0] {
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
        let total = (20 + self.payload.len()) as u16;
        let mut out = vec![0x45, self.tos];
        out.extend(total.to_be_bytes());
        out.extend([0, 7]);
        out.extend(self.flags_offset.to_be_bytes());
        out.extend([self.ttl, self.protocol, 0, 0]);
        out.extend(self.src);
        out.extend(self.dst);
        let sum = checksum(&out);
        out[10..12].copy_from_slice(&sum);
        out.extend(&self.payload);
        out
    }
}

/// A TCP segment that opens a connection, without a checksum.
pub fn syn(mss: u16, odd: bool) -> Vec<u8> {
    let mut segment = vec![0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x80, 0x02, 0xff, 0xff, 0, 0, 0, 0];
    let [a, b] = mss.to_be_bytes();
    segment.extend(if odd { [4, 2, 1, 2, 4, a, b, 3, 3, 7, 0, 0] } else { [2, 4, a, b, 4, 2, 1, 3, 3, 7, 0, 0] });
    segment
}

/// A TCP segment in the middle of a connection, its checksum still to be written.
pub fn tcp((src, dst): (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut out = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    out.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(data);
    out
}

pub fn udp((src, dst): (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut out = [src.to_be_bytes(), dst.to_be_bytes(), ((8 + data.len()) as u16).to_be_bytes(), [0, 0]].concat();
    out.extend(data);
    out
}

pub fn ethernet(dst: [u8; 6], src: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&dst[..], &src[..], &ethertype.to_be_bytes()[..], payload].concat()
}

/// An ARP request (RFC 826) from a host with the MAC 02:00:00:00:00:0b.
pub fn arp_request(from: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 11][..], &from, &[0; 6], &target].concat()
}

/// A VXLAN packet's parts; `frame()` puts them together.
#[derive(Clone, Debug)]
pub struct Vxlan {
    pub link: ([u8; 6], [u8; 6]),
    pub outer: Ip,
    pub udp_port: u16,
    pub flags: u8,
    pub vni: u32,
    pub inner: Vec<u8>,
}

impl Vxlan {
    pub fn payload(&self) -> Vec<u8> {
        let mut out = vec![self.flags, 0, 0, 0];
        out.extend(&self.vni.to_be_bytes()[1..]);
        out.push(0);
        out.extend(&self.inner);
        out
    }

    /// The frame, with an outer UDP checksum of zero.
    pub fn frame(&self) -> Vec<u8> {
        let mut outer = self.outer.clone();
        outer.payload = udp((55_555, self.udp_port), &self.payload());
        ethernet(self.link.0, self.link.1, 0x0800, &outer.bytes())
    }

    /// The frame, with the outer UDP checksum computed.
    pub fn frame_with_checksum(&self) -> Vec<u8> {
        let mut outer = self.outer.clone();
        outer.payload = udp((55_555, self.udp_port), &self.payload());
        outer.finish(6);
        ethernet(self.link.0, self.link.1, 0x0800, &outer.bytes())
    }
}
