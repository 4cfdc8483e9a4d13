//! The program that makes the packets of rows and judges what becomes of them: `tests/scapy/conformance.py`, running beside
//! a gateway for as long as that does.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use selvedge::lab::Process;

use crate::netns::{Net, missing};
use crate::rows::{Pair, Row, Setting};

/// The running program.
pub(crate) struct Script {
    _process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Script {
    pub(crate) fn start(net: &Net, setting: Setting) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy/conformance.py");
        let instance = net.t.gateway.name().strip_suffix("-gw").expect("the gateway's namespace is called so");
        // Debian's own Python: scapy is a package of it
        let python = "/usr/bin/python3";
        let mut command = Command::new(python);
        command.args(["-B", script, instance, setting.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = net.t.gateway.spawn(command).unwrap_or_else(|e| missing(python, e.io()));
        let stdin = process.child().stdin.take().expect("it was asked for");
        let stdout = BufReader::new(process.child().stdout.take().expect("it was asked for"));
        Self { _process: process, stdin, stdout }
    }

    /// Plays the cases of a row for these pairs, and returns the lines that tell how they ended; `None` if the program ended
    /// before the row did. It gives every row some time only.
    pub(crate) fn play(&mut self, row: &Row, pairs: &[Pair], recording: &Path) -> Option<Vec<String>> {
        let pairs: Vec<&str> = pairs.iter().map(|pair| pair.0).collect();
        writeln!(self.stdin, "{} {} {}", recording.display(), row.number, pairs.join(" ")).ok()?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.stdout.read_line(&mut line) {
                Ok(1..) if line == "done\n" => return Some(lines),
                Ok(1..) => lines.push(line.trim_end().to_owned()),
                _ => return None,
            }
        }
    }
}
