//! A gateway from start to stop, and the one loop that runs its control plane.

use core::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::super::ask;
use super::RunError;
use super::heralds::Heralds;
use super::launch::{self, Crew};
use super::reload::Coming;
use super::sources::{Shelf, Sources, recall};
use super::steer::Steered;
use super::watch::FileWatch;
use crate::config::{Config, Plan, PortConfig, PortPlan, Role};
use crate::control::engine::{Engine, EnginePort};
use crate::control::keeper::{Changes, Keeper};
use crate::control::moves::Moves;
use crate::control::pmtu::Ears;
use crate::port::PortError;
use crate::port::host::release_memory;
use crate::tables::TablesWriter;
use crate::tables::handover;
use crate::telemetry::http;
use crate::telemetry::metrics::Observatory;
use crate::telemetry::service::Service;
use crate::wire::Prefix;

/// How long a start, and a reload, waits for new neighbours to answer before it goes on all the same.
pub(super) const RESOLVE_FOR: Duration = Duration::from_secs(1);
/// How often workers are looked after and what is told is brought up to date.
const TEND_EVERY: Duration = Duration::from_millis(250);

/// A running gateway.
pub(super) struct Gateway {
    /// Without its routes: those are the engine's.
    pub(super) config: Config,
    pub(super) engine: Engine,
    pub(super) observatory: Arc<Observatory>,
    /// The configuration that waits for its next hops.
    pub(super) coming: Option<Coming>,
    pub(super) sources: Sources,
    pub(super) heralds: Heralds,
    shelf: Shelf,
    /// Is told how it goes.
    pub(super) service: Service,
    /// Hears what routers say of packets that were too big.
    ears: Ears,
    crew: Crew,
}

/// What the gateway is told from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, RunError> {
        let on = |kind| signal(kind).map_err(RunError::system("listening for signals"));
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Waits until the gateway is to end. Cancel-safe.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts a gateway, runs it until SIGTERM or SIGINT, and takes everything down again. `text` is what `config` was made
/// of: should the file have become another since, that is noticed.
pub(super) async fn run(path: &Path, config: Config, text: Vec<u8>, plan: &Plan) -> Result<(), RunError> {
    // first of all, so that no signal finds the default action
    let mut signals = Signals::new()?;
    let mut file = FileWatch::start(path, &text);
    drop(text);
    let mut gateway = tokio::select! {
        started = Gateway::start(config, plan) => started?,
        // the programs are detached as what was started is dropped; threads end with the process
        () = signals.end() => return Ok(()),
    };
    let outcome = gateway.serve(path, &mut signals, &mut file).await;
    let changed = gateway.engine.learnt().take_changed();
    gateway.shelf.close(changed).await;
    // nodes stop sending first; what they send until then is still forwarded
    core::mem::take(&mut gateway.heralds).retire().await;
    gateway.stop();
    outcome
}

impl Gateway {
    /// Listens first, resolves next hops, then takes packets: in this order nothing that arrives finds the gateway
    /// without an answer.
    async fn start(mut config: Config, plan: &Plan) -> Result<Self, RunError> {
        let ifindexes: Vec<u32> = plan.ports.iter().map(|p| p.ifindex).collect();
        let keeper = Keeper::start(&ifindexes).await?;
        let ears = Ears::open().map_err(RunError::system("listening for ICMP about packets too big"))?;
        let mut writer = TablesWriter::new(Vec::new(), Vec::new());
        let (publisher, subscribers) = handover::channel(plan.cores.len(), writer.publish());
        let benches = launch::open(&config, plan)?;
        let listener = match config.metrics {
            Some(address) => Some(http::listen(address).await.map_err(RunError::system("metrics"))?),
            None => None,
        };
        // threads start on empty tables: nothing is steered to them yet
        let programs = launch::attach(plan, &benches)?;
        let crew = Crew::start(&config, plan, benches, subscribers)?;
        // the file's MTU, not the plan's: the interface's own may grow later
        let ports = plan.ports.iter().zip(&config.ports);
        let port = |(plan, port): (&PortPlan, &PortConfig)| EnginePort {
            ifindex: plan.ifindex,
            mtu: port.mtu,
            underlay: port.role == Role::Underlay,
            proxy: port.proxy,
        };
        let ports = ports.map(port).collect();
        let mut engine = Engine::new(keeper, writer, publisher, ports, crew.alarm());
        let mut sources = Sources::new();
        let learners = sources.learners(&config);
        engine.set_imports(&config.imports);
        engine.load(&config.overlays, &mem::take(&mut config.routes), &learners);
        for learner in &learners {
            engine.restore(learner.id, recall(&config, learner), Moment::now());
        }
        resolve(&mut engine).await;

        let observatory = Arc::new(Observatory::new(
            plan.ports.iter().map(|p| p.name.clone()).collect(),
            crew.boards.clone(),
            programs,
        ));
        if let Some(listener) = listener {
            tokio::spawn(http::serve(listener, observatory.clone()));
        }
        let service = Service::of_environment();
        let shelf = Shelf::new(config.state.clone());
        let heralds = Heralds::default();
        let mut gateway =
            Self { config, engine, observatory, coming: None, sources, heralds, shelf, service, ears, crew };
        let steered = Steered::of(&gateway.config, gateway.engine.routes());
        // workers know the way before anything is steered to them
        gateway.await_adoption();
        // the host was looked at a while ago: the plan's MAC addresses need no longer be right
        gateway.introduce()?;
        gateway.with_programs(|role, program| steered.add(role, program))?;
        gateway.observatory.update(|slow| slow.ready = true);
        gateway.sources.follow(&gateway.config, &learners);
        gateway.heralds.follow(&gateway.config);
        gateway.tell();
        gateway.service.ready(&gateway.observatory.health().to_string());
        drop(steered);
        release_memory(); // of the file and what was made of it
        let routes = gateway.engine.routes().count();
        tracing::info!(workers = plan.cores.len(), cores = ?plan.cores, routes, "forwarding");
        Ok(gateway)
    }

