//! A whole run: every system in its bed, every workload, all measures, in turn.

use std::collections::BTreeMap;
use std::path::PathBuf;

use selvedge::lab::Lab;

use crate::Result;
use crate::bed::Bed;
use crate::options::{Options, Plan};
use crate::peers::{self, Cores, Peer, Settings, System};
use crate::priority;
use crate::reload;
use crate::report::{
    CostResult, InMemory, LatencyResult, RateResult, Report, SearchResult, SystemNote, Void, bars, manifest, now,
};
use crate::search::{Limits, search};
use crate::stats::Spread;
use crate::syscalls;
use crate::trial::{Bench, Trial};
use crate::workload::Workload;

/// Namespaces of this command.
pub(crate) const TAG: &str = "perf";
/// Trials at one place before its books are given up.
const PATIENCE: usize = 3;
/// Share of packets a PDR may lose.
const PARTIAL: f64 = 0.005;

/// A system in its bed. The system goes first.
struct Stand {
    peer: Peer,
    system: Box<dyn System>,
    bed: Bed,
    _room: tempfile::TempDir,
}

/// Measures what the options ask for, and writes the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    let plan = options.plan();
    let started = now();
    priority::raise()?;
    Lab::sweep(TAG)?;
    let (stands, systems) = set_up(&plan);
    if !stands.iter().any(|s| s.peer == Peer::Selvedge) {
        let why = systems.iter().find_map(|s| s.missing.as_deref().filter(|_| s.peer == Peer::Selvedge));
        return Err(format!("the gateway does not run: {}", why.unwrap_or("it was not asked for")).into());
    }
    let mut rates = Vec::new();
    for (n, workload) in plan.workloads.iter().enumerate() {
        eprintln!("{}/{} {workload}", n + 1, plan.workloads.len());
        rates.extend(max_rates(&stands, workload, &plan)?);
    }
    let headline: Vec<&Workload> = plan.headline();
    let (mut searches, mut latencies, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for workload in &headline {
        for stand in stands.iter().filter(|s| plan.searched(s.peer, workload)) {
            let most = rates.iter().find(|r: &&RateResult| r.peer == stand.peer && r.workload == **workload);
            if let Some(most) = most.map(|r| r.pps.max) {
                eprintln!("NDR and PDR: {workload}, {}", stand.peer.name());
                searches.push(ndr_and_pdr(stand, workload, most, &plan)?);
            }
        }
        latencies.extend(all_latencies(&stands, workload, &searches, &plan)?);
        costs.extend(all_costs(&stands, workload, &plan)?);
    }
    let reload = match (plan.reload, searches.iter().find(|s| s.peer == Peer::Selvedge)) {
        (true, Some(found)) => Some(reload::measure(TAG, &found.workload, found.ndr_pps * 0.5)?),
        _ => None,
    };
    let in_memory = options.in_memory.as_deref().map(InMemory::read).transpose()?.unwrap_or_default();
    let mut report = Report {
        version: 1,
        manifest: manifest(started),
        rounds: plan.rounds,
        seconds: plan.seconds,
        resolution: plan.resolution,
        tries: plan.tries,
        systems,
        rates,
        searches,
        latencies,
        costs,
        reload,
        in_memory,
        bars: Vec::new(),
        omitted: plan.omitted(),
    };
    report.bars = bars(&report);
    let dir = options.out.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("perf/report"));
    report.write(&dir)?;
    println!("{}", dir.join("report.md").display());
    Ok(())
}

/// Builds a bed for each system and starts it there. What cannot run is noted, and the others go on.
fn set_up(plan: &Plan) -> (Vec<Stand>, Vec<SystemNote>) {
    let (mut stands, mut notes) = (Vec::new(), Vec::new());
    for peer in &plan.peers {
        let stand = stand(*peer, plan);
        let missing = stand.as_ref().err().map(ToString::to_string);
        if let Some(why) = &missing {
            eprintln!("{} does not run: {why}", peer.name());
        }
        notes.push(SystemNote { peer: *peer, name: peer.name(), what: peer.what(), missing });
        stands.extend(stand);
    }
    (stands, notes)
}

