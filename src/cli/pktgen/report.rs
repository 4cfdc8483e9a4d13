//! What a run comes to: the books, the verdict, and how both are told.

use std::fmt::Write;

use super::receiver::Received;
use super::sender::Sent;
use crate::telemetry::quantiles;

/// A run, summed up.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Packets whose time came.
    pub offered: u64,
    /// Packets sent.
    pub sent: u64,
    /// Different packets received.
    pub received: u64,
    /// Packets sent and not received, by sequence numbers.
    pub lost: u64,
    /// Packets received more than once.
    pub duplicates: u64,
    /// Packets received after later ones.
    pub reordered: u64,
    /// Packets so late that they may be duplicates: counted as lost.
    pub stale: u64,
    /// Test packets received damaged.
    pub corrupt: u64,
    /// Packets received that are not of this run.
    pub foreign: u64,
    /// Losses at the receiver's own rings, among those lost.
    pub overrun: u64,
    /// How long sending took.
    pub nanos: u64,
    /// Latency at 50, 99, 99.9 and 100 %, in nanoseconds.
    pub latency: [u64; 4],
    /// How late the generator itself was, at the same quantiles; zeros when it sent as fast as it could.
    pub late: [u64; 4],
    /// Zero-copy at the sender and at the receiver.
    pub zero_copy: [bool; 2],
    /// A flow received more than was sent in it.
    pub impossible: bool,
}

impl Report {
    pub(super) fn new(sent: &Sent, got: &Received) -> Self {
        let tails = got.flows.iter().zip(&sent.by_flow).map(|(flow, sent)| flow.tail(*sent));
        let (tail, impossible) = tails.fold((0, false), |(sum, bad), t| (sum + t.unwrap_or(0), bad | t.is_none()));
        // frames built and never sent stand at the ends of their flows
        let unsent = sent.by_flow.iter().sum::<u64>() - sent.sent;
        let tally = got.tally;
        Self {
            offered: sent.offered,
            sent: sent.sent,
            received: tally.received,
            lost: (tally.missing + tail).saturating_sub(unsent),
            duplicates: tally.duplicates,
            reordered: tally.reordered,
            stale: tally.stale,
            corrupt: got.corrupt,
            foreign: got.foreign,
            overrun: got.overrun,
            nanos: sent.nanos,
            latency: quantiles::of(&got.latency),
            late: quantiles::of(&sent.late),
            zero_copy: [sent.zero_copy, got.zero_copy],
            impossible,
        }
    }

    /// True when every packet sent was either received or is missing.
    pub fn balanced(&self) -> bool {
        !self.impossible && self.sent == self.received + self.lost
    }

    /// True when nothing came damaged and the books balance. Losses are no failure: they are what is measured.
    pub fn sound(&self) -> bool {
        self.corrupt == 0 && self.balanced()
    }

    fn rate(&self, packets: u64) -> f64 {
        packets as f64 * 1e9 / self.nanos.max(1) as f64
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let share = self.lost as f64 * 100.0 / self.sent.max(1) as f64;
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<12} {value}"); // writing to a String cannot fail
        };
        row("sent", format!("{:>12}   {:.0} packets/s", self.sent, self.rate(self.sent)));
        row("received", format!("{:>12}   {:.0} packets/s", self.received, self.rate(self.received)));
        row("lost", format!("{:>12}   {share:.4} %", self.lost));
        row("duplicates", format!("{:>12}", self.duplicates));
        row("reordered", format!("{:>12}", self.reordered));
        row("corrupt", format!("{:>12}", self.corrupt));
        row("latency", format!("{}   from the intended time of sending", micros(self.latency)));
        if self.late[3] > 0 {
            row("sent late", format!("{}   the generator's own part of it", micros(self.late)));
        }
        let copies = self.zero_copy.map(|z| if z { "zero-copy" } else { "copy" });
        row("sockets", format!("sender {}, receiver {}", copies[0], copies[1]));
        if self.offered > self.sent {
            let _ = writeln!(out, "! {} packets were never sent: the sender cannot keep up", self.offered - self.sent);
        }
        if self.overrun > 0 {
            let _ = writeln!(out, "! {} packets were lost at the receiver itself: it cannot keep up", self.overrun);
        }
        if self.stale > 0 {
            let _ = writeln!(out, "! {} packets came more than 64 behind: counted as lost", self.stale);
        }
        if self.foreign > 0 {
            let _ = writeln!(out, "! {} packets received were not of this run", self.foreign);
        }
        if self.corrupt > 0 {
            let _ = writeln!(out, "✗ packets were damaged on their way");
        }
        if !self.balanced() {
            let _ =
                writeln!(out, "✗ the books do not balance: sent is not received plus lost; this run proves nothing");
        }
        out
    }

    /// For programs: one object, one line.
    pub fn json(&self) -> String {
        let quantiles = |[a, b, c, d]: [u64; 4]| format!("{{\"p50\":{a},\"p99\":{b},\"p999\":{c},\"max\":{d}}}");
        format!(
            "{{\"offered\":{},\"sent\":{},\"received\":{},\"lost\":{},\"duplicates\":{},\"reordered\":{},\"stale\":{},\
             \"corrupt\":{},\"foreign\":{},\"receiver_overrun\":{},\"seconds\":{:.6},\"sent_pps\":{:.0},\
             \"received_pps\":{:.0},\"latency_ns\":{},\"sent_late_ns\":{},\"zero_copy\":{{\"tx\":{},\"rx\":{}}},\
             \"balanced\":{},\"sound\":{}}}",
            self.offered,
            self.sent,
            self.received,
            self.lost,
            self.duplicates,
            self.reordered,
            self.stale,
            self.corrupt,
            self.foreign,
            self.overrun,
            self.nanos as f64 / 1e9,
            self.rate(self.sent),
            self.rate(self.received),
            quantiles(self.latency),
            quantiles(self.late),
            self.zero_copy[0],
            self.zero_copy[1],
            self.balanced(),
            self.sound(),
        )
    }
}

