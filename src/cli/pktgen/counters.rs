//! What the kernel counts on an interface: a count of packets that nobody here has made.

use std::fs;
use std::io;

use serde::Serialize;

/// Totals of one interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct InterfaceCounts {
    /// Received.
    pub rx_packets: u64,
    /// Not received: errors, drops, overruns.
    pub rx_dropped: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Not sent: errors, drops, overruns.
    pub tx_dropped: u64,
}

impl InterfaceCounts {
    /// Of the interface `name` in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When it is not there, or proc is not mounted.
    pub(super) fn read(name: &str) -> io::Result<Self> {
        parse(&fs::read_to_string("/proc/thread-self/net/dev")?, name)
            .ok_or_else(|| io::Error::other(format!("{name} is not in /proc/thread-self/net/dev")))
    }

    /// What was counted since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            rx_packets: self.rx_packets.wrapping_sub(before.rx_packets),
            rx_dropped: self.rx_dropped.wrapping_sub(before.rx_dropped),
            tx_packets: self.tx_packets.wrapping_sub(before.tx_packets),
            tx_dropped: self.tx_dropped.wrapping_sub(before.tx_dropped),
        }
    }
}

/// Columns as in proc_pid_net(5): eight of receiving (bytes, packets, errs, drop, fifo, …), then eight of sending.
fn parse(text: &str, name: &str) -> Option<InterfaceCounts> {
    let line = text.lines().find_map(|l| l.split_once(':').filter(|(n, _)| n.trim() == name))?.1;
    let n: Vec<u64> = line.split_whitespace().map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let sum = |from: usize| n.get(from..from + 3).map(|some| some.iter().sum());
    Some(InterfaceCounts { rx_packets: *n.get(1)?, rx_dropped: sum(2)?, tx_packets: *n.get(9)?, tx_dropped: sum(10)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0
  eth0: 1000 10 1 2 4 8 16 32 2000 20 64 128 256 512 1024 2048
";

    #[test]
    fn columns_are_where_proc_has_them() {
        let want = InterfaceCounts { rx_packets: 10, rx_dropped: 7, tx_packets: 20, tx_dropped: 448 };
        assert_eq!(parse(TEXT, "eth0"), Some(want));
        assert_eq!(
            (parse(TEXT, "eth"), parse("eth0: 1 2 x", "eth0"), parse("eth0: 1 2 3", "eth0")),
            (None, None, None)
        );
        assert_eq!(want.since(&InterfaceCounts { rx_packets: 4, ..want }).rx_packets, 6);
    }

    #[test]
    fn the_kernel_tells() {
        assert!(InterfaceCounts::read("lo").is_ok());
        assert!(InterfaceCounts::read("none").unwrap_err().to_string().contains("none"));
    }
}