fn stand(peer: Peer, plan: &Plan) -> Result<Stand> {
    let room = tempfile::tempdir()?;
    let bed = Bed::new(TAG, plan.nodes, 1)?;
    let cores = if peer == Peer::SelvedgeOneCore { Cores::Shared } else { Cores::Two };
    let settings = Settings { cores, ..Settings::default() };
    let system = peers::start(peer, &bed, &settings, room.path())?;
    system.wake(false)?;
    Ok(Stand { peer, system, bed, _room: room })
}

/// A trial whose books balance and that nobody disturbed, or the last of a few; with those that went before.
fn sound_trial(bench: &mut Bench<'_>, rate: Option<u64>, seconds: f64) -> Result<(Trial, Vec<Void>)> {
    let mut void = Vec::new();
    loop {
        let trial = bench.trial(rate, seconds)?;
        if (trial.balanced() && trial.undisturbed()) || void.len() == PATIENCE {
            return Ok((trial, void));
        }
        let Trial { unaccounted, wrong, sent, others, .. } = trial;
        void.push(Void { unaccounted, wrong, sent, others });
    }
}

/// Every system under one workload, interleaved.
fn max_rates(stands: &[Stand], workload: &Workload, plan: &Plan) -> Result<Vec<RateResult>> {
    let doing = stands.iter().filter(|s| s.peer.does(workload.journey));
    let mut benches = Vec::new();
    for stand in doing {
        benches.push((stand, Bench::new(&stand.bed, stand.system.as_ref(), workload)?));
    }
    let mut trials: BTreeMap<Peer, Vec<(Trial, Vec<Void>)>> = BTreeMap::new();
    for _ in 0..plan.rounds {
        for (stand, bench) in &mut benches {
            let done = sound_trial(bench, None, plan.seconds)?;
            eprintln!("  {:<16} {:.3} Mpps{}", stand.peer.name(), done.0.rate / 1e6, mark(&done.0));
            trials.entry(stand.peer).or_default().push(done);
        }
    }
    Ok(trials.into_iter().filter_map(|(peer, done)| rate_result(peer, workload, done)).collect())
}

fn mark(trial: &Trial) -> &'static str {
    match (trial.balanced(), trial.undisturbed()) {
        (false, _) => " †",
        (true, false) => " ‡",
        (true, true) => "",
    }
}

fn rate_result(peer: Peer, workload: &Workload, done: Vec<(Trial, Vec<Void>)>) -> Option<RateResult> {
    let audited = done.iter().any(|(trial, _)| trial.balanced());
    let counted: Vec<&Trial> = done.iter().map(|(t, _)| t).filter(|t| t.balanced() || !audited).collect();
    let last = counted.last()?;
    Some(RateResult {
        peer,
        workload: workload.clone(),
        pps: Spread::of(&counted.iter().map(|t| t.rate).collect::<Vec<_>>())?,
        offered_pps: Spread::of(&counted.iter().map(|t| t.offered).collect::<Vec<_>>())?.median,
        drops: last.drops.clone(),
        audited,
        disturbed: counted.iter().filter(|t| !t.undisturbed()).count(),
        void: done.into_iter().flat_map(|(_, void)| void).collect(),
    })
}

fn ndr_and_pdr(stand: &Stand, workload: &Workload, most: f64, plan: &Plan) -> Result<SearchResult> {
    let mut bench = Bench::new(&stand.bed, stand.system.as_ref(), workload)?;
    let mut trials = Vec::new();
    let mut probe = |rate: f64| -> Result<Option<f64>> {
        let (trial, _) = sound_trial(&mut bench, Some(rate as u64), plan.seconds)?;
        let loss = match trial.on_time() {
            // an unaudited loss is a loss all the same
            true => (trial.balanced() || trial.unaccounted >= 0).then(|| trial.loss()),
            // the two cores cannot both offer and carry that rate
            false => Some(1.0),
        };
        trials.push((rate, loss));
        Ok(loss)
    };
    let limits = Limits { most: most * 1.1, resolution: plan.resolution, loss: PARTIAL, tries: plan.tries };
    let pdr_pps = search(&limits, &mut probe)?;
    let ndr_pps = search(&Limits { most: pdr_pps * (1.0 + plan.resolution), loss: 0.0, ..limits }, &mut probe)?;
    Ok(SearchResult { peer: stand.peer, workload: workload.clone(), ndr_pps, pdr_pps, trials })
}

