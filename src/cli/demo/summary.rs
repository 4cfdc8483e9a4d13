//! The last page: what was carried, and whether that is good enough.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::gateway::{self, Ledger};
use super::human;
use super::journeys::Journey;
use crate::lab::scrape::Samples;

/// The part of a UDP load that may be lost. The sender does not care whether the machine keeps up, and a machine
/// that runs both ends of every tunnel has moments when it does not.
pub(super) const TOLERATED_LOSS: f64 = 0.01;

/// One journey's echoes and transfer, as they come in.
pub(super) fn line(journey: &Journey) -> String {
    let cells = cells(journey);
    format!("{:<8}{:<16} ping {} ({})   tcp {}", cells[0], cells[1], cells[2], cells[3], cells[4])
}

fn cells(journey: &Journey) -> [String; 9] {
    let none = || "—".to_string();
    let (mut ping, mut rtt, mut tcp) = (none(), none(), none());
    let (mut sent, mut received, mut lost, mut delay) = (none(), none(), none(), none());
    if let Some(echo) = &journey.echo {
        ping = format!("{}/{}", echo.received, echo.sent);
        rtt = echo.median().map_or_else(none, human);
    }
    if let Some(t) = &journey.tcp {
        tcp = match (t.bytes, t.hash_ok) {
            (0, _) => "NOTHING ARRIVED".into(),
            (_, true) => format!("{:.0} Mb/s, hash ok", t.megabits_per_second()),
            (_, false) => "BROKEN OFF OR DAMAGED".into(),
        };
    }
    if let Some(udp) = &journey.udp {
        (sent, received, lost) = (udp.sent.to_string(), udp.received.to_string(), udp.lost.to_string());
        if udp.received > 0 {
            delay = human(Duration::from_secs_f64(udp.latency_us[1] / 1e6));
        }
    }
    [journey.kind.into(), journey.label.into(), ping, rtt, tcp, sent, received, lost, delay]
}

