//! The receiving half: every packet is taken apart, checked to the last bit, and held against those before it.

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::payload::{MAGIC, Stamp, Unread};
use super::sequence::{Flow, Tally};
use super::{Live, PktgenError, now};
use crate::port::host::Interface;
use crate::port::{
    AttachMode, Backing, Burst, Options, Pool, Port, QueueSpec, RingSizes, Roles, SteerCapacity, Steering, Umem,
    Waiter, XdpPort, ZeroCopy,
};
use crate::wire::checksum::pseudo_v4;
use crate::wire::ipv4::{self, protocol};
use crate::wire::{Prefix, eth, udp, vxlan};
use crate::worker::latency::Histogram;

const BURST: usize = 64;
/// Packet memory for each queue: a full ring and a full fill ring.
const FRAMES: u32 = 8192;
const RINGS: RingSizes = RingSizes { rx: 4096, tx: 64, fill: 4096, completion: 64 };
/// After the last packet was sent: how long silence must last when packets are missing, and when none is.
const PATIENCE: u64 = 500_000_000;
const AFTERGLOW: u64 = 50_000_000;

/// What is the receiver's, of all that its interface receives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Take {
    /// VXLAN to these addresses and ports.
    pub(super) vteps: Vec<SocketAddrV4>,
    /// Anything to these prefixes.
    pub(super) prefixes: Vec<Prefix>,
}

/// What the receiver is to do.
pub(super) struct Job {
    pub(super) interface: Interface,
    pub(super) take: Take,
    pub(super) mode: AttachMode,
    pub(super) zero_copy: ZeroCopy,
    pub(super) chunk: u16,
    pub(super) flows: u32,
    pub(super) stream: u32,
}

/// What it saw.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) tally: Tally,
    pub(super) flows: Vec<Flow>,
    /// Test packets that were not whole.
    pub(super) corrupt: u64,
    /// Packets that are none of this run's.
    pub(super) foreign: u64,
    /// Packets the kernel had no room for in the receiver's rings: the generator's own losses.
    pub(super) overrun: u64,
    /// From a packet's intended time to its receipt.
    pub(super) latency: Histogram,
    pub(super) zero_copy: bool,
}

/// Sockets and the program that fills them. Made and used in the interface's namespace.
pub(super) struct Listener {
    // detached before the sockets close
    _steering: Steering,
    ports: Vec<XdpPort>,
    pool: Pool,
    waiter: Waiter,
    seen: Received,
    stream: u32,
}

