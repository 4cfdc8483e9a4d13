//! UDP datagrams of every size asked for.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{payload::Stream, unspecified};
use crate::lab::{Doing, LabError, Namespace};

/// Datagrams on their way at once, and their bytes, unless one alone has more; few enough for any receive buffer, where
/// large ones are charged for whole pages.
const BATCH: (usize, usize) = (16, 24 * 1024);
/// How long to wait for the next of a batch.
const QUIET: Duration = Duration::from_millis(250);
/// How long the whole sweep may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Which sizes of datagram survived the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Arrived with every byte as it was sent.
    pub intact: BTreeSet<usize>,
    /// Arrived with other bytes.
    pub damaged: BTreeSet<usize>,
    /// Did not arrive, or could not be sent.
    pub missing: BTreeSet<usize>,
}

impl SweepReport {
    /// True when everything arrived intact.
    pub fn complete(&self) -> bool {
        !self.intact.is_empty() && self.damaged.is_empty() && self.missing.is_empty()
    }
}

/// Sends one datagram of each payload size from one namespace to another, which is reached at `dst`.
pub fn udp_sweep(
    from: &Namespace,
    to: &Namespace,
    dst: impl Into<IpAddr>,
    sizes: impl IntoIterator<Item = usize>,
) -> Result<SweepReport, LabError> {
    let dst = dst.into();
    let saying = || format!("sweeping UDP sizes from {} to {}", from.name(), to.name());
    let receiver = to.run(|| UdpSocket::bind((dst, 0)))?.doing(saying)?;
    receiver.set_read_timeout(Some(QUIET)).doing(saying)?;
    let target = receiver.local_addr().doing(saying)?;
    let sender = from.run(|| UdpSocket::bind((unspecified(dst), 0)))?.doing(saying)?;
    sender.connect(target).doing(saying)?;
    let sizes: BTreeSet<usize> = sizes.into_iter().collect();
    let ordered: Vec<usize> = sizes.iter().copied().collect();
    let mut rest = &ordered[..];
    let deadline = Instant::now() + LIMIT;
    let mut report = SweepReport::default();
    while !rest.is_empty() && Instant::now() < deadline {
        // ascending: the last of a batch is its largest
        let fits = |n: &usize| *n == 1 || n * rest[n - 1] <= BATCH.1;
        let many = (1..=rest.len().min(BATCH.0)).take_while(fits).count();
        let (batch, behind) = rest.split_at(many);
        rest = behind;
        let sent = batch.iter().filter(|size| sender.send(&datagram(**size)).is_ok()).count();
        collect(&receiver, sent, &mut report);
    }
    report.missing =
        sizes.iter().filter(|s| !report.intact.contains(s) && !report.damaged.contains(s)).copied().collect();
    Ok(report)
}

/// The length says which datagram it is, and so what must be in it.
fn datagram(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Stream::new(size as u64).fill(&mut bytes);
    bytes
}

fn collect(receiver: &UdpSocket, expected: usize, report: &mut SweepReport) {
    let mut buffer = vec![0; 65_536];
    for _ in 0..expected {
        let Ok(n) = receiver.recv(&mut buffer) else { return };
        let list = if buffer[..n] == datagram(n)[..] { &mut report.intact } else { &mut report.damaged };
        list.insert(n);
    }
}
