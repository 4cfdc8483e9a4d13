//! The books of a run: what each station on the way has counted, and whether the counts agree.

use serde::Serialize;

use super::counters::InterfaceCounts;
use super::receiver::Received;
use super::sender::Sent;
use super::sequence::Flow;

/// Counts of the same packets, each by another party. All but the interfaces' are of this run alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Books {
    /// Frames the TX ring accepted: counted by the sender.
    pub tx_accepted: u64,
    /// Frames that came back by the completion ring: counted by the kernel's ring.
    pub tx_completed: u64,
    /// Frames the kernel refused as invalid (`XDP_STATISTICS`).
    pub tx_invalid: u64,
    /// What the kernel counted on the sending interface meanwhile, of everybody's packets.
    pub tx_interface: InterfaceCounts,
    /// What the kernel counted on the receiving interface meanwhile, of everybody's packets.
    pub rx_interface: InterfaceCounts,
    /// Packets the XDP program handed to a socket: counted in the kernel.
    pub rx_taken: u64,
    /// Packets of the run's destinations on a queue that has no socket.
    pub rx_no_socket: u64,
    /// Packets the sockets had no packet memory for (`XDP_STATISTICS`).
    pub rx_dropped: u64,
    /// Packets the RX rings had no room for (`XDP_STATISTICS`).
    pub rx_ring_full: u64,
    /// Frames read from the RX rings: counted by the receiver.
    pub rx_read: u64,
}

/// What the sequence numbers of all flows come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FlowCounts {
    /// Flows that packets were sent in.
    pub sent: u64,
    /// Flows that packets are missing of.
    pub with_loss: u64,
    /// Of the flow that lost most: its number.
    pub worst: u64,
    /// Of the flow that lost most: packets sent.
    pub worst_sent: u64,
    /// Of the flow that lost most: packets lost.
    pub worst_lost: u64,
    /// Packets lost, flow by flow: sent less different ones received.
    #[serde(skip)]
    pub(super) lost: u64,
    /// The same by numbers passed over and by numbers behind the last that came.
    #[serde(skip)]
    pub(super) missing: u64,
    /// Flows of which more came than was sent.
    #[serde(skip)]
    pub(super) impossible: u64,
}

impl FlowCounts {
    /// Goes through all flows; `gaps` are the numbers that were passed over.
    pub(super) fn new(sent: &[u64], flows: &[Flow], gaps: u64) -> Self {
        let mut all = Self { missing: gaps, ..Self::default() };
        for (number, (sent, flow)) in sent.iter().zip(flows).enumerate() {
            let (Some(tail), Some(lost)) = (flow.tail(*sent), sent.checked_sub(flow.received())) else {
                all.impossible += 1;
                continue;
            };
            all.sent += u64::from(*sent > 0);
            all.with_loss += u64::from(lost > 0);
            all.lost += lost;
            all.missing += tail;
            if lost > all.worst_lost {
                (all.worst, all.worst_sent, all.worst_lost) = (number as u64, *sent, lost);
            }
        }
        all
    }
}

impl Books {
    pub(super) fn new(sent: &Sent, got: &Received, interfaces: [InterfaceCounts; 2]) -> Self {
        Self {
            tx_accepted: sent.accepted,
            tx_completed: sent.completed,
            tx_invalid: sent.invalid,
            tx_interface: interfaces[0],
            rx_interface: interfaces[1],
            rx_taken: got.xdp.taken,
            rx_no_socket: got.xdp.no_socket,
            rx_dropped: got.rings.rx_dropped,
            rx_ring_full: got.rings.rx_ring_full,
            rx_read: got.read,
        }
    }

    /// Packets lost at the receiver itself.
    pub fn overrun(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full
    }

    /// Every pair of counts that should agree and does not, in words. Empty means that the run proves something.
    pub(super) fn faults(&self, sent: &Sent, got: &Received, flows: &FlowCounts) -> Vec<String> {
        let mut faults = Vec::new();
        let mut equal = |what: &str, a: u64, b: u64| {
            if a != b {
                faults.push(format!("{what}: {a} is not {b}"));
            }
        };
        let told = got.tally.received + got.tally.duplicates + got.tally.stale + got.damage.total() + got.foreign;
        equal("frames the TX ring accepted, frames completed", self.tx_accepted, self.tx_completed);
        equal("frames accepted, packets sent by flow", self.tx_accepted, sent.by_flow.iter().sum());
        equal("frames the kernel refused to send, none", self.tx_invalid, 0);
        equal("packets on a queue without a socket, none", self.rx_no_socket, 0);
        equal("packets taken by XDP, read plus dropped at the sockets", self.rx_taken, self.rx_read + self.overrun());
        equal("frames read, packets told apart", self.rx_read, told);
        equal("flows that received more than was sent, none", flows.impossible, 0);
        equal("lost by flow, missing by sequence number", flows.lost, flows.missing);
        equal("packets sent, received plus lost", self.tx_accepted, got.tally.received + flows.lost);
        // Interfaces count others' packets, too, and some drivers do not count what passes by XDP.
        let mut at_least = |what: &str, counted: u64, known: u64| {
            if counted < known && counts_xdp(counted, known) {
                faults.push(format!("{what}: {counted} is less than {known}"));
            }
        };
        let tx = self.tx_interface.tx_packets + self.tx_interface.tx_dropped;
        at_least("packets the sending interface counted, frames completed", tx, self.tx_completed);
        at_least(
            "packets the receiving interface counted, packets taken by XDP",
            self.rx_interface.rx_packets,
            self.rx_taken,
        );
        faults
    }

    /// Whether the interfaces, sending and receiving, seem to count packets of XDP at all.
    pub fn interfaces_count(&self) -> [bool; 2] {
        let tx = self.tx_interface.tx_packets + self.tx_interface.tx_dropped;
        [counts_xdp(tx, self.tx_completed), counts_xdp(self.rx_interface.rx_packets, self.rx_taken)]
    }
}

/// A driver either counts packets that pass by XDP or it does not: then all it counts is what others send.
fn counts_xdp(counted: u64, known: u64) -> bool {
    counted >= known.div_ceil(2)
}
