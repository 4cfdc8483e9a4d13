//! `selvedge demo --source etcd`: the gateway learns the whole map from flannel's keys in a real etcd, and makes nodes send
//! to it by keys of its own. No node is touched.

mod meter;
mod show;
mod stage;
mod story;

use std::thread;
use std::time::{Duration, Instant};

use super::gateway::Gateway;
use super::journeys::{self, Journey};
use super::live;
use super::{DemoError, DemoOptions, Stop, human, judge, one_by_one, say, verdict};
use crate::lab::scrape::get;
use crate::lab::traffic::UdpLoad;
use crate::lab::{Lab, LabError, Topology, two_clusters_with};
use meter::Meter;
use show::{GUEST, Shown, show};
use stage::Stage;

/// How long the map may take to be everywhere after the gateway is ready.
const LEARNT: Duration = Duration::from_secs(10);
/// How long sources may take to be in step after etcd was away, and how often it is looked.
const IN_STEP: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(50);
/// Packets a second on each journey while the map is waited for.
const PROBE_RATE: u32 = 200;

/// Runs it from the first server to the verdict.
pub(super) fn perform(lab: &Lab, options: &DemoOptions, stop: &Stop) -> Result<(), DemoError> {
    let topology = two_clusters_with(lab, stage::shape())?;
    stop.check()?;
    let mut stage = Stage::build(&topology)?;
    introduce(&stage);
    let mut gateway = Gateway::launch(&topology, &stage.gateway_config(), options, stop)?;
    let mut journeys = journeys::all(&topology);
    await_map(&journeys, &mut gateway, stop)?;
    tell_own_keys(&stage)?;
    one_by_one(&mut journeys, &mut gateway, stop)?;
    let Shown { before, guest, mut failures } = show(&mut journeys, &mut stage, &mut gateway, options, stop)?;
    failures.extend(judge(&journeys, &gateway, &before));
    say(format_args!("{GUEST}, which came and went: {} of {} packets arrived\n", guest.received, guest.sent));
    if guest.corrupt > 0 {
        failures.push(format!("{GUEST}: {} packets came damaged", guest.corrupt));
    }
    failures.extend(await_step(&gateway, topology.clusters().len(), stop)?);
    failures.extend(tell_what_it_knows(&stage)?);
    failures.extend(gateway.stop().err());
    failures.extend(tell_what_is_left(&stage)?);
    verdict(gateway, failures)
}

fn introduce(stage: &Stage) {
    let place = stage.topology().gateway.name();
    let process = stage.etcd().map_or_else(|| "—".into(), |id| id.to_string());
    say(format_args!("etcd ready (process {process} in {place}): {}", stage.endpoint()));
    for cluster in stage.topology().clusters() {
        let prefix = stage.registry(cluster).prefix().to_owned();
        say(format_args!("  {}: flannel on etcd, {} below {prefix}", cluster.name, cluster.pods));
    }
    say(format_args!("blue1, blue2 and green2 have written their keys; no node is told of the gateway"));
}

/// Waits until packets arrive on every journey.
fn await_map(journeys: &[Journey], gateway: &mut Gateway, stop: &Stop) -> Result<(), DemoError> {
    let ready = Instant::now();
    let start = |j: &Journey| live::load(&j.from, &j.to, PROBE_RATE, LEARNT);
    let loads: Vec<UdpLoad> = journeys.iter().map(start).collect::<Result<_, _>>()?;
    let first = |load: &UdpLoad| {
        let (arrived, ended) = (|| load.counts().received, || stop.asked());
        Meter { arrived: &arrived, ended: &ended, patience: LEARNT }.first(ready)
    };
    let took: Vec<Option<Duration>> = loads.iter().map(first).collect();
    // each looks for what is on its way before it ends
    thread::scope(|scope| loads.into_iter().for_each(|load| _ = scope.spawn(|| drop(load))));
    stop.check()?;
    gateway.check_alive()?;
    if let Some((_, silent)) = took.iter().zip(journeys).find(|(took, _)| took.is_none()) {
        let after = format!("{} s after the gateway was ready", LEARNT.as_secs());
        return Err(gateway.blame(&format!("{}: no packet arrived {after}", silent.label)));
    }
    let took = took.into_iter().flatten().max().unwrap_or_default();
    say(format_args!("pods of both clusters and the native host reach each other {} after that", human(took)));
    Ok(())
}

/// Prefixes of an overlay that have keys, and are the gateway's: those of other networks.
fn own_keys(stage: &Stage) -> Result<[String; 2], LabError> {
    let [blue, green] = stage.topology().clusters().map(|cluster| {
        let all = stage.registry(cluster).subnets()?;
        let others = all.into_iter().filter(|subnet| !cluster.pods.overlaps(subnet));
        Ok(others.map(|subnet| subnet.to_string()).collect::<Vec<_>>().join(", "))
    });
    Ok([blue?, green?])
}

fn tell_own_keys(stage: &Stage) -> Result<(), LabError> {
    let [blue, green] = own_keys(stage)?;
    say(format_args!("for that the gateway wrote keys of its own; in blue: {blue}; in green: {green}"));
    Ok(())
}

/// Waits until all sources are in step with etcd again: each has pauses of its own between its attempts.
fn await_step(gateway: &Gateway, sources: usize, stop: &Stop) -> Result<Option<String>, DemoError> {
    let began = Instant::now();
    loop {
        stop.check()?;
        let in_step = gateway.scrape()?.sum("selvedge_source_in_step", &[]);
        if in_step == sources as f64 {
            return Ok(None);
        }
        if began.elapsed() > IN_STEP {
            return Ok(Some(format!("of the gateway's {sources} sources {in_step} are in step with etcd")));
        }
        thread::sleep(LOOK);
    }
}

/// Prints what the commands would tell of the sources, and of two pods: one that is there, and one whose node left.
fn tell_what_it_knows(stage: &Stage) -> Result<Vec<String>, LabError> {
    let t: &Topology = stage.topology();
    let ask = |path: &str| get(&t.gateway, t.metrics_address(), path);
    say(format_args!("$ selvedge show sources\n{}", ask("/sources")?.trim_end()));
    let [gone, there] = [0, 1].map(|node| t.green.nodes[node].pod.address);
    let mut failures = Vec::new();
    for (address, word) in [(there, "decides"), (gone, "no source has a prefix")] {
        let said = ask(&format!("/explain?{address}"))?;
        say(format_args!("$ selvedge explain {address}\n{}", said.trim_end()));
        if !said.contains(word) {
            failures.push(format!("the gateway does not say of {address}: {word}"));
        }
    }
    Ok(failures)
}

/// The gateway has ended: nodes must not be told of it any more.
fn tell_what_is_left(stage: &Stage) -> Result<Option<String>, LabError> {
    let left = own_keys(stage)?.concat();
    if left.is_empty() {
        say(format_args!("the gateway has ended, and taken its keys back"));
        return Ok(None);
    }
    Ok(Some(format!("the gateway ended and left keys in etcd: {left}")))
}
