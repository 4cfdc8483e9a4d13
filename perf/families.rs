//! TCP of both families inside and outside, beside IPv4 over IPv4: see `perf/families`.

use std::collections::BTreeMap;

use selvedge::lab::{Family, Shape};

#[path = "../tests/support/iperf.rs"]
mod iperf;
#[path = "../tests/support/netns.rs"]
mod netns;

use iperf::{DIRECTIONS, tcp};
use netns::{Net, hosts};

/// Interleaved, so that what other work takes from the machine it takes from all.
const ROUNDS: usize = 7;
const INNER: [(&str, Family); 2] = [("IPv4", Family::V4), ("IPv6", Family::V6)];
/// Underlays: name, family, whether both ends leave the outer UDP checksum out of IPv6.
const OUTER: [(&str, Family, bool); 3] =
    [("IPv4", Family::V4, false), ("IPv6", Family::V6, false), ("IPv6 without checksums", Family::V6, true)];

/// Journey, inner family, underlay.
type Case = (&'static str, &'static str, &'static str);

fn running(underlay: Family, zero_checksum: bool, mtu: u16) -> Net {
    let version = if underlay == Family::V4 { 4 } else { 6 };
    let shape = Shape { underlay, zero_checksum, mtu, dual_stack: true, ..Shape::default() };
    let mut net = Net::shaped(&format!("ratio{version}{zero_checksum}"), shape).expect("root makes namespaces");
    net.start();
    net
}

/// The one word that may be given.
fn mtu() -> u16 {
    let word = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let mtu = word.map_or(Ok(Shape::default().mtu), |word| word.parse());
    mtu.ok().filter(|mtu| (1400..=9216).contains(mtu)).expect("usage: perf/families [MTU], 1400 to 9216")
}

fn main() {
    let mtu = mtu();
    let nets = OUTER.map(|(outer, family, zero_checksum)| (outer, running(family, zero_checksum, mtu)));
    let mut runs: BTreeMap<Case, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (outer, net) in &nets {
            let [blue, _, native] = hosts(&net.t);
            for (journey, direction) in ["encap", "decap"].into_iter().zip(DIRECTIONS) {
                for (inner, family) in INNER {
                    let megabits = tcp(native, blue, family, direction).megabits;
                    runs.entry((journey, inner, outer)).or_default().push(megabits);
                }
            }
        }
    }
    runs.values_mut().for_each(|all| all.sort_by(f64::total_cmp));
    println!(
        "TCP, MTU {mtu}, {ROUNDS} interleaved rounds of a second: median (least to most), Mb/s; of IPv4 over IPv4"
    );
    for ((journey, inner, outer), all) in &runs {
        let (here, reference) = (all[ROUNDS / 2], runs[&(*journey, "IPv4", "IPv4")][ROUNDS / 2]);
        let (least, most) = (all[0], all[ROUNDS - 1]);
        println!("{journey}, {inner} over {outer}: {here:.0} ({least:.0} to {most:.0}), {:.2}", here / reference);
    }
    for (_, net) in nets {
        net.finish();
    }
}
