//! The books of a trial: every packet sent arrives, or is in a counter somewhere. Where they do not balance, the trial
//! proves nothing.

use std::collections::BTreeMap;
use std::fs;

use crate::Result;
use crate::bed::{ACCESS, Bed, UNDERLAY};

const DEVICES: &str = "/proc/thread-self/net/dev";
const IP: &str = "/proc/thread-self/net/snmp";

/// Packets lost, by the counter that says so.
pub(crate) type Drops = BTreeMap<String, u64>;

/// Reads every counter of the kernel that a packet of a trial can end in.
///
/// What finds a core's backlog full, and redirects that find a port's ring full, are among the port's `rx`; what finds
/// the far end's ring full is among its `tx`.
pub(crate) fn kernel_drops(bed: &Bed) -> Result<Drops> {
    // the files of the namespace the reading thread is in
    let read = || Ok::<_, std::io::Error>([fs::read_to_string(DEVICES)?, fs::read_to_string(IP)?]);
    let [devices_text, ip_text] = bed.sut.run(read)??;
    let mut drops = Drops::new();
    let devices = devices(&devices_text);
    let of = |name: &str| devices.get(name).copied().unwrap_or_default();
    for port in [ACCESS, UNDERLAY] {
        let [rx, tx] = of(port);
        drops.insert(format!("{port} rx_dropped"), rx);
        drops.insert(format!("{port} tx_dropped"), tx);
    }
    let tunnels = devices.iter().filter(|(name, _)| !["lo", ACCESS, UNDERLAY].contains(&name.as_str()));
    let [rx, tx] = tunnels.fold([0, 0], |sum, (_, d)| [sum[0] + d[0], sum[1] + d[1]]);
    drops.insert("tunnels rx_dropped".into(), rx);
    // a tunnel also counts what the port beneath it drops
    drops.insert("tunnels tx_dropped".into(), tx.saturating_sub(of(UNDERLAY)[1]));
    drops.insert("IP discards and errors".into(), ip_errors(&ip_text));
    Ok(drops)
}

/// What was lost between two readings.
pub(crate) fn since(before: &Drops, after: &Drops) -> Drops {
    let lost = after.iter().map(|(name, n)| (name.clone(), n.saturating_sub(*before.get(name).unwrap_or(&0))));
    lost.filter(|(_, n)| *n > 0).collect()
}

/// Receive and transmit drops of each interface in `/proc/net/dev`.
fn devices(text: &str) -> BTreeMap<String, [u64; 2]> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let fields: Vec<u64> = rest.split_whitespace().filter_map(|f| f.parse().ok()).collect();
        Some((name.trim().to_string(), [*fields.get(3)?, *fields.get(11)?]))
    };
    text.lines().filter_map(line).collect()
}

fn ip_errors(text: &str) -> u64 {
    let mut lines = text.lines().filter_map(|l| l.strip_prefix("Ip: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let wanted = ["InHdrErrors", "InAddrErrors", "InUnknownProtos", "InDiscards", "OutDiscards", "OutNoRoutes"];
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.filter(|(name, _)| wanted.contains(name)).filter_map(|(_, n)| n.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let dev = "Inter-| Receive | Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes …\n\
                   \x20   lo:  1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n   ul0:0 0 0 7 0 0 0 0 0 0 0 9 0 0 0 0\n";
        let read: Vec<_> = devices(dev).into_iter().collect();
        assert_eq!(read, [("lo".to_string(), [4, 12]), ("ul0".to_string(), [7, 9])]);
        let snmp =
            "Ip: Forwarding InReceives InHdrErrors InDiscards OutNoRoutes\nIp: 1 100 2 3 5\nIcmp: InMsgs\nIcmp: 0\n";
        assert_eq!(ip_errors(snmp), 10);
    }

    #[test]
    fn only_what_grew_is_lost() {
        let books = |n: [u64; 2]| Drops::from([("a".into(), n[0]), ("b".into(), n[1])]);
        assert_eq!(since(&books([1, 5]), &books([4, 5])), Drops::from([("a".into(), 3)]));
        assert_eq!(since(&Drops::new(), &books([0, 2])), Drops::from([("b".into(), 2)]));
    }
}
