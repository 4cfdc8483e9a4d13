//! What a run measures: the command line, and the plan that follows from it.

use std::path::PathBuf;

use crate::bed::MOST_NODES;
use crate::peers::Peer;
use crate::workload::{Journey, Size, Workload};

/// The gateway and its peers over the same workloads, in turn, and a report
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// 64 bytes, 1,000 flows, all journeys, few rounds: some minutes
    #[arg(long)]
    quick: bool,
    /// Every frame size with every number of flows: about an hour
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// The gateway and the kernel alone, trials of a quarter of a second: does the harness work?
    #[arg(long, conflicts_with_all = ["quick", "full"])]
    smoke: bool,
    /// Chooses ports, and the order of the flows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Numbers of flows, 1 to 262144, comma-separated
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=262_144))]
    flows: Vec<u32>,
    /// Frame sizes with check sequence, 64 to 1518, or `imix`, comma-separated
    #[arg(long = "size", value_delimiter = ',')]
    sizes: Vec<Size>,
    /// Nodes of each cluster
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_NODES)))]
    nodes: u32,
    /// Pods of each cluster; default: one a flow up to a thousand, then a sixth of the flows
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pods: Option<u32>,
    /// Systems, comma-separated; default: all
    #[arg(long, value_delimiter = ',', value_enum)]
    peers: Vec<Peer>,
    /// Journeys, comma-separated; default: all
    #[arg(long, value_delimiter = ',', value_enum)]
    journeys: Vec<Journey>,
    /// Interleaved rounds
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each trial
    #[arg(long)]
    seconds: Option<f64>,
    /// Figures of the in-memory benchmarks to include: [{"name": "…", "ns": 0.0, "cycles": 0.0}, …]
    #[arg(long, value_name = "FILE")]
    pub(crate) in_memory: Option<PathBuf>,
    /// Directory of the report; default: perf/report
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// A run, decided.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// Of a search: the interval left, as a share of its upper end; and trials a rate may take.
    pub(crate) resolution: f64,
    pub(crate) tries: usize,
    pub(crate) nodes: u32,
    pub(crate) reload: bool,
    /// Search NDR and PDR, and measure latency, of every system and not of the gateway and the kernel alone.
    search_all: bool,
}

impl Options {
    pub(crate) fn plan(&self) -> Plan {
        let (rounds, seconds, resolution, tries) = match () {
            () if self.smoke => (1, 0.25, 0.2, 1),
            () if self.quick => (3, 0.5, 0.05, 2),
            () if self.full => (5, 1.0, 0.02, 3),
            () => (3, 0.7, 0.04, 2),
        };
        Plan {
            workloads: self.workloads(),
            peers: self.systems(),
            rounds: self.rounds.unwrap_or(rounds).max(1),
            seconds: self.seconds.unwrap_or(seconds).clamp(0.1, 60.0),
            resolution,
            tries,
            nodes: self.nodes,
            reload: !self.smoke,
            search_all: !self.smoke && !self.quick,
        }
    }

    fn systems(&self) -> Vec<Peer> {
        let wanted = match (self.peers.is_empty(), self.smoke) {
            (false, _) => self.peers.clone(),
            (true, true) => vec![Peer::Selvedge, Peer::Kernel],
            (true, false) => Peer::ALL.to_vec(),
        };
        Peer::ALL.into_iter().filter(|p| wanted.contains(p)).collect()
    }

    fn workloads(&self) -> Vec<Workload> {
        let small = self.quick || self.smoke;
        let sizes = match (self.sizes.is_empty(), small) {
            (false, _) => self.sizes.clone(),
            (true, true) => vec![Size::Fixed(64)],
            (true, false) => vec![Size::Fixed(64), Size::Imix, Size::Fixed(1400)],
        };
        let flows = match (self.flows.is_empty(), small) {
            (false, _) => self.flows.clone(),
            (true, true) => vec![1000],
            (true, false) => vec![1000, 1, 65_536],
        };
        let journeys = match self.journeys.is_empty() {
            false => self.journeys.clone(),
            true => vec![Journey::Encap, Journey::Decap, Journey::Transit],
        };
        let mut all = Vec::new();
        for journey in journeys {
            for (s, size) in sizes.iter().enumerate() {
                for (f, flows) in flows.iter().enumerate() {
                    // the default: other sizes at the first flow count, other counts at the first size
                    if self.full || s == 0 || f == 0 {
                        all.push(self.workload(journey, size, *flows));
                    }
                }
            }
        }
        all
    }

    fn workload(&self, journey: Journey, size: &Size, flows: u32) -> Workload {
        let most = self.nodes.saturating_mul(crate::bed::MOST_PODS_A_NODE);
        let pods = self.pods.unwrap_or_else(|| Workload::usual_pods(flows, self.nodes)).min(flows).min(most);
        Workload { journey, size: size.clone(), flows, pods, nodes: self.nodes, seed: self.seed }
    }
}

impl Plan {
    /// The first workload of each journey: what is searched and whose latency is measured.
    pub(crate) fn headline(&self) -> Vec<&Workload> {
        let mut first: Vec<&Workload> = Vec::new();
        for workload in &self.workloads {
            if !first.iter().any(|w| w.journey == workload.journey) {
                first.push(workload);
            }
        }
        first
    }

    /// True when a system's NDR is to be searched.
    pub(crate) fn searched(&self, peer: Peer, workload: &Workload) -> bool {
        let usual = [Peer::Selvedge, Peer::Kernel].contains(&peer);
        peer.does(workload.journey) && (usual || self.search_all)
    }

    /// What this machine or this plan leaves out, and why.
    pub(crate) fn omitted(&self) -> Vec<String> {
        let mut lines = vec![
            "scaling from one worker to two: the generator needs a core of its own, and where it shares one with a \
             worker, what is measured is the generator; perf/SCALING.md derives it from parts"
                .to_string(),
            "FD.io VPP: Debian has no package of it".to_string(),
        ];
        if !self.search_all {
            lines.push(
                "NDR, PDR and latency of systems other than the gateway and the kernel: a default run has them".into(),
            );
        }
        lines
    }
}
