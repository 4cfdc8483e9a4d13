//! What `/metrics` says.

use core::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::families::Families;
use super::health::Health;
use super::{quantiles, sources};
use crate::control::engine::Status;
use crate::path::Journey;
use crate::port::{RingStats, Steering};
use crate::worker::stats::{Board, Stats};

/// How reloads went.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reloads {
    /// Config files put in force.
    pub applied: u64,
    /// Config files refused; the state before stayed in force.
    pub refused: u64,
    /// Whether the last one was put in force.
    pub last_refused: bool,
}

/// What changes outside workers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Slow {
    /// The gateway forwards.
    pub ready: bool,
    /// The control plane's state.
    pub status: Status,
    /// When the control plane looked after its workers last.
    pub tended: Option<Instant>,
    /// Reloads.
    pub reloads: Reloads,
}

/// Everything there is to tell about a running gateway. Readers share it with the thread that runs the gateway;
/// workers know nothing of it.
pub struct Observatory {
    ports: Vec<String>,
    boards: Vec<Arc<Board>>,
    programs: Mutex<Vec<Steering>>,
    slow: Mutex<Slow>,
    asked: mpsc::Sender<Question>,
    questions: Mutex<Option<mpsc::Receiver<Question>>>,
}

/// Something that only the control plane can answer: where packets to an address go, and why.
#[derive(Debug)]
pub struct Question {
    /// The address.
    pub address: IpAddr,
    /// Where the answer goes.
    pub answer: oneshot::Sender<String>,
}

/// Questions that may wait.
const QUESTIONS: usize = 16;

impl Observatory {
    /// Ports by name, in order; the workers' boards; each port's XDP program.
    pub fn new(ports: Vec<String>, boards: Vec<Arc<Board>>, programs: Vec<Steering>) -> Self {
        let (asked, questions) = mpsc::channel(QUESTIONS);
        let (slow, questions) = (Mutex::default(), Mutex::new(Some(questions)));
        Self { ports, boards, programs: Mutex::new(programs), slow, asked, questions }
    }

