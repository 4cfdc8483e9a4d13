//! The report as Markdown tables.

use std::fmt::Write;

use super::Report;
use crate::peers::Peer;
use crate::workload::{Journey, Size, Workload};

/// The whole page. Writing to a `String` cannot fail.
pub(super) fn page(report: &Report) -> String {
    let mut out = String::new();
    let m = &report.manifest;
    let _ = writeln!(out, "# Selvedge and its peers, measured\n");
    let _ = writeln!(
        out,
        "{}, {} cores{}, {}, {}, MTU {}; commit {}; {} to {}. `{}`\n",
        m.cpu,
        m.cores,
        if m.hypervisor { " (virtual)" } else { "" },
        m.kernel,
        m.driver,
        m.mtu,
        m.commit,
        m.started,
        m.finished,
        m.command
    );
    let _ = writeln!(out, "{METHOD}\n");
    headline(report, &mut out);
    rates(report, &mut out);
    searches(report, &mut out);
    latencies(report, &mut out);
    costs(report, &mut out);
    bars(report, &mut out);
    notes(report, &mut out);
    out
}

/// How it was measured, in one paragraph.
pub(super) const METHOD: &str = "\
Systems run in network namespaces of their own, in turn within each round; figures are medians over the rounds, with the \
smallest and the largest. The generator (a BPF program run on live frames) and the receive processing it sets off have \
core 0, the system under test core 1; kernel systems have both, where nothing else is said. A counter in XDP at the far end checks each frame. Only \
ratios within one run say anything, and those to one digit. Latency counts from the intended time of sending. A trial is \
valid only if every packet sent arrives or is in a drop counter; others are void, and repeated.";

fn mpps(pps: f64) -> String {
    format!("{:.2}", pps / 1e6)
}

/// The workload of the headline: 64 bytes and the flow count nearest to a thousand.
pub(super) fn headline_of(report: &Report, journey: Journey) -> Option<&Workload> {
    let small = report.workloads().into_iter().filter(|w| w.journey == journey && w.size == Size::Fixed(64));
    small.min_by_key(|w| w.flows.abs_diff(1000))
}

const JOURNEYS: [Journey; 3] = [Journey::Encap, Journey::Decap, Journey::Transit];

fn headline(report: &Report, out: &mut String) {
    let workloads: Vec<&Workload> = JOURNEYS.iter().filter_map(|j| headline_of(report, *j)).collect();
    let Some(first) = workloads.first() else { return };
    let _ = writeln!(out, "## Maximum rate, {}, {} flows, {} nodes\n", first.size, first.flows, first.nodes);
    let names: Vec<&str> = workloads.iter().map(|w| w.journey.name()).collect();
    let _ = writeln!(out, "| Mpps (× kernel) | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for peer in report.peers() {
        let cell = |w: &&Workload| {
            let Some(rate) = report.rate(peer, w) else { return "–".to_string() };
            let kernel = report.rate(Peer::Kernel, w).map(|k| format!(" ({:.1}×)", rate.median / k.median));
            format!("{}{}", mpps(rate.median), kernel.unwrap_or_default())
        };
        let cells: Vec<String> = workloads.iter().map(cell).collect();
        let _ = writeln!(out, "| {} | {} |", peer.name(), cells.join(" | "));
    }
    out.push('\n');
}

fn rates(report: &Report, out: &mut String) {
    let _ = writeln!(
        out,
        "## Maximum rate, every workload\n\nMpps: median (smallest–largest); † books not balanced, ‡ disturbed by other programs on the machine.\n"
    );
    let peers = report.peers();
    let names: Vec<&str> = peers.iter().map(|p| p.name()).collect();
    let _ = writeln!(out, "| workload | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for workload in report.workloads() {
        let cell = |peer: &Peer| {
            let found = report.rates.iter().find(|r| r.peer == *peer && r.workload == *workload);
            found.map_or("–".to_string(), |r| {
                let mark = [if r.audited { "" } else { " †" }, if r.disturbed > 0 { " ‡" } else { "" }].concat();
                format!("{} ({}–{}){mark}", mpps(r.pps.median), mpps(r.pps.min), mpps(r.pps.max))
            })
        };
        let cells: Vec<String> = peers.iter().map(cell).collect();
        let _ = writeln!(out, "| {workload} | {} |", cells.join(" | "));
    }
    out.push('\n');
}

