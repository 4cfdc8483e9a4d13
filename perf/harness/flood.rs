//! The in-kernel generator and counter (`perf/flood`), driven.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use selvedge::lab::{Namespace, Process};
use serde_json::Value;

use crate::Result;
use crate::bed::OUTER;
use crate::workload::Workload;

/// The core of the generator, and of the receive processing it sets off.
pub(crate) const GENERATOR_CORE: u32 = 0;

/// Where `perf/flood/build` puts the program.
pub(crate) fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/perf/flood")
}

/// A generator at work.
pub(crate) struct Sending {
    process: Process,
}

/// Starts to send a workload from a namespace: as fast as it can, or at a rate, open loop: each frame has an intended
/// time and is sent however late.
pub(crate) fn send(
    ns: &Namespace,
    workload: &Workload,
    headers: &Path,
    run: u32,
    rate: Option<u64>,
    seconds: f64,
) -> Result<Sending> {
    let mut command = Command::new(program());
    command.args(["send", "--dev", OUTER, "--run", &format!("{run:x}"), "--cpu", &GENERATOR_CORE.to_string()]);
    command.arg("--headers").arg(headers).args(workload.shape());
    command.args(["--seconds", &seconds.to_string()]);
    if let Some(pps) = rate {
        command.args(["--rate", &pps.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    Ok(Sending { process: ns.spawn(command)? })
}

impl Sending {
    /// True until it has sent all.
    pub(crate) fn goes_on(&mut self) -> Result<bool> {
        Ok(self.process.exited()?.is_none())
    }

    /// Waits for the end, and returns what was sent.
    pub(crate) fn finish(mut self) -> Result<Value> {
        let out = self.process.child().stdout.take().ok_or("the generator has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_to_string(&mut line)?; // until it ends
        let status = self.process.child().wait()?;
        match status.success() {
            true => Ok(serde_json::from_str(&line)?),
            false => Err(format!("the generator ended with {status}").into()),
        }
    }
}

/// A counter at an interface; it goes when dropped.
pub(crate) struct Counter {
    // the pipe first: its end is the counter's, too
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Process,
}

impl Counter {
    pub(crate) fn new(ns: &Namespace, expectation: &[String]) -> Result<Self> {
        let mut command = Command::new(program());
        command.args(["count", "--dev", OUTER]).args(expectation);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = ns.spawn(command)?;
        let input = process.child().stdin.take().ok_or("the counter has no input")?;
        let output = BufReader::new(process.child().stdout.take().ok_or("the counter has no output")?);
        let mut counter = Self { input, output, _process: process };
        match counter.answer()?.as_str() {
            "ok" => Ok(counter),
            other => Err(format!("the counter said `{other}`").into()),
        }
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("the counter has gone".into()),
            _ => Ok(line.trim_end().to_string()),
        }
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}")?;
        self.answer()
    }

    /// Forgets everything and expects another run.
    pub(crate) fn expect(&mut self, run: u32) -> Result<()> {
        self.ask(&format!("run {run:x}")).map(|_| ())
    }

    /// The counters.
    pub(crate) fn count(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask("count")?)?)
    }

    /// The counters, and the latency histogram.
    pub(crate) fn read(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask("read")?)?)
    }
}