fn micros(nanos: [u64; 4]) -> String {
    let [a, b, c, d] = nanos.map(|n| format!("{:.1}", n as f64 / 1e3));
    format!("p50 {a} µs, p99 {b}, p99.9 {c}, max {d}")
}

#[cfg(test)]
mod tests {
    use super::super::sequence::{Flow, Tally};
    use super::*;
    use crate::worker::latency::Histogram;

    /// A run of two flows of `sent` packets each, of which `came` were received.
    fn run(sent: u64, came: [&[u64]; 2]) -> Report {
        let (mut tally, mut flows) = (Tally::default(), vec![Flow::default(); 2]);
        for (flow, numbers) in flows.iter_mut().zip(came) {
            numbers.iter().for_each(|n| flow.note(*n, &mut tally));
        }
        let mut latency = Histogram::default();
        latency.record(1000, tally.received);
        let sent = Sent {
            offered: 2 * sent,
            sent: 2 * sent,
            by_flow: vec![sent; 2],
            nanos: 2_000_000_000,
            late: Histogram::default(),
            zero_copy: false,
        };
        Report::new(&sent, &Received { tally, flows, corrupt: 0, foreign: 0, overrun: 0, latency, zero_copy: true })
    }

    #[test]
    fn books_balance_when_every_packet_is_somewhere() {
        let cases: &[(&str, [&[u64]; 2], u64, bool)] = &[
            ("all came", [&[0, 1, 2], &[0, 1, 2]], 0, true),
            ("none came", [&[], &[]], 6, true),
            ("a tail is lost", [&[0, 1, 2], &[0]], 2, true),
            ("a gap is lost", [&[0, 2], &[1, 0, 1, 2]], 1, true),
            ("more than was sent", [&[0, 1, 2, 3], &[0, 1, 2]], 0, false),
        ];
        for (story, came, lost, sound) in cases {
            let report = run(3, *came);
            assert_eq!((report.lost, report.sound()), (*lost, *sound), "{story}: {report:?}");
        }
        assert!(!Report { corrupt: 1, ..run(1, [&[0], &[0]]) }.sound());
    }

    #[test]
    fn both_tellings_have_the_numbers() {
        let report = run(3, [&[0, 2], &[1, 0, 1, 2]]);
        let table = report.table();
        for line in ["sent                    6   3 packets/s", "lost                    1   16.6667 %"] {
            assert!(table.contains(line), "{table}");
        }
        assert!(!table.contains('✗') && !table.contains("sent late"), "{table}");
        assert!(run(1, [&[3], &[]]).table().contains("✗ the books do not balance"));
        let json = report.json();
        for field in ["\"sent\":6,", "\"lost\":1,", "\"p999\":1000,", "\"seconds\":2.000000,", "\"sound\":true}"] {
            assert!(json.contains(field), "{json}");
        }
    }
}