/// Opens the interface: what is sent from now on is seen.
pub(super) fn open(job: &Job) -> Result<Listener, PktgenError> {
    let memory = |e: io::Error| PktgenError::System("allocating packet memory", e);
    let (index, queues) = (job.interface.index, job.interface.rx_queues());
    let umem = Umem::new(FRAMES * queues, job.chunk, Backing::Pages).map_err(memory)?;
    let mut pool = Pool::new(umem).map_err(memory)?;
    let specs: Vec<_> = (0..queues).map(|queue| QueueSpec { ifindex: index, queue }).collect();
    let options = Options { zero_copy: job.zero_copy, ..Options::default() };
    let ports = XdpPort::open_all(&mut pool, &specs, &RINGS, options)?;
    let sockets: Vec<(u32, BorrowedFd<'_>)> = (0..queues).zip(ports.iter().map(XdpPort::socket)).collect();
    let roles = Roles { underlay: !job.take.vteps.is_empty(), access: !job.take.prefixes.is_empty() };
    let capacity = SteerCapacity { vteps: 64, prefixes: 1024 };
    let mut steering = Steering::attach(index, job.interface.mac, roles, job.mode, capacity, &sockets)?;
    let vteps: Vec<_> = job.take.vteps.iter().map(|v| (IpAddr::V4(*v.ip()), v.port())).collect();
    steering.add_vteps(&vteps)?;
    steering.add_prefixes(&job.take.prefixes)?;
    let waiter = Waiter::new().map_err(|e| PktgenError::System("making an eventfd", e))?;
    let seen = Received {
        tally: Tally::default(),
        flows: vec![Flow::default(); job.flows as usize],
        corrupt: 0,
        foreign: 0,
        overrun: 0,
        latency: Histogram::default(),
        zero_copy: ports.iter().all(XdpPort::zero_copy),
    };
    Ok(Listener { _steering: steering, ports, pool, waiter, seen, stream: job.stream })
}

impl Listener {
    /// Receives until the sender is done and nothing more comes.
    pub(super) fn run(mut self, live: &Live) -> Result<Received, PktgenError> {
        let mut burst = Burst::new(BURST);
        let mut last = now();
        loop {
            let mut came = 0;
            for port in &mut self.ports {
                came += port.rx(&mut self.pool, &mut burst);
                port.service(&mut self.pool);
            }
            let time = now();
            if came > 0 {
                last = time;
                while let Some(mut frame) = burst.pop_front() {
                    self.seen.take(open_frame(self.pool.packet(&mut frame).bytes()), self.stream, time);
                    self.pool.free(frame);
                }
                live.received.store(self.seen.tally.received, Ordering::Relaxed);
                live.missing.store(self.seen.tally.missing, Ordering::Relaxed);
                continue;
            }
            if live.over.load(Ordering::Acquire) {
                let all = self.seen.tally.received >= live.sent.load(Ordering::Relaxed);
                if time.saturating_sub(last) > if all { AFTERGLOW } else { PATIENCE } {
                    break;
                }
            } else if live.abandoned.load(Ordering::Relaxed) {
                break;
            }
            let fds = self.ports.iter().filter_map(|p| p.fd());
            let waited = self.waiter.wait(fds, Some(Duration::from_millis(10)));
            waited.map_err(|e| PktgenError::System("waiting for packets", e))?;
        }
        let stats = self.ports.iter().map(Port::ring_stats);
        self.seen.overrun = stats.map(|s| s.rx_dropped + s.rx_ring_full).sum();
        Ok(self.seen)
    }
}

impl Received {
    #[inline]
    fn take(&mut self, read: Result<Stamp, Unread>, stream: u32, time: u64) {
        match read {
            Ok(stamp) if stamp.stream != stream => self.foreign += 1,
            Ok(stamp) => match self.flows.get_mut(stamp.flow as usize) {
                Some(flow) => {
                    flow.note(stamp.sequence, &mut self.tally);
                    self.latency.record(time.saturating_sub(stamp.intended), 1);
                }
                None => self.corrupt += 1,
            },
            Err(Unread::Foreign) => self.foreign += 1,
            Err(Unread::Corrupt) => self.corrupt += 1,
        }
    }
}

/// Finds the stamp in a frame, plain or within VXLAN, and checks everything around it.
fn open_frame(frame: &[u8]) -> Result<Stamp, Unread> {
    let (payload, finished) = datagram(frame)?;
    if payload.starts_with(&MAGIC) {
        return if finished { Stamp::read(payload) } else { Err(Unread::Corrupt) };
    }
    // The outer header is not ours: whoever made it may have left its checksum to a device that is not there.
    match datagram(payload.get(vxlan::LEN..).ok_or(Unread::Foreign)?)? {
        (payload, true) => Stamp::read(payload),
        (_, false) => Err(Unread::Corrupt),
    }
}

/// The payload of the UDP datagram in an Ethernet frame, with both checksums verified. Also whether the UDP checksum is
/// finished: on virtual links it may hold the sum of the pseudo-header alone (Linux: `CHECKSUM_PARTIAL`).
fn datagram(frame: &[u8]) -> Result<(&[u8], bool), Unread> {
    let (link, packet) = frame.split_at_checked(eth::LEN).ok_or(Unread::Foreign)?;
    if link[12..] != eth::IPV4.to_be_bytes() {
        return Err(Unread::Foreign);
    }
    let ip = ipv4::Ipv4::parse(packet).map_err(|_| Unread::Corrupt)?;
    if ip.protocol != protocol::UDP || ip.is_fragment() {
        return Err(Unread::Foreign);
    }
    let segment = &packet[ip.header_len()..usize::from(ip.total_len.get())];
    let (header, payload) = segment.split_at_checked(udp::LEN).ok_or(Unread::Corrupt)?;
    if usize::from(u16::from_be_bytes([header[4], header[5]])) != segment.len() {
        return Err(Unread::Corrupt);
    }
    let pseudo = pseudo_v4(ip.addresses(), protocol::UDP, segment.len() as u16);
    if header[6..] == [0, 0] || pseudo.bytes(segment).is_intact() {
        Ok((payload, true))
    } else if header[6..] == pseudo.fold() {
        Ok((payload, false))
    } else {
        Err(Unread::Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::{Builder, Flows, Front, Size};
    use super::*;
    use crate::wire::outer::Ends;
    use crate::wire::{Ethernet, Mac, Vni};

    const STAMP: Stamp = Stamp { stream: 1, flow: 0, sequence: 5, intended: 1000 };

    fn frame(wrapped: bool) -> Vec<u8> {
        let mac = |n| Mac([2, 0, 0, 0, 0, n]);
        let ends = Ends {
            link: (mac(1), mac(2)),
            vtep: ([192, 0, 2, 1].into(), [192, 0, 2, 11].into()),
            inner: (mac(3), mac(4)),
            udp_port: 8472,
            vni: Vni::new(7).unwrap(),
            dscp: 0,
        };
        let front = if wrapped { Front::Vxlan(ends) } else { Front::Plain(Ethernet::ipv4(mac(1), mac(2))) };
        let flows = Flows::new("10.9.0.2/32".parse().unwrap(), "10.244.1.2/32".parse().unwrap()).unwrap();
        let builder = Builder::new(&front, flows, Size::Fixed(101));
        let mut frame = builder.template(0).to_vec();
        builder.finish(0, &STAMP, &mut frame);
        frame
    }

    #[test]
    fn both_kinds_of_frame_are_read_and_every_bit_that_is_ours_counts() {
        for wrapped in [false, true] {
            let good = frame(wrapped);
            assert_eq!(open_frame(&good), Ok(STAMP));
            assert_eq!(open_frame(&[&good[..], &[0; 9]].concat()), Ok(STAMP), "padding is legal");
            let inner = if wrapped { 64 } else { 14 };
            for bit in inner * 8..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(open_frame(&bad).is_err(), "bit {bit}");
            }
            for cut in 0..good.len() {
                assert!(open_frame(&good[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn only_an_outer_checksum_may_be_unfinished() {
        for wrapped in [false, true] {
            let mut frame = frame(wrapped);
            let segment = u16::from_be_bytes([frame[38], frame[39]]);
            let addresses: [u8; 8] = frame[26..34].try_into().unwrap();
            frame[40..42].copy_from_slice(&pseudo_v4(&addresses, protocol::UDP, segment).fold());
            let want = if wrapped { Ok(STAMP) } else { Err(Unread::Corrupt) };
            assert_eq!(open_frame(&frame), want);
            frame[40] ^= 1;
            assert_eq!(open_frame(&frame), Err(Unread::Corrupt));
        }
    }

    #[test]
    fn each_packet_is_counted_once() {
        let mut seen = Received {
            tally: Tally::default(),
            flows: vec![Flow::default(); 2],
            corrupt: 0,
            foreign: 0,
            overrun: 0,
            latency: Histogram::default(),
            zero_copy: false,
        };
        seen.take(Ok(STAMP), 1, 1500);
        seen.take(Ok(STAMP), 2, 1500);
        seen.take(Ok(Stamp { flow: 2, ..STAMP }), 1, 1500);
        seen.take(Err(Unread::Foreign), 1, 1500);
        seen.take(Err(Unread::Corrupt), 1, 1500);
        assert_eq!((seen.tally.received, seen.tally.missing, seen.corrupt, seen.foreign), (1, 5, 2, 2));
        assert_eq!((seen.latency.sum(), seen.latency.max()), (500, 500));
    }
}
