//! More than the gateway can carry, and an end in the middle of it: packets may be lost, never miscounted.

use std::time::Duration;

use selvedge::lab::traffic::{LoadOptions, UdpLoad, ping, tcp_transfer};
use selvedge::lab::{Host, Shape};

#[path = "support/iperf.rs"]
mod iperf;
#[path = "support/netns.rs"]
mod netns;

use iperf::serve;
use netns::{Net, hosts, output_in, until};

/// Small datagrams as fast as they can be made.
fn flood(from: &Host, to: &Host) {
    let address = to.address.to_string();
    let words =
        ["iperf3", "-c", &address, "-u", "-b", "0", "-l", "64", "-P", "4", "-t", "1", "--connect-timeout", "2000"];
    // What it says about losses is no matter here.
    output_in(&from.ns, &words);
}

fn flooded(mut net: Net) {
    let [blue, green, native] = hosts(&net.t).map(Host::clone);
    let _servers = [serve(&blue, &[]), serve(&green, &[])];
    for (from, to) in [(&native, &blue), (&blue, &green), (&native, &green)] {
        flood(from, to);
        net.assert_alive();
        net.ledger();
    }
    for (from, to) in [(&native, &blue), (&blue, &green), (&green, &native)] {
        let echo = ping(&from.ns, to.address, 3, 1000).unwrap();
        assert!(echo.complete(), "{echo:?}");
        let transfer = tcp_transfer(&from.ns, &to.ns, to.address, 1 << 20).unwrap();
        assert!(transfer.hash_ok, "{transfer:?}");
    }
    let samples = net.finish();
    let events = samples.by("selvedge_xsk_events_total", "event");
    let drops = samples.by("selvedge_dropped_packets_total", "reason");
    println!(
        "received {}, {events:?}, tx ring full {}",
        samples.sum("selvedge_rx_packets_total", &[]),
        drops["tx_ring_full"]
    );
    for (reason, count) in drops {
        assert!(count == 0.0 || reason == "tx_ring_full", "{reason}: {count}");
    }
    assert_eq!(events["rx_invalid_descs"] + events["tx_invalid_descs"], 0.0, "{events:?}");
}

#[test]
fn a_flood_is_counted_to_the_last_packet() {
    let Some(net) = Net::running("flood") else { return };
    flooded(net);
}

#[test]
fn a_flood_over_small_rings_is_counted_to_the_last_packet() {
    let shape = Shape { gateway_queues: 2, ..Shape::default() };
    let Some(mut net) = Net::shaped("smallflood", shape) else { return };
    let memory =
        "[memory]\nframes = 512\nrx_ring = 64\ntx_ring = 64\nfill_ring = 64\ncompletion_ring = 64\n\n[metrics]";
    net.edit("[metrics]", memory);
    net.start();
    flooded(net);
}

#[test]
fn it_ends_cleanly_under_load_and_begins_again() {
    let Some(mut net) = Net::new("underload") else { return };
    let [blue, green, native] = hosts(&net.t).map(Host::clone);
    let load = LoadOptions { rate: 5000, flows: 8, payload: 300, duration: Duration::from_secs(20) };
    let loads = [(&blue, &green), (&native, &blue), (&green, &native)]
        .map(|(from, to)| UdpLoad::start(&from.ns, &to.ns, to.address, load).unwrap());
    let received = |loads: &[UdpLoad]| loads.iter().map(|l| l.counts().received).collect::<Vec<_>>();
    for _ in 0..3 {
        let before = received(&loads);
        net.start();
        let flows = || received(&loads).iter().zip(&before).all(|(now, before)| *now > before + 200);
        assert!(until(Duration::from_secs(3), flows), "{before:?} {:?}", received(&loads));
        net.stop();
    }
    net.start();
    for counts in loads.map(UdpLoad::stop) {
        assert_eq!((counts.corrupt, counts.duplicate), (0, 0), "{counts:?}");
    }
    net.finish();
}
