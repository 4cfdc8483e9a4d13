//! What a run comes to: the counts, the verdict, and how programs are told. (People: see `table`.)

use hdrhistogram::Histogram as Hdr;
use serde::Serialize;

use super::books::{Books, FlowCounts};
use super::counters::InterfaceCounts;
use super::damage::DamageCounts;
use super::receiver::Received;
use super::sender::{Rate, Sent};

/// A run, summed up. `selvedge pktgen --json` prints it as one line of JSON, an object with these fields under these
/// names; fields may be added, never renamed or removed. Times are in nanoseconds where a name does not say otherwise.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// Version of this description: 1.
    pub schema: u32,
    /// Packets whose time came.
    pub offered: u64,
    /// Packets sent: frames the TX ring accepted.
    pub sent: u64,
    /// Different whole packets received.
    pub received: u64,
    /// Packets sent and not received whole, by the sequence numbers of each flow.
    pub lost: u64,
    /// Whole packets received again.
    pub duplicates: u64,
    /// Packets received after later ones of their flow; they are among those received.
    pub reordered: u64,
    /// Packets so late that they may be duplicates (64 behind the newest): counted as lost.
    pub stale: u64,
    /// Test packets received damaged: the sum of `damage`. They are among those lost.
    pub corrupt: u64,
    /// Packets received that are not of this run.
    pub foreign: u64,
    /// Losses at the receiver's own rings: the generator's, not the network's. They are among those lost.
    pub receiver_overrun: u64,
    /// How long sending took.
    pub seconds: f64,
    /// Packets sent a second.
    pub sent_pps: u64,
    /// Packets received per second of sending.
    pub received_pps: u64,
    /// From the intended time of sending to receipt, of packets received.
    pub latency_ns: Percentiles,
    /// How late the generator itself was: from the intended time to the hand-over to the TX ring. Zeros at `--rate max`.
    pub sent_late_ns: Percentiles,
    /// Who reads and writes packet memory without a copy.
    pub zero_copy: ZeroCopy,
    /// What was wrong with packets that came damaged.
    pub damage: DamageCounts,
    /// Routers passed, by the TTL: the fewest and the most; null when nothing was received.
    pub hops: Option<Hops>,
    /// By flow.
    pub flows: FlowCounts,
    /// What each station on the way has counted.
    pub books: Books,
    /// What makes the same choices of flows and lengths again (`--seed`).
    pub seed: u64,
    /// The run was ended by a signal or a key before its time. Its counts are as good as any.
    pub interrupted: bool,
    /// Why the figures may be the generator's own limits and not the network's; empty when they are not.
    pub generator_limited: Vec<String>,
    /// Counts that should agree and do not; empty when the books balance.
    pub invalid: Vec<String>,
    /// The books balance.
    pub valid: bool,
    /// The same as `valid`, by its older name.
    pub balanced: bool,
    /// The books balance and nothing came damaged. Otherwise the exit code is 1. Losses are no failure: they are what is
    /// measured.
    pub sound: bool,
}

/// Of a histogram with three significant digits; zeros when it is empty.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Percentiles {
    /// The least.
    pub min: u64,
    /// 50 %.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// The most.
    pub max: u64,
    /// The mean.
    pub mean: f64,
    /// How many values there were.
    pub count: u64,
}

impl Percentiles {
    fn of(hdr: &Hdr<u64>) -> Self {
        if hdr.is_empty() {
            return Self::default();
        }
        let at = |q| hdr.value_at_quantile(q).min(hdr.max());
        Self {
            min: hdr.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: hdr.max(),
            mean: hdr.mean(),
            count: hdr.len(),
        }
    }
}

/// Who reads and writes packet memory without a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ZeroCopy {
    /// The driver of `--tx`.
    pub tx: bool,
    /// The driver of `--rx`.
    pub rx: bool,
}

/// Routers passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Hops {
    /// The fewest.
    pub min: u8,
    /// The most.
    pub max: u8,
}