    /// The control plane's loop.
    async fn serve(&mut self, path: &Path, signals: &mut Signals, file: &mut FileWatch) -> Result<(), RunError> {
        let mut questions = self.observatory.questions().ok_or(RunError::Twice)?;
        let mut tend = interval(TEND_EVERY);
        tend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.go_on();
            // one configuration at a time: what is heard of another meanwhile is looked into afterwards
            let (idle, deadline) = (self.coming.is_none(), self.deadline());
            let due = self.engine.due();
            let (judging, due) = (due.is_some(), due.map_or_else(Instant::now, Instant::from_std));
            tokio::select! {
                changes = self.engine.changed() => self.follow(&changes),
                news = self.sources.hear() => {
                    let moves = self.engine.learn(news.into_iter(), Moment::now());
                    self.steer(&moves);
                }
                Some(question) = questions.recv() => {
                    // who asked may have gone
                    let _ = question.answer.send(self.engine.explain(question.address));
                }
                () = sleep_until(due), if judging => {
                    let moves = self.engine.tend(Moment::now());
                    self.steer(&moves);
                }
                ready = self.ears.ready() => {
                    ready.map_err(RunError::system("listening for ICMP about packets too big"))?;
                    self.engine.hear(&mut self.ears, Moment::now());
                }
                _ = signals.hangup.recv(), if idle => {
                    file.renewed();
                    self.reload(path);
                }
                () = file.changed(), if idle => self.reload(path),
                () = sleep_until(deadline), if !idle => {}
                _ = tend.tick() => {
                    self.engine.collect();
                    self.engine.expire(Moment::now());
                    self.tell();
                    self.service.alive(&self.observatory.health().to_string());
                    if let Some(worker) = self.crew.casualty() {
                        return Err(RunError::WorkerDied(worker));
                    }
                    if let Some(source) = self.sources.casualty().or_else(|| self.heralds.casualty()) {
                        return Err(RunError::SourceDied(source.to_owned()));
                    }
                    let complete = self.engine.learnt().is_complete();
                    self.heralds.attune(self.engine.epoch(), complete, || self.engine.routes());
                    self.heralds.tell();
                    self.heed();
                    if self.shelf.is_due() {
                        let changed = self.engine.learnt().take_changed();
                        self.shelf.keep(changed);
                    }
                }
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
            }
        }
    }

    fn follow(&mut self, changes: &Changes) {
        self.engine.absorb(changes);
        if (!changes.links.is_empty() || changes.addresses)
            && let Err(error) = self.introduce()
        {
            tracing::error!(%error, "the XDP program does not know the ports' new addresses");
        }
    }

    /// Lets go what sources withdrew and somebody said is meant, by a mark in the state directory.
    fn heed(&mut self) {
        let names: Vec<String> = self.config.sources.iter().map(|s| s.name.clone()).collect();
        for name in names {
            // a mark that cannot be removed, or none, accepts nothing
            if std::fs::remove_file(ask::mark(&self.config.state, &name)).is_err() {
                continue;
            }
            if let Some((held, moves)) = self.engine.accept(&name) {
                tracing::warn!(source = name, held, "what it withdrew is accepted");
                self.steer(&moves);
                self.tell();
            }
        }
    }

    /// Steers what was learnt: new prefixes once every worker knows the way, and none any more that leads nowhere. What
    /// programs have no room for is served to other overlays only.
    fn steer(&mut self, moves: &Moves) {
        if moves.is_empty() {
            return;
        }
        if !moves.added.is_empty() {
            self.await_adoption();
        }
        let own: Vec<Prefix> = self.config.overlays.iter().flat_map(|o| o.addresses.iter()).map(Prefix::host).collect();
        let gone: Vec<Prefix> = moves.gone.iter().filter(|p| !own.contains(p)).copied().collect();
        let outcome = self.with_programs(|role, program| match role {
            Role::Access => program.add_prefixes(&moves.added).and_then(|()| program.remove_prefixes(&gone)),
            Role::Underlay => Ok(()),
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "access ports do not take packets to all that was learnt");
        }
    }

    /// Tells each port's program its port's MAC address, and which IP addresses are the host's own.
    fn introduce(&self) -> Result<(), PortError> {
        let own = self.engine.own_addresses();
        // the program of a tagged port is not on the interface that has the address, but on the device below
        let mut links = self.engine.port_links();
        self.with_programs(|_, program| {
            links.next().flatten().map_or(Ok(()), |l| program.set_mac(l.mac))?;
            program.set_own(&own)
        })
    }

    /// Brings what is told up to date.
    pub(super) fn tell(&self) {
        let status = self.engine.status();
        self.observatory.update(|slow| (slow.status, slow.tended) = (status, Some(Moment::now())));
    }

    /// Leaves interfaces as they were found, then lets workers send what they have.
    fn stop(self) {
        self.service.stopping();
        self.observatory.update(|slow| slow.ready = false);
        self.observatory.programs().clear();
        self.crew.dismiss();
        tracing::info!("stopped");
    }
}

/// Waits until every next hop has an answer, or for a second.
async fn resolve(engine: &mut Engine) {
    let deadline = Instant::now() + RESOLVE_FOR;
    while !engine.is_settled() {
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left, engine.changed()).await {
            Ok(changes) => engine.absorb(&changes),
            Err(_) => {
                tracing::warn!("some next hops have not answered yet; forwarding begins without them");
                return;
            }
        }
    }
}
