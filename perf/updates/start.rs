//! What routes cost before the first packet: time to load, and memory.

use std::fmt::Write;
use std::time::Instant;

use allocation_counter::measure;
use selvedge::config::Config;
use selvedge::control::source::file::listing;
use selvedge::control::{Route, Target};
use selvedge::tables::{Action, PeerId};
use toml::de::DeTable;

use super::world::{Control, PODS, node, pod, rib, routes, writer};

/// Milliseconds of each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// TOML alone, by the library; part of `config`.
    pub(crate) toml: f64,
    /// From the text to a validated configuration.
    pub(crate) config: f64,
    /// From its routes to published tables: RIB, compiler, tables.
    pub(crate) tables: f64,
}

/// A file with as many pods' prefixes.
pub(crate) fn file(pods: usize) -> String {
    let mut text = "[[port]]\ninterface = \"eth0\"\nrole = \"underlay\"\n\n[[overlay]]\nname = \"blue\"\nvni = 1\n\
                    local = \"192.0.2.1\"\nmac = \"02:00:00:00:00:01\"\n"
        .to_owned();
    for n in 0..pods.div_ceil(PODS) {
        let Target::Vtep { vtep, mac, .. } = node(n) else { unreachable!("nodes are VTEPs") };
        let all = (n * PODS..pods.min((n + 1) * PODS)).map(|n| format!("\"{}/32\"", pod(n))).collect::<Vec<_>>();
        let prefixes = all.join(", ");
        let row =
            format!("\n[[peer]]\noverlay = \"blue\"\nvtep = \"{vtep}\"\nmac = \"{mac}\"\nprefixes = [{prefixes}]\n");
        text.write_str(&row).expect("strings grow");
    }
    text
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// One start with this file.
pub(crate) fn start(text: &str) -> Start {
    let began = Instant::now();
    let (table, errors) = DeTable::parse_recoverable(text);
    let toml = millis(began);
    assert!(errors.is_empty() && !table.get_ref().is_empty(), "the file is sound");
    drop(table);
    let began = Instant::now();
    let config = Config::from_bytes(text.as_bytes(), "gateway.toml").expect("the file is sound");
    let config_took = millis(began);
    let began = Instant::now();
    let mut control = Control::new();
    listing(&config.routes).for_each(|event| control.take(event));
    let tables = control.publish();
    let took = millis(began);
    assert_eq!((tables.epoch(), control.routes()), (1, config.routes.len()));
    Start { toml, config: config_took, tables: took }
}

/// Bytes that the routes of pods take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What workers read: one published version.
    pub(crate) published: i64,
    /// What only the writer of the tables has.
    pub(crate) writer: i64,
    /// All candidates of all sources.
    pub(crate) rib: i64,
    /// All of the control plane with its tables.
    pub(crate) all: i64,
    /// The routes of the configuration, until they are in force.
    pub(crate) configuration: i64,
    /// The most there ever is while a text becomes a configuration, the text itself included.
    pub(crate) loading: i64,
}

pub(crate) fn memory(pods: usize) -> Memory {
    let routes: Vec<Route> = routes(pods);
    let mut held = None;
    let both = measure(|| {
        let mut writer = writer();
        for n in 0..pods {
            writer.set_route(routes[pods.div_ceil(PODS) + n].prefix, Action::Encap(PeerId((n / PODS) as u32)));
        }
        held = Some((writer.publish(), writer));
    });
    let (tables, writer) = held.expect("just made");
    let writer = -measure(|| drop(writer)).bytes_current;
    drop(tables);
    let mut base = rib();
    let rib = measure(|| listing(&routes).for_each(|event| base.apply(event, drop))).bytes_current;
    drop(base);
    let mut control = None;
    let all = measure(|| {
        let mut made = Control::new();
        listing(&routes).for_each(|event| made.take(event));
        control = Some((made.publish(), made));
    });
    drop((control, routes));
    let mut config = None;
    let text = file(pods);
    let loading = measure(|| config = Config::from_bytes(text.as_bytes(), "gateway.toml").ok());
    let configuration = config.map_or(0, |c| c.routes.len() * size_of::<Route>()) as i64;
    Memory {
        published: both.bytes_current - writer,
        writer,
        rib,
        all: all.bytes_current,
        configuration,
        loading: loading.bytes_max as i64 + text.len() as i64,
    }
}