impl Report {
    pub(super) fn new(sent: &Sent, got: &Received, interfaces: [InterfaceCounts; 2], rate: Rate, seed: u64) -> Self {
        let flows = FlowCounts::new(&sent.by_flow, &got.flows, got.tally.missing);
        let books = Books::new(sent, got, interfaces);
        let invalid = books.faults(sent, got, &flows);
        let pps = |packets: u64| (packets as f64 * 1e9 / sent.nanos.max(1) as f64).round() as u64;
        let mut report = Self {
            schema: 1,
            offered: sent.offered,
            sent: sent.accepted,
            received: got.tally.received,
            lost: flows.lost,
            duplicates: got.tally.duplicates,
            reordered: got.tally.reordered,
            stale: got.tally.stale,
            corrupt: got.damage.total(),
            foreign: got.foreign,
            receiver_overrun: books.overrun(),
            seconds: sent.nanos as f64 / 1e9,
            sent_pps: pps(sent.accepted),
            received_pps: pps(got.tally.received),
            latency_ns: Percentiles::of(&got.latency),
            sent_late_ns: Percentiles::of(&sent.late),
            zero_copy: ZeroCopy { tx: sent.zero_copy, rx: got.zero_copy },
            damage: got.damage,
            hops: got.hops.map(|(min, max)| Hops { min, max }),
            flows,
            books,
            seed,
            interrupted: sent.interrupted,
            generator_limited: Vec::new(),
            valid: invalid.is_empty(),
            balanced: invalid.is_empty(),
            sound: invalid.is_empty() && got.damage.total() == 0,
            invalid,
        };
        report.generator_limited = report.limits(rate);
        report
    }

    /// Why the figures may say more about the generator than about the network.
    fn limits(&self, rate: Rate) -> Vec<String> {
        let mut limits = Vec::new();
        if self.receiver_overrun > 0 {
            limits
                .push(format!("{} packets were lost at the receiver itself: it cannot keep up", self.receiver_overrun));
        }
        match rate {
            Rate::Max if self.lost == 0 => limits.push("nothing was lost: more may be possible than is sent".into()),
            Rate::Max => {}
            Rate::Fixed(_) => {
                if self.offered > self.sent {
                    let unsent = self.offered - self.sent;
                    limits.push(format!("{unsent} packets were never sent: the sender cannot keep up"));
                }
                // what the generator was late by is part of every latency
                if self.sent_late_ns.p99 > self.latency_ns.p99 / 2 && self.latency_ns.count > 0 {
                    limits.push("more than half of the p99 latency is the sender's own lateness".into());
                }
            }
        }
        limits
    }

    /// For programs: one object, one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}")) // integers, finite floats and strings only
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::damage::Damage;
    use super::*;
    use crate::cli::pktgen::histogram;

    /// Both halves of a run of two flows of `each` packets each, of which `came` were received.
    pub(in crate::cli::pktgen) fn halves(each: u64, came: [&[u64]; 2]) -> (Sent, Received) {
        let mut got = Received::new(2, true).unwrap();
        for (flow, numbers) in got.flows.iter_mut().zip(came) {
            numbers.iter().for_each(|n| flow.note(*n, &mut got.tally));
        }
        got.latency.saturating_record_n(1000, got.tally.received);
        got.read = came.iter().map(|c| c.len() as u64).sum();
        got.xdp.taken = got.read;
        let sent = Sent {
            offered: 2 * each,
            accepted: 2 * each,
            completed: 2 * each,
            invalid: 0,
            by_flow: vec![each; 2],
            nanos: 2_000_000_000,
            late: histogram().unwrap(),
            zero_copy: false,
            interrupted: false,
        };
        (sent, got)
    }

    pub(in crate::cli::pktgen) fn report((sent, got): &(Sent, Received)) -> Report {
        let counts = InterfaceCounts { tx_packets: sent.accepted, rx_packets: got.read, ..InterfaceCounts::default() };
        Report::new(sent, got, [counts; 2], Rate::Fixed(1000), 1)
    }

    #[test]
    fn every_packet_is_somewhere() {
        let cases: &[(&str, [&[u64]; 2], u64, u64)] = &[
            ("all came", [&[0, 1, 2], &[0, 1, 2]], 0, 0),
            ("none came", [&[], &[]], 6, 2),
            ("a tail is lost", [&[0, 1, 2], &[0]], 2, 1),
            ("a gap is lost", [&[0, 2], &[1, 0, 1, 2]], 1, 1),
        ];
        for (story, came, lost, flows) in cases {
            let report = report(&halves(3, *came));
            assert_eq!((report.lost, report.flows.with_loss), (*lost, *flows), "{story}: {report:?}");
            assert!(report.valid && report.sound, "{story}: {report:?}");
        }
    }

