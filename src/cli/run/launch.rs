//! Packet memory, sockets, XDP programs and threads.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::RunError;

use crate::config::{Attach, Config, MemoryConfig, Plan, Poll, PortPlan, Role, Switch};
use crate::port::host::become_realtime;
use crate::port::{
    AttachMode, Backing, Finishes, Options, Pool, Port, QueueSpec, RingSizes, Roles, SteerCapacity, Steering, Umem,
    Waiter, Waker, XdpPort, ZeroCopy,
};
use crate::tables::handover::Subscriber;
use crate::tables::hash::Keyed;
use crate::worker::duty::Duty;
use crate::worker::idle::Idle;
use crate::worker::stats::Board;
use crate::worker::{Settings, Side, Worker};

/// A worker's sockets and memory, before it has a thread.
pub(super) struct Bench {
    pool: Pool,
    sockets: Vec<XdpPort>,
}

/// Opens the sockets of every worker: worker *i* on queue *i* of every port.
pub(super) fn open(config: &Config, plan: &Plan) -> Result<Vec<Bench>, RunError> {
    let options = Options {
        // the plan knows what drivers say; auto means zero-copy where they all can
        zero_copy: match (config.xdp.zero_copy, plan.zero_copy) {
            (Switch::On, _) => ZeroCopy::On,
            (Switch::Auto, true) => ZeroCopy::Auto,
            _ => ZeroCopy::Off,
        },
        need_wakeup: true,
        busy_poll_us: config.xdp.busy_poll_us,
        multi_buffer: plan.multi_buffer,
        burst: config.workers.burst,
    };
    let memory = &config.memory;
    let rings = RingSizes {
        rx: memory.rx_ring,
        tx: memory.tx_ring,
        fill: memory.fill_ring,
        completion: memory.completion_ring,
    };
    (0..plan.cores.len() as u32)
        .map(|queue| {
            let mut pool =
                Pool::new(umem(memory, plan.hugepages)?).map_err(RunError::system("numbering packet memory"))?;
            let specs: Vec<_> =
                plan.ports.iter().map(|p| QueueSpec { ifindex: p.device, queue, finishing: p.finishing }).collect();
            let sockets = XdpPort::open_all(&mut pool, &specs, &rings, options)?;
            Ok(Bench { pool, sockets })
        })
        .collect()
}

fn umem(memory: &MemoryConfig, hugepages: bool) -> Result<Umem, RunError> {
    let failed = RunError::system("allocating packet memory");
    let (frames, chunk) = (memory.frames, memory.chunk_size);
    match memory.hugepages {
        Switch::On => Umem::new(frames, chunk, Backing::Hugepages).map_err(failed),
        Switch::Auto if hugepages => {
            let (umem, fell_back) = Umem::preferring_hugepages(frames, chunk).map_err(failed)?;
            if let Some(error) = fell_back {
                tracing::warn!(%error, "no hugepages for packet memory; ordinary pages are used");
            }
            Ok(umem)
        }
        Switch::Auto => {
            tracing::info!("packet memory is on ordinary pages: no hugepages are free (vm.nr_hugepages)");
            Umem::new(frames, chunk, Backing::Pages).map_err(failed)
        }
        Switch::Off => Umem::new(frames, chunk, Backing::Pages).map_err(failed),
    }
}

