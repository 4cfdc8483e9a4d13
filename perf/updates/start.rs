//! What a start with many routes takes, before the first packet.

use std::fmt::Write;
use std::time::Instant;

use selvedge::config::Config;
use selvedge::control::Target;
use selvedge::control::source::file::listing;
use toml::de::DeTable;

use super::world::{Control, PODS, node, pod};

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
