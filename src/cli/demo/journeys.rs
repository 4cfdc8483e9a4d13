//! The ways through the gateway, and what became of what was sent along them.

use super::DemoError;
use crate::lab::traffic::{LoadCounts, PingReport, Transfer, ping, tcp_transfer};
use crate::lab::{Host, LabError, Topology};

/// One way through the gateway, from one host to another.
#[derive(Debug, Clone)]
pub(super) struct Journey {
    /// What the gateway calls it.
    pub(super) kind: &'static str,
    /// Who sends to whom.
    pub(super) label: &'static str,
    pub(super) from: Host,
    pub(super) to: Host,
    pub(super) echo: Option<PingReport>,
    pub(super) tcp: Option<Transfer>,
    pub(super) udp: Option<LoadCounts>,
}

/// Every journey the gateway knows.
pub(super) fn all(topology: &Topology) -> Vec<Journey> {
    let pod = |cluster: usize, node: usize| topology.clusters()[cluster].nodes[node].pod.clone();
    let native = || topology.native.clone();
    vec![
        Journey::new("encap", "native → blue1", native(), pod(0, 0)),
        Journey::new("decap", "blue1 → native", pod(0, 0), native()),
        Journey::new("transit", "blue2 → green2", pod(0, 1), pod(1, 1)),
        Journey::new("transit", "green2 → blue2", pod(1, 1), pod(0, 1)),
    ]
}

impl Journey {
    pub(super) fn new(kind: &'static str, label: &'static str, from: Host, to: Host) -> Self {
        Self { kind, label, from, to, echo: None, tcp: None, udp: None }
    }

    /// Sends echo requests along it.
    pub(super) fn ping(&mut self, count: u32) -> Result<(), DemoError> {
        self.echo = Some(ping(&self.from.ns, self.to.address, count, 56)?);
        Ok(())
    }

    /// Sends bytes along it over TCP.
    pub(super) fn transfer(&mut self, bytes: u64) -> Result<(), LabError> {
        self.tcp = Some(tcp_transfer(&self.from.ns, &self.to.ns, self.to.address, bytes)?);
        Ok(())
    }
}