/// Attaches the XDP program to every port. It steers nothing before it is told what.
pub(super) fn attach(plan: &Plan, benches: &[Bench]) -> Result<Vec<Steering>, RunError> {
    let program = |(at, port): (usize, &PortPlan)| {
        let sockets: Vec<(u32, BorrowedFd<'_>)> =
            benches.iter().enumerate().map(|(queue, b)| (queue as u32, b.sockets[at].socket())).collect();
        let mode = match port.attach {
            Attach::Native if plan.multi_buffer => AttachMode::NativeMultiBuffer,
            Attach::Native => AttachMode::Native,
            Attach::Generic => AttachMode::Generic,
        };
        let (underlay, access) = (port.role == Role::Underlay, port.role == Role::Access);
        let roles = Roles { underlay, access, proxy: port.proxy, tags: port.tags };
        let program = Steering::attach(port.device, port.mac, roles, mode, SteerCapacity::default(), &sockets)?;
        let zero_copy = benches.iter().all(|b| b.sockets[at].zero_copy());
        let tx_checksum = benches.first().map_or(Finishes::None, |b| b.sockets[at].finishes());
        let tx_budget = benches.first().map_or(0, |b| b.sockets[at].tx_budget());
        tracing::info!(interface = port.name, tags = %port.tags, role = ?port.role, ?mode, zero_copy, ?tx_checksum, tx_budget, queues = benches.len(), "port attached");
        Ok(program)
    };
    plan.ports.iter().enumerate().map(program).collect()
}

/// Running workers.
#[derive(Debug)]
pub(super) struct Crew {
    threads: Vec<JoinHandle<()>>,
    wakers: Vec<Waker>,
    stop: Arc<AtomicBool>,
    pub(super) boards: Vec<Arc<Board>>,
}

/// How long the last packets get from the driver to the workers once nothing is steered any more.
const SETTLE: Duration = Duration::from_millis(20);

impl Crew {
    /// Starts a thread on its core for each bench.
    pub(super) fn start(
        config: &Config,
        plan: &Plan,
        benches: Vec<Bench>,
        subscribers: Vec<Subscriber>,
    ) -> Result<Self, RunError> {
        let settings = Settings {
            burst: usize::from(config.workers.burst),
            cache_entries: config.workers.cache_entries as usize,
            hasher: Keyed::default(),
        };
        let mut crew = Self { threads: vec![], wakers: vec![], stop: Arc::new(AtomicBool::new(false)), boards: vec![] };
        for (((queue, bench), subscriber), core) in benches.into_iter().enumerate().zip(subscribers).zip(&plan.cores) {
            let sides = plan.ports.iter().map(|p| match p.role {
                Role::Underlay => Side::Underlay,
                Role::Access => Side::Access,
            });
            let ports = bench.sockets.into_iter().zip(sides).collect();
            let mut worker = Worker::new(ports, bench.pool, subscriber, &settings);
            plan.ports.iter().for_each(|port| worker.set_tags(port.id, port.tags));
            let mut waiter = Waiter::new().map_err(RunError::system("making an eventfd"))?;
            crew.wakers.push(waiter.waker());
            crew.boards.push(worker.board());
            let idle = match config.workers.poll {
                Poll::Busy => Idle::busy(),
                Poll::Adaptive => Idle::adaptive(),
            };
            let realtime = match config.workers.realtime {
                Switch::On => true,
                Switch::Auto => config.workers.poll == Poll::Adaptive,
                Switch::Off => false,
            };
            let (stop, core) = (crew.stop.clone(), *core);
            let body = move || {
                if !core_affinity::set_for_current(core_affinity::CoreId { id: usize::from(core) }) {
                    tracing::warn!(core, "worker {queue} cannot be pinned to its core");
                }
                match realtime.then(become_realtime) {
                    Some(Ok(())) => worker.set_duty(Duty::real_time()),
                    Some(Err(error)) => tracing::warn!(
                        %error, core,
                        "worker {queue} has no real-time priority: others on its core delay it (CAP_SYS_NICE, or workers.realtime = \"off\")"
                    ),
                    None => {}
                }
                worker.run(idle, &mut waiter, &stop);
            };
            let thread = std::thread::Builder::new().name(format!("selvedge-w{queue}")).spawn(body);
            crew.threads.push(thread.map_err(RunError::system("starting a worker thread"))?);
        }
        Ok(crew)
    }

    /// Something that wakes all sleeping workers.
    pub(super) fn alarm(&self) -> Box<dyn Fn()> {
        let wakers = self.wakers.clone();
        Box::new(move || wakers.iter().for_each(Waker::wake))
    }

    /// The first worker that ended by itself, if one did.
    pub(super) fn casualty(&self) -> Option<usize> {
        self.threads.iter().position(JoinHandle::is_finished)
    }

    /// Lets workers send what they have, then ends them. Nothing may be steered to them any more.
    pub(super) fn dismiss(self) {
        std::thread::sleep(SETTLE);
        self.stop.store(true, Ordering::Relaxed);
        (self.alarm())();
        for (queue, thread) in self.threads.into_iter().enumerate() {
            if thread.join().is_err() {
                tracing::error!("worker {queue} had panicked: this is a bug in the gateway");
            }
        }
    }
}