fn searches(report: &Report, out: &mut String) {
    if report.searches.is_empty() {
        return;
    }
    let _ = writeln!(out, "## Highest rate without loss (NDR) and with at most 0.5 % (PDR)\n");
    let _ = writeln!(
        out,
        "RFC 2544 by bisection to {:.0} %; a rate counts as carried when one of {} trials carries it. A trial in which \
         the generator falls behind by a tenth of its length carries nothing.\n",
        report.resolution * 100.0,
        report.tries
    );
    let _ = writeln!(out, "| workload | system | NDR Mpps | PDR Mpps | trials |\n|---|---|---|---|---|");
    for s in &report.searches {
        let (ndr, pdr) = (mpps(s.ndr_pps), mpps(s.pdr_pps));
        let _ = writeln!(out, "| {} | {} | {ndr} | {pdr} | {} |", s.workload, s.peer.name(), s.trials.len());
    }
    out.push('\n');
}

fn latencies(report: &Report, out: &mut String) {
    if report.latencies.is_empty() {
        return;
    }
    let _ = writeln!(out, "## Latency, µs, medians over the trials\n");
    let _ = writeln!(out, "| workload | system | load | kpps | p50 | p99 | p99.9 | max | lost | generator late, p99 |");
    let _ = writeln!(out, "|---|---|---|---|---|---|---|---|---|---|");
    for l in &report.latencies {
        let load = match l.load {
            0 => "half of the kernel's NDR".to_string(),
            share => format!("{share} % of its NDR"),
        };
        let [p50, p99, p999, max] = [l.p50_us, l.p99_us, l.p999_us, l.max_us].map(|s| format!("{:.0}", s.median));
        let _ = writeln!(
            out,
            "| {} | {} | {load} | {:.0} | {p50} | {p99} | {p999} | {max} | {:.2} % | {:.0} |",
            l.workload,
            l.peer.name(),
            l.pps / 1e3,
            l.loss * 100.0,
            l.late_p99_us
        );
    }
    out.push('\n');
}

fn costs(report: &Report, out: &mut String) {
    if report.costs.is_empty() {
        return;
    }
    let _ = writeln!(out, "## What a packet costs the gateway's process\n");
    let _ = writeln!(out, "| workload | system | CPU time, ns | system calls |\n|---|---|---|---|");
    for c in &report.costs {
        let calls = c.syscalls_a_packet.map_or("not measured".into(), |s| format!("{s:.4} (1/{:.0})", 1.0 / s));
        let _ = writeln!(out, "| {} | {} | {:.0} | {calls} |", c.workload, c.peer.name(), c.cpu_ns_a_packet);
    }
    out.push('\n');
}

fn bars(report: &Report, out: &mut String) {
    let _ = writeln!(out, "## Bars\n\n| bar | at least | aim | measured | met |\n|---|---|---|---|---|");
    for b in &report.bars {
        let measured = b.measured.map_or("not measured".into(), |m| match m {
            m if m < 0.1 => format!("{m:.4}"),
            m => format!("{m:.2}"),
        });
        let met = b.met.map_or("–", |met| if met { "yes" } else { "**no**" });
        let _ = writeln!(out, "| {} | {} | {} | {measured} | {met} |", b.what, b.least, b.aim);
    }
    out.push('\n');
    if !report.in_memory.is_empty() {
        let _ = writeln!(out, "## In memory, no sockets\n\n| case | ns a packet | cycles a packet |\n|---|---|---|");
        for f in &report.in_memory {
            let _ = writeln!(out, "| {} | {:.1} | {:.0} |", f.name, f.ns, f.cycles);
        }
        out.push('\n');
    }
}

fn notes(report: &Report, out: &mut String) {
    let _ = writeln!(out, "## Systems\n");
    for s in &report.systems {
        let missing = s.missing.as_ref().map_or(String::new(), |why| format!(" **Did not run: {why}**"));
        let _ = writeln!(out, "* {}: {}.{missing}", s.name, s.what);
    }
    let void: usize = report.rates.iter().map(|r| r.void.len()).sum();
    let _ = writeln!(
        out,
        "\n## Notes\n\n* {void} trials at maximum rate were void or disturbed by other programs, and repeated."
    );
    if let Some(r) = &report.reload {
        let _ = writeln!(
            out,
            "* Reload ({}) at {:.0} kpps, {}: {} packets lost; the generator itself was {:.1} ms late at most ({} earlier \
             measurements, in which it was later than rings last, were repeated). The plot is in report.html.",
            r.change,
            r.pps / 1e3,
            r.workload,
            r.lost,
            r.generator_late_us / 1e3,
            r.repeated
        );
    }
    for line in &report.omitted {
        let _ = writeln!(out, "* Not measured: {line}.");
    }
}
