//! The tables of `perf/SCALING.md`.

use crate::parts::Parts;
use crate::rss::{Hashed, Spread, Weights};

const QUEUES: [usize; 6] = [2, 4, 8, 16, 32, 64];

/// A 64-byte inner frame as VXLAN over IPv4: with preamble and gap, bytes on the wire.
const VXLAN_WIRE: f64 = 134.0;

/// A table's name in the document, and its lines.
pub(crate) fn all(parts: &Parts) -> Vec<(&'static str, String)> {
    vec![
        ("measured", measured(parts)),
        ("rss", rss()),
        ("footprint", footprint(parts)),
        ("ports", ports(parts)),
        ("cores", cores(parts)),
    ]
}

fn table(head: &str, rows: impl IntoIterator<Item = String>) -> String {
    let columns = head.matches('|').count() - 1;
    let rule = format!("|{}", "---|".repeat(columns));
    [head.to_string(), rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

fn measured(p: &Parts) -> String {
    let row = |(journey, cycles): &(&str, f64)| {
        let own = cycles / p.ghz;
        format!("| {journey} | {cycles:.0} | {own:.1} | {:.0} | {:.2} |", own + p.io_ns, 1e3 / (own + p.io_ns))
    };
    let head = format!("| journey | core cycles | ns at {:.2} GHz | ns with AF_XDP I/O | Mpps a core |", p.ghz);
    table(&head, p.path.iter().map(row))
}

fn rss() -> String {
    let kinds = [
        ("plain: addresses and ports", Hashed::Plain),
        ("VXLAN: outer addresses and ports", Hashed::Outer),
        ("VXLAN: outer addresses alone", Hashed::OuterAddresses),
    ];
    let mut rows = Vec::new();
    for (flows, label) in [(1_000, "1 k"), (65_536, "64 k")] {
        for (weights, how) in [(Weights::Uniform, "uniform"), (Weights::Zipf, "Zipf")] {
            for (what, hashed) in kinds {
                let spread = Spread::of(hashed, weights, flows);
                let of = |queues: &usize| {
                    let (median, worst) = spread.imbalance(*queues);
                    format!(" {median:.2} ({worst:.2}) |")
                };
                let cells: String = QUEUES.iter().map(of).collect();
                rows.push(format!("| {label}, {how} | {what} |{cells}"));
            }
        }
    }
    let queues: String = QUEUES.iter().map(|q| format!(" {q} queues |")).collect();
    table(&format!("| flows | what the NIC hashes |{queues}"), rows)
}

fn footprint(p: &Parts) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let (umem, cache) = (p.chunks * p.chunk_bytes / MIB, p.cache_entries * p.entry_bytes / MIB);
    let row = |cores: &usize| {
        let n = *cores as f64;
        format!("| {cores} | {:.0} MiB | {:.0} MiB | {:.0} MiB |", n * umem, n * cache, n * (umem + cache))
    };
    table("| workers | packet memory | flow caches | together |", [1, 2, 4, 8, 16, 32, 64].iter().map(row))
}

/// Millions of VXLAN packets a second that fill a port of so many Gb/s.
fn line_rate(gigabits: f64) -> f64 {
    gigabits * 1e3 / (VXLAN_WIRE * 8.0)
}

fn ports(p: &Parts) -> String {
    let [uniform, zipf] = [Weights::Uniform, Weights::Zipf].map(|how| Spread::of(Hashed::Outer, how, 65_536));
    let mut rows = Vec::new();
    for gigabits in [25.0, 100.0, 200.0] {
        for (journey, cycles) in p.path {
            let ns = cycles / p.ghz + p.io_ns;
            let rate = line_rate(gigabits);
            let busy = rate * ns / 1e3;
            rows.push(format!(
                "| {gigabits:.0} GbE | {journey} | {rate:.1} | {busy:.1} | {} | {} |",
                needed(busy, &uniform),
                needed(busy, &zipf)
            ));
        }
    }
    table("| port | journey | Mpps at line rate | cores of work | cores, uniform | cores, Zipf |", rows)
}

/// The fewest queues, each with a core, of which the fullest carries no more than a core can do.
fn needed(busy: f64, spread: &Spread) -> String {
    let fits = |queues: &usize| busy / *queues as f64 * spread.imbalance(*queues).0 <= 1.0;
    (1..=128).find(fits).map_or("no number of them".into(), |n| n.to_string())
}

fn cores(p: &Parts) -> String {
    let row = |cores: &usize| {
        let budget = |gigabits: f64| *cores as f64 * 1e3 / line_rate(gigabits);
        let left = |gigabits: f64| match (budget(gigabits) - p.io_ns) * p.ghz {
            cycles if cycles < 0.0 => "less than I/O takes".to_string(),
            cycles => format!("{cycles:.0}"),
        };
        format!("| {cores} | {} | {} | {} |", left(25.0), left(100.0), left(200.0))
    };
    table(
        "| cores | cycles left a packet, 25 GbE | 100 GbE | 200 GbE |",
        [1, 2, 4, 8, 16, 24, 32, 48, 64].iter().map(row),
    )
}