    #[test]
    fn each_disagreement_is_found_and_named() {
        type Forgery = fn(&mut Sent, &mut Received);
        let forgeries: [(&str, Forgery); 9] = [
            ("frames completed", |s, _| s.completed -= 1),
            ("sent by flow", |s, _| s.by_flow[0] += 1),
            ("refused to send", |s, _| s.invalid += 1),
            ("without a socket", |_, r| r.xdp.no_socket += 1),
            ("taken by XDP", |_, r| r.xdp.taken += 1),
            ("taken by XDP", |_, r| r.rings.rx_ring_full += 1),
            ("told apart", |_, r| r.foreign += 1),
            ("more than was sent", |s, _| s.by_flow[1] = 2),
            ("by sequence number", |_, r| r.tally.missing += 1),
        ];
        for (words, forge) in forgeries {
            let (mut sent, mut got) = halves(3, [&[0, 2], &[0, 1, 2]]);
            forge(&mut sent, &mut got);
            let report = report(&(sent, got));
            assert!(!report.valid && !report.sound && report.invalid.iter().any(|i| i.contains(words)), "{report:?}");
        }
    }

    #[test]
    fn interfaces_must_have_counted_as_much() {
        let (sent, got) = halves(30, [&[0; 1], &[]]);
        for (tx, rx, faults) in [(60, 1, 0), (90, 70, 0), (59, 1, 1), (0, 0, 0), (60, 0, 0)] {
            let tx = InterfaceCounts { tx_packets: tx, ..InterfaceCounts::default() };
            let rx = InterfaceCounts { rx_packets: rx, ..InterfaceCounts::default() };
            let report = Report::new(&sent, &got, [tx, rx], Rate::Max, 1);
            assert_eq!(report.invalid.len(), faults, "{report:?}");
        }
    }

    #[test]
    fn damage_is_no_imbalance_and_not_sound() {
        let (sent, mut got) = halves(3, [&[0, 2], &[0, 1, 2]]);
        got.damage.note(Damage::Payload);
        (got.read, got.xdp.taken) = (6, 6);
        let report = report(&(sent, got));
        assert!(report.valid && !report.sound && report.corrupt == 1, "{report:?}");
    }

    #[test]
    fn what_the_generator_could_not_do_is_said() {
        let (mut sent, mut got) = halves(3, [&[0, 1, 2], &[0, 1, 2]]);
        assert_eq!(report(&(sent.clone(), got.clone())).generator_limited, [""; 0]);
        sent.offered += 4;
        sent.late.saturating_record(600);
        got.rings.rx_ring_full = 1;
        got.xdp.taken += 1;
        let limits = report(&(sent, got)).generator_limited.join("; ");
        for words in ["1 packets were lost at the receiver", "4 packets were never sent", "own lateness"] {
            assert!(limits.contains(words), "{limits}");
        }
    }

    #[test]
    fn names_in_json_stay_as_they_are() {
        let json = report(&halves(3, [&[0, 2], &[1, 0, 1, 2]])).json();
        for field in [
            "\"schema\":1,\"offered\":6,\"sent\":6,\"received\":5,\"lost\":1,\"duplicates\":1,\"reordered\":1,\"stale\":0,",
            "\"corrupt\":0,\"foreign\":0,\"receiver_overrun\":0,\"seconds\":2.0,\"sent_pps\":3,\"received_pps\":3,",
            "\"latency_ns\":{\"min\":1000,\"p50\":1000,\"p90\":1000,\"p99\":1000,\"p999\":1000,\"p9999\":1000,\"max\":1000,",
            "\"sent_late_ns\":{",
            "\"zero_copy\":{\"tx\":false,\"rx\":true}",
            "\"damage\":{\"length\":0,",
            "\"flows\":{\"sent\":2,\"with_loss\":1,\"worst\":0,\"worst_sent\":3,\"worst_lost\":1}",
            "\"books\":{\"tx_accepted\":6,",
            "\"interrupted\":false,\"generator_limited\":[],\"invalid\":[],\"valid\":true,\"balanced\":true,\"sound\":true}",
        ] {
            assert!(json.contains(field), "{field} in {json}");
        }
    }
}
