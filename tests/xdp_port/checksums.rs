//! Checksums left to the device, judged by the kernel that receives the packets.

use std::process::Command;
use std::time::Instant;

use selvedge::port::host::interface_index;
use selvedge::port::{Burst, Finishes, Finishing, Options, Pool, Port, QueueSpec, XdpPort};
use selvedge::wire::Unfinished;
use selvedge::wire::checksum::pseudo_v4;
use selvedge::wire::unfinished::UDP_CHECKSUM;

use super::net::{A_MAC, GATEWAY_MACS, Net};
use super::{PATIENCE, SIZES, listen, pool, receive};

/// A UDP packet from the gateway to `a` with `len` bytes of data, its checksum begun, behind an Ethernet header.
fn begun(len: u16) -> (Vec<u8>, Unfinished) {
    let addresses = [10, 1, 0, 1, 10, 1, 0, 2];
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
    ip[2..4].copy_from_slice(&(28 + len).to_be_bytes());
    ip.extend(addresses);
    let sum = selvedge::wire::checksum::Sum::ZERO.bytes(&ip).checksum();
    ip[10..12].copy_from_slice(&sum);
    let mut udp = [7u16, 9, 8 + len].map(u16::to_be_bytes).concat();
    udp.extend(pseudo_v4(&addresses, 17, 8 + len).fold());
    udp.extend((0..len).map(|n| n as u8));
    let frame = [&A_MAC.0[..], &GATEWAY_MACS[0].0, &[8, 0], &ip, &udp].concat();
    (frame, Unfinished::new(8 + len, UDP_CHECKSUM))
}

/// Sends one such packet by `v0`. Says whether its checksum was left to the device.
fn send(net: &Net, finishing: Finishing, multi_buffer: bool, len: u16) -> bool {
    net.within("g", move || {
        let mut pool: Pool = pool();
        let spec = QueueSpec { finishing, ..QueueSpec::new(interface_index("v0").unwrap(), 0) };
        let options = Options { multi_buffer, ..Options::default() };
        let mut port = XdpPort::open_all(&mut pool, &[spec], &SIZES, options).unwrap().remove(0);
        let (bytes, unfinished) = begun(len);
        let mut frame = pool.alloc_any(256, &bytes).unwrap();
        assert_eq!(frame.is_long(), len > 1792);
        if port.finishes() == Finishes::All {
            pool.leave_unfinished(&mut frame, unfinished);
        }
        let mut burst = Burst::new(1);
        burst.push_any(frame).unwrap();
        assert_eq!(port.tx(&mut pool, &mut burst), 1);
        let began = Instant::now();
        while port.held().tx > 0 {
            assert!(began.elapsed() < PATIENCE, "{:?}", port.ring_stats());
            port.service(&mut pool);
        }
        assert_eq!((port.ring_stats().tx_invalid, port.refused()), (0, 0));
        port.finishes() == Finishes::All
    })
}

/// Packets of ours that the receiver's kernel found to have a wrong checksum.
fn found_wrong(net: &Net) -> u64 {
    let told = net.within("a", || std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut lines = told.lines().filter(|line| line.starts_with("Udp:")).map(str::split_whitespace);
    let (mut names, mut numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.position(|name| name == "InCsumErrors").unwrap();
    numbers.nth(at).unwrap().parse().unwrap()
}

fn offload(net: &Net, word: &'static str) {
    let done = net.within("g", move || Command::new("ethtool").args(["-K", "v0", "tx", word]).status()).unwrap();
    assert!(done.success());
}

#[test]
fn the_kernel_finishes_what_is_left_to_it_in_copy_mode() {
    let Some(net) = Net::new() else { return };
    ["v0", "p0"].into_iter().zip(["g", "a"]).for_each(|(link, place)| {
        net.ip(place, &format!("link set {link} mtu 4000"));
    });
    let a = net.within("a", || listen("10.1.0.2:9"));
    let left = Finishing { copied: Finishes::All, ..Finishing::NONE };
    for (multi_buffer, len) in [(false, 100), (false, 101), (true, 1300), (true, 3001)] {
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let wrong = found_wrong(&net);
        // by a device that finishes them, where a veth is one for which nobody has to, and by one that does not
        for word in ["on", "off"] {
            offload(&net, word);
            assert!(send(&net, left, multi_buffer, len), "Linux 6.11 takes metadata");
            assert_eq!(receive(&a), data, "tx {word}, {len} bytes");
        }
        assert_eq!(found_wrong(&net), wrong);
        assert!(!send(&net, Finishing::NONE, multi_buffer, len));
        // who would read it finds that out
        a.set_nonblocking(true).unwrap();
        let began = Instant::now();
        while found_wrong(&net) == wrong {
            assert!(a.recv(&mut [0; 4096]).is_err() && began.elapsed() < PATIENCE, "without a request it is wrong");
        }
        a.set_nonblocking(false).unwrap();
    }
}