/// Journey by journey.
pub(super) fn table(journeys: &[Journey]) -> String {
    let head = ["journey", "way", "ping", "rtt p50", "tcp", "udp sent", "received", "lost", "one-way p99"];
    let mut rows = vec![head.map(String::from)];
    rows.extend(journeys.iter().map(cells));
    let widths: Vec<usize> =
        (0..head.len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  "); // writing to a String cannot fail
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The gateway's own account; the latency is that of the load, which began at `before`.
pub(super) fn account(samples: &Samples, before: &Samples) -> String {
    let mut text = String::new();
    if let Some([p50, p99, p999, max]) = gateway::latency(samples, before).map(|all| all.map(human)) {
        let _ = writeln!(
            text,
            "latency inside the gateway under the UDP load: p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}"
        );
    }
    let ledger = Ledger::of(samples);
    let verdict = if ledger.balances() { "balances" } else { "DOES NOT BALANCE" };
    let Ledger { rx, forwarded, replied, dropped } = ledger;
    let _ = writeln!(
        text,
        "ledger: {rx} received = {forwarded} forwarded + {replied} replied + {dropped} dropped: {verdict}"
    );
    for (reason, count) in gateway::drops(samples) {
        let _ = writeln!(text, "  dropped, {reason}: {count}");
    }
    text
}

/// Every expectation that was not met, a sentence each.
pub(super) fn failures(journeys: &[Journey], samples: Option<&Samples>) -> Vec<String> {
    let mut failures: Vec<String> = journeys.iter().flat_map(shortcomings).collect();
    let Some(samples) = samples else {
        failures.push("the gateway's metrics could not be read at the end".into());
        return failures;
    };
    if !Ledger::of(samples).balances() {
        failures.push("the gateway's ledger does not balance".into());
    }
    // What arrived must have come through the gateway, by the journey it was meant to take.
    let forwarded = gateway::forwarded(samples);
    let mut arrived = BTreeMap::<&str, u64>::new();
    for journey in journeys {
        *arrived.entry(journey.kind).or_default() += journey.udp.map_or(0, |udp| udp.received);
    }
    for (kind, arrived) in arrived {
        let counted = forwarded.get(kind).copied().unwrap_or(0.0);
        if counted < arrived as f64 {
            failures.push(format!("{arrived} packets arrived by {kind}, but the gateway counted {counted}"));
        }
    }
    failures
}

fn shortcomings(journey: &Journey) -> Vec<String> {
    let mut list = Vec::new();
    let mut blame = |what: String| list.push(format!("{} ({}): {what}", journey.label, journey.kind));
    match &journey.echo {
        Some(echo) if echo.complete() => {}
        Some(echo) => blame(format!("{} of {} echoes came back", echo.received, echo.sent)),
        None => blame("was not pinged".into()),
    }
    match &journey.tcp {
        Some(tcp) if tcp.hash_ok => {}
        Some(tcp) => blame(format!("the TCP transfer broke off or was damaged after {} bytes", tcp.bytes)),
        None => blame("carried no TCP transfer".into()),
    }
    match &journey.udp {
        Some(udp) if udp.sent == 0 => blame("no UDP could be sent".into()),
        Some(udp) => {
            if udp.lost as f64 > udp.sent as f64 * TOLERATED_LOSS {
                blame(format!("{} of {} UDP packets were lost", udp.lost, udp.sent));
            }
            if udp.corrupt + udp.duplicate > 0 {
                blame(format!("{} UDP packets came damaged, {} twice", udp.corrupt, udp.duplicate));
            }
        }
        None => blame("carried no UDP load".into()),
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::view::tests::journey;
    use crate::lab::traffic::{LoadCounts, PingReport, Transfer};

    /// The account of a gateway that took in so many packets and forwarded 995 of them.
    fn account_of(rx: u32, kind: &str) -> Samples {
        Samples::parse(&format!(
            "selvedge_rx_packets_total{{port=\"ul0\"}} {rx}\n\
             selvedge_forwarded_packets_total{{journey=\"{kind}\"}} 995\n\
             selvedge_replied_packets_total 1\n\
             selvedge_dropped_packets_total{{reason=\"no_route\"}} 4\n"
        ))
    }

    fn good() -> Journey {
        let mut good = journey("encap", "native → blue1");
        let rtts = vec![Duration::from_micros(90); 3];
        good.echo = Some(PingReport { sent: 3, received: 3, rtts });
        good.tcp = Some(Transfer { bytes: 1_000_000, seconds: 0.01, hash_ok: true });
        good.udp = Some(LoadCounts { sent: 1000, received: 995, lost: 5, ..LoadCounts::default() });
        good
    }

    #[test]
    fn a_good_run_has_no_failures_and_a_straight_table() {
        let samples = account_of(1000, "encap");
        assert_eq!(failures(&[good()], Some(&samples)), [""; 0]);
        let table = table(&[good(), journey("decap", "blue1 → native")]);
        assert!(table.contains("3/3   90 µs    800 Mb/s, hash ok  1000      995       5"), "\n{table}");
        assert_eq!(
            account(&samples, &Samples::default()),
            "ledger: 1000 received = 995 forwarded + 1 replied + 4 dropped: balances\n  dropped, no_route: 4\n"
        );
    }

    #[test]
    fn every_shortcoming_is_named() {
        type Breakage = (fn(&mut Journey), &'static str);
        let breakages: [Breakage; 6] = [
            (|j| j.echo.as_mut().unwrap().received = 2, "2 of 3 echoes"),
            (|j| j.echo = None, "not pinged"),
            (|j| j.tcp.as_mut().unwrap().hash_ok = false, "TCP transfer broke off"),
            (|j| j.udp.as_mut().unwrap().lost = 11, "11 of 1000 UDP packets were lost"),
            (|j| j.udp.as_mut().unwrap().corrupt = 1, "1 UDP packets came damaged"),
            (|j| j.udp = None, "no UDP load"),
        ];
        for (break_it, words) in breakages {
            let mut bad = good();
            break_it(&mut bad);
            let found = failures(&[bad], Some(&account_of(1000, "encap")));
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
        for (samples, words) in [
            (None, "metrics could not be read"),
            (Some(account_of(1001, "encap")), "ledger does not balance"),
            (Some(account_of(1000, "decap")), "995 packets arrived by encap, but the gateway counted 0"),
        ] {
            let found = failures(&[good()], samples.as_ref());
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
    }
}