/// At shares of each system's own NDR, and of the gateway and the kernel at half of the kernel's.
fn all_latencies(
    stands: &[Stand],
    workload: &Workload,
    searches: &[SearchResult],
    plan: &Plan,
) -> Result<Vec<LatencyResult>> {
    let ndr = |peer| searches.iter().find(|s| s.peer == peer && s.workload == *workload).map(|s| s.ndr_pps);
    let mut results = Vec::new();
    for share in [10, 50, 90, 0] {
        let mut loads: Vec<(&Stand, f64)> = Vec::new();
        for stand in stands {
            let rate = match share {
                0 if [Peer::Selvedge, Peer::Kernel].contains(&stand.peer) => ndr(Peer::Kernel).map(|r| r / 2.0),
                0 => None,
                _ => ndr(stand.peer).map(|r| r * f64::from(share) / 100.0),
            };
            loads.extend(rate.filter(|r| *r >= 1000.0).map(|r| (stand, r)));
        }
        results.extend(latencies(&loads, workload, share, plan)?);
    }
    Ok(results)
}

fn latencies(loads: &[(&Stand, f64)], workload: &Workload, load: u32, plan: &Plan) -> Result<Vec<LatencyResult>> {
    let mut benches = Vec::new();
    for (stand, rate) in loads {
        benches.push((stand.peer, *rate, Bench::new(&stand.bed, stand.system.as_ref(), workload)?, Vec::new()));
    }
    for _ in 0..plan.rounds {
        for (_, rate, bench, trials) in &mut benches {
            trials.push(sound_trial(bench, Some(*rate as u64), plan.seconds)?.0);
        }
    }
    let result = |(peer, pps, _, trials): (Peer, f64, Bench<'_>, Vec<Trial>)| {
        let spread =
            |of: &dyn Fn(&Trial) -> u64| Spread::of(&trials.iter().map(|t| of(t) as f64 / 1e3).collect::<Vec<_>>());
        Some(LatencyResult {
            peer,
            workload: workload.clone(),
            load,
            pps,
            loss: trials.iter().map(Trial::loss).fold(0.0, f64::max),
            p50_us: spread(&|t| t.latency.quantile(0.5))?,
            p99_us: spread(&|t| t.latency.quantile(0.99))?,
            p999_us: spread(&|t| t.latency.quantile(0.999))?,
            max_us: spread(&|t| t.latency_max_ns)?,
            late_p99_us: spread(&|t| t.late.quantile(0.99))?.median,
        })
    };
    Ok(benches.into_iter().filter_map(result).collect())
}

fn all_costs(stands: &[Stand], workload: &Workload, plan: &Plan) -> Result<Vec<CostResult>> {
    let mut results = Vec::new();
    for stand in stands.iter().filter(|s| s.system.process().is_some()) {
        let mut bench = Bench::new(&stand.bed, stand.system.as_ref(), workload)?;
        let counting = stand.system.process().and_then(syscalls::count);
        let trial = bench.trial(None, plan.seconds.max(1.0))?;
        let calls = counting.and_then(syscalls::Counting::finish);
        let packets = trial.received.max(1) as f64;
        if let Some(cost) = trial.cost {
            results.push(CostResult {
                peer: stand.peer,
                workload: workload.clone(),
                cpu_ns_a_packet: cost.cpu_ns as f64 / packets,
                syscalls_a_packet: calls.map(|n| n as f64 / packets),
            });
        }
    }
    Ok(results)
}
