//! The report for people.

use std::fmt::Write;

use super::report::{Percentiles, Report};

/// The report as a table, with remarks below it.
pub(super) fn table(r: &Report) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12} {value}"); // writing to a String cannot fail
    };
    let share = r.lost as f64 * 100.0 / r.sent.max(1) as f64;
    row("sent", format!("{:>12}   {} packets/s", r.sent, r.sent_pps));
    row("received", format!("{:>12}   {} packets/s", r.received, r.received_pps));
    row("lost", format!("{:>12}   {share:.4} %", r.lost));
    row("duplicates", format!("{:>12}", r.duplicates));
    row("reordered", format!("{:>12}", r.reordered));
    row("corrupt", format!("{:>12}", r.corrupt));
    for (name, count) in r.damage.named().into_iter().filter(|(_, n)| *n > 0) {
        row("", format!("{count:>12}   {name}"));
    }
    row("latency", format!("{}   from the intended time of sending", micros(&r.latency_ns)));
    if r.sent_late_ns.count > 0 {
        row("sent late", format!("{}   the generator's own part of it", micros(&r.sent_late_ns)));
    }
    if let Some(hops) = r.hops {
        row("hops", if hops.min == hops.max { hops.min.to_string() } else { format!("{} to {}", hops.min, hops.max) });
    }
    let copies = [r.zero_copy.tx, r.zero_copy.rx].map(|z| if z { "zero-copy" } else { "copy" });
    row("sockets", format!("sender {}, receiver {}", copies[0], copies[1]));
    for remark in remarks(r) {
        let _ = writeln!(out, "{remark}");
    }
    out
}

/// What the figures alone do not say.
fn remarks(r: &Report) -> Vec<String> {
    let mut all = Vec::new();
    if r.interrupted {
        all.push("! ended before its time, as asked; the counts are complete".to_string());
    }
    all.extend(r.generator_limited.iter().map(|why| format!("! limited by the generator: {why}")));
    if r.lost > 0 {
        let f = &r.flows;
        let worst = format!("flow {} lost most: {} of {}", f.worst, f.worst_lost, f.worst_sent);
        all.push(format!("! packets are missing in {} of {} flows; {worst}", f.with_loss, f.sent));
    }
    if r.stale > 0 {
        all.push(format!("! {} packets came more than 64 behind: counted as lost", r.stale));
    }
    if r.foreign > 0 {
        all.push(format!("! {} packets received were not of this run", r.foreign));
    }
    for (counts, end) in r.books.interfaces_count().into_iter().zip(["sending", "receiving"]) {
        if !counts {
            all.push(format!("! the {end} interface does not count packets of XDP: its counters prove nothing"));
        }
    }
    if r.corrupt > 0 {
        all.push("✗ packets were damaged on their way".to_string());
    }
    all.extend(r.invalid.iter().map(|why| format!("✗ the books do not balance, this run proves nothing: {why}")));
    all
}

fn micros(p: &Percentiles) -> String {
    let us = |n: u64| format!("{:.1}", n as f64 / 1e3);
    let [a, b, c, d, e, f] = [p.p50, p.p90, p.p99, p.p999, p.p9999, p.max].map(us);
    format!("p50 {a} µs, p90 {b}, p99 {c}, p99.9 {d}, p99.99 {e}, max {f}")
}

#[cfg(test)]
mod tests {
    use super::super::damage::Damage;
    use super::super::report::tests::{halves, report};
    use super::*;

    #[test]
    fn people_are_told_the_numbers_and_what_they_mean() {
        let mut run = halves(3, [&[0, 2], &[1, 0, 1, 2]]);
        let told = table(&report(&run));
        for line in ["sent                    6   3 packets/s", "lost                    1   16.6667 %"] {
            assert!(told.contains(line), "{told}");
        }
        assert!(
            told.contains("flow 0 lost most: 1 of 3") && !told.contains('✗') && !told.contains("sent late"),
            "{told}"
        );
        run.1.damage.note(Damage::Vni);
        run.0.completed = 5;
        run.0.interrupted = true;
        let told = table(&report(&run));
        for words in ["1   vni", "✗ packets were damaged", "✗ the books do not balance", "before its time"] {
            assert!(told.contains(words), "{told}");
        }
    }
}
