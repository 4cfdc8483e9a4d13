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
const FAMILIES: [(&str, Family); 2] = [("IPv4", Family::V4), ("IPv6", Family::V6)];

/// Journey, inner family, outer family.
type Case = (&'static str, &'static str, &'static str);

fn running(underlay: Family) -> Option<Net> {
    let tag = if underlay == Family::V4 { "ratio4" } else { "ratio6" };
    let mut net = Net::shaped(tag, Shape { underlay, dual_stack: true, ..Shape::default() })?;
    net.start();
    Some(net)
}

fn main() {
    let nets = FAMILIES.map(|(outer, family)| (outer, running(family).expect("root makes namespaces")));
    let mut runs: BTreeMap<Case, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (outer, net) in &nets {
            let [blue, _, native] = hosts(&net.t);
            for (journey, direction) in ["encap", "decap"].into_iter().zip(DIRECTIONS) {
                for (inner, family) in FAMILIES {
                    let megabits = tcp(native, blue, family, direction).megabits;
                    runs.entry((journey, inner, outer)).or_default().push(megabits);
                }
            }
        }
    }
    runs.values_mut().for_each(|all| all.sort_by(f64::total_cmp));
    println!("TCP, MTU 1500, {ROUNDS} interleaved rounds of a second: median (least to most), Mb/s; of IPv4 over IPv4");
    for ((journey, inner, outer), all) in &runs {
        let (here, reference) = (all[ROUNDS / 2], runs[&(*journey, "IPv4", "IPv4")][ROUNDS / 2]);
        let (least, most) = (all[0], all[ROUNDS - 1]);
        println!("{journey}, {inner} over {outer}: {here:.0} ({least:.0} to {most:.0}), {:.2}", here / reference);
    }
    for (_, net) in nets {
        net.finish();
    }
}
