//! What was measured, and what is assumed: `perf/scaling/parts.json`.

use serde_json::{Value, json};

/// The parts of the model, all from the file.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Core cycles of a packet's decision, by journey.
    pub(crate) path: [(&'static str, f64); 3],
    /// The clock of the core they were measured on, in GHz.
    pub(crate) ghz: f64,
    /// Nanoseconds of a packet's receiving and sending by AF_XDP.
    pub(crate) io_ns: f64,
    /// Chunks of packet memory a queue, and their size.
    pub(crate) chunks: f64,
    pub(crate) chunk_bytes: f64,
    /// Flow cache entries a worker, and their size.
    pub(crate) cache_entries: f64,
    pub(crate) entry_bytes: f64,
}

const JOURNEYS: [&str; 3] = ["encap", "decap", "transit"];

/// The name `cycles` has for the case that a journey's cycles are taken from.
fn case(journey: &str) -> String {
    format!("path/{journey}/64k/far")
}

impl Parts {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let all: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let number = |pointer: &str| all.pointer(pointer).and_then(Value::as_f64).ok_or(format!("no number {pointer}"));
        let mut path = JOURNEYS.map(|journey| (journey, 0.0));
        for (journey, cycles) in &mut path {
            *cycles = number(&format!("/measured/core_cycles/{journey}"))?;
        }
        Ok(Self {
            path,
            ghz: number("/measured/core_ghz")?,
            io_ns: number("/assumed/af_xdp_io_ns")?,
            chunks: number("/assumed/chunks")?,
            chunk_bytes: number("/assumed/chunk_bytes")?,
            cache_entries: number("/assumed/cache_entries")?,
            entry_bytes: number("/assumed/cache_entry_bytes")?,
        })
    }

    /// The file's text with what `cargo bench --bench cycles -- --json` has measured, the rest as it was.
    pub(crate) fn with_measured(text: &str, cycles: &str) -> Result<String, String> {
        let mut all: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let told: Value = serde_json::from_str(cycles).map_err(|e| e.to_string())?;
        let rounded = |n: f64| (n * 10.0).round() / 10.0;
        let median = |journey: &str| {
            let found = told["cases"].as_array()?.iter().find(|c| c["name"] == case(journey).as_str())?;
            found["core_cycles"]["median"].as_f64().map(rounded)
        };
        let ghz = told["core_mhz"]["median"].as_f64().ok_or("no core clock")? / 1e3;
        let mut measured = json!({ "core_ghz": (ghz * 100.0).round() / 100.0, "core_cycles": {} });
        for journey in JOURNEYS {
            measured["core_cycles"][journey] = median(journey).ok_or(format!("no case {}", case(journey)))?.into();
        }
        all["measured"] = measured;
        Ok(serde_json::to_string_pretty(&all).map_err(|e| e.to_string())? + "\n")
    }
}