    /// Where questions arrive, for the control plane; `None` if somebody has it already.
    pub fn questions(&self) -> Option<mpsc::Receiver<Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Where packets to an address go, and why; `None` if nobody answers any more.
    pub(super) async fn explain(&self, address: IpAddr) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(Question { address, answer }).await.ok()?;
        answered.await.ok()
    }

    /// How sources are, in lines.
    pub(super) fn sources(&self) -> String {
        sources::describe(&self.slow.lock().unwrap_or_else(PoisonError::into_inner).status.sources)
    }

    /// Each port's XDP program, for whoever steers. Dropping them detaches them.
    pub fn programs(&self) -> MutexGuard<'_, Vec<Steering>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is told.
    pub fn update(&self, change: impl FnOnce(&mut Slow)) {
        change(&mut self.slow.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How the gateway is.
    pub fn health(&self) -> Health {
        Health::of(&self.slow.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }

    /// The whole exposition in the Prometheus text format.
    ///
    /// # Errors
    /// What the encoder finds wrong.
    pub fn exposition(&self) -> prometheus::Result<String> {
        let mut f = Families::default();
        let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner).clone();
        gateway(&mut f, &slow);
        self.steering(&mut f);
        for (id, board) in self.boards.iter().enumerate() {
            worker(&mut f, &id.to_string(), &self.ports, &board.read());
        }
        f.encode()
    }

    fn steering(&self, f: &mut Families) {
        let programs = self.programs();
        for (port, program) in self.ports.iter().zip(programs.iter()) {
            let Ok(counters) = program.counters() else { continue };
            for (reason, count) in counters.iter() {
                let help =
                    "Packets the XDP program saw, by verdict: redirected to a worker, or passed to the kernel and why.";
                f.counter("selvedge_xdp_packets_total", help, &[("port", port), ("verdict", reason.name())], count);
            }
        }
    }
}

fn gateway(f: &mut Families, slow: &Slow) {
    let version = env!("CARGO_PKG_VERSION");
    f.gauge("selvedge_build_info", "Always 1; the label is the version.", &[("version", version)], 1.0);
    f.gauge("selvedge_ready", "1 while the gateway forwards.", &[], f64::from(u8::from(slow.ready)));
    f.gauge("selvedge_routes", "Routes in force.", &[], slow.status.routes as f64);
    let help = "Next hops of peers and native routes, by whether packets can be sent to them.";
    f.gauge("selvedge_next_hops", help, &[("state", "ready")], slow.status.hops_ready as f64);
    f.gauge("selvedge_next_hops", help, &[("state", "unready")], slow.status.hops_unready.len() as f64);
    let help = "1 for each next hop that cannot be used, with the reason.";
    for (hop, why) in &slow.status.hops_unready {
        f.gauge("selvedge_next_hop_unready", help, &[("hop", hop), ("reason", why)], 1.0);
    }
    f.gauge("selvedge_tables_epoch", "Version of the tables published last.", &[], f64::from(slow.status.epoch));
    let help = "Times the kernel's announcements overran and everything was listed again.";
    f.counter("selvedge_netlink_overruns_total", help, &[], slow.status.overruns);
    paths(f, &slow.status);
    sources::measure(f, &slow.status.sources);
    let help = "Config files read after the start, by what became of them.";
    f.counter("selvedge_config_reloads_total", help, &[("result", "applied")], slow.reloads.applied);
    f.counter("selvedge_config_reloads_total", help, &[("result", "refused")], slow.reloads.refused);
    let help = "1 if the config file read last is in force, 0 if it was refused.";
    f.gauge("selvedge_config_last_reload_success", help, &[], f64::from(u8::from(!slow.reloads.last_refused)));
}

/// Path MTU discovery between VTEPs.
fn paths(f: &mut Families, status: &Status) {
    for path in &status.narrow {
        let (vtep, local) = (path.vtep.to_string(), path.local.to_string());
        let labels = [("vtep", vtep.as_str()), ("local", local.as_str())];
        let help = "Largest outer packet to a peer where routers on the way take less than the kernel knows.";
        f.gauge("selvedge_path_mtu_bytes", help, &labels, path.mtu.into());
        let help = "How much longer that counts.";
        f.gauge("selvedge_path_mtu_expires_seconds", help, &labels, path.left.as_secs_f64());
    }
    let name = "selvedge_too_big_messages_total";
    let help = "ICMP messages about packets too big for a link, by what became of them: accepted, or ignored and why.";
    f.counter(name, help, &[("result", "accepted")], status.too_big.accepted);
    for (why, count) in status.too_big.ignored() {
        f.counter(name, help, &[("result", why.label())], count);
    }
}

fn worker(f: &mut Families, id: &str, ports: &[String], stats: &Stats) {
    for (port, s) in ports.iter().zip(&stats.ports) {
        let labels = [("worker", id), ("port", port.as_str())];
        f.counter("selvedge_rx_packets_total", "Frames a worker received.", &labels, s.rx);
        f.counter("selvedge_tx_packets_total", "Frames a worker handed over for sending.", &labels, s.tx);
        for (event, count) in socket_events(&s.rings) {
            let help = "What the kernel counts at an AF_XDP socket (XDP_STATISTICS).";
            let labels = [("worker", id), ("port", port.as_str()), ("event", event)];
            f.counter("selvedge_xsk_events_total", help, &labels, count);
        }
        let help = "Chunks of packet memory, by place: free, held by a port for receiving or for sending; and all.";
        f.gauge("selvedge_frames", help, &[("worker", id), ("port", port), ("place", "rx")], f64::from(s.held.rx));
        f.gauge("selvedge_frames", help, &[("worker", id), ("port", port), ("place", "tx")], f64::from(s.held.tx));
    }
    let help = "Chunks of packet memory, by place: free, held by a port for receiving or for sending; and all.";
    f.gauge("selvedge_frames", help, &[("worker", id), ("port", ""), ("place", "free")], stats.free as f64);
    f.gauge("selvedge_frames", help, &[("worker", id), ("port", ""), ("place", "total")], stats.total as f64);
    for journey in Journey::ALL {
        let labels = [("worker", id), ("journey", journey.label())];
        let help = "Packets forwarded, by journey.";
        f.counter("selvedge_forwarded_packets_total", help, &labels, stats.journeys[journey as usize]);
    }
    let by_worker = [("worker", id)];
    f.counter("selvedge_replied_packets_total", "Packets answered by the gateway itself.", &by_worker, stats.replied);
    for (reason, count) in stats.drops.iter() {
        let labels = [("worker", id), ("reason", reason.label())];
        f.counter("selvedge_dropped_packets_total", "Packets dropped, by reason.", &labels, count);
    }
    let help = "Packets whose unfinished transport checksum was finished.";
    f.counter("selvedge_partial_checksums_total", help, &by_worker, stats.partial_checksums);
    let help = "Packets whose unfinished transport checksum was left to the device of their port.";
    f.counter("selvedge_left_checksums_total", help, &by_worker, stats.left_checksums);
    let help = "TCP SYN segments whose maximum segment size was lowered to what fits a tunnel.";
    f.counter("selvedge_mss_clamped_total", help, &by_worker, stats.mss_clamped);
    let help = "Frames beyond the first of packets that were fragmented, by whether the TX ring had room for them.";
    let name = "selvedge_fragments_total";
    f.counter(name, help, &[("worker", id), ("result", "sent")], stats.pieces);
    f.counter(name, help, &[("worker", id), ("result", "lost")], stats.pieces_lost);
    f.counter("selvedge_bursts_total", "Turns of a worker in which something was received.", &by_worker, stats.bursts);
    f.gauge("selvedge_worker_epoch", "Version of the tables a worker uses.", &by_worker, stats.epoch as f64);
    latency(f, id, stats);
}

/// The kernel's counters by the names that `struct xdp_statistics` gives them.
fn socket_events(r: &RingStats) -> [(&'static str, u64); 6] {
    [
        ("rx_dropped", r.rx_dropped),
        ("rx_ring_full", r.rx_ring_full),
        ("rx_fill_ring_empty", r.fill_ring_empty),
        ("rx_invalid_descs", r.rx_invalid),
        ("tx_invalid_descs", r.tx_invalid),
        ("tx_ring_empty", r.tx_ring_empty),
    ]
}

fn latency(f: &mut Families, id: &str, stats: &Stats) {
    let (buckets, count) = quantiles::cumulative(&stats.latency);
    let name = "selvedge_latency_seconds";
    let help = "Time from the burst's arrival at a worker to its hand-over for sending, by packet.";
    f.histogram((name, help), &[("worker", id)], &buckets, (stats.latency.sum() as f64 / 1e9, count));
    for ((_, quantile), nanos) in quantiles::QUANTILES.iter().zip(quantiles::of(&stats.latency)) {
        let help = "Quantiles of selvedge_latency_seconds since the start.";
        let labels = [("worker", id), ("quantile", *quantile)];
        f.gauge("selvedge_latency_quantile_seconds", help, &labels, nanos as f64 / 1e9);
    }
}
