//! An etcd server of our own: a process with a directory and ports of its own, which the host's service never sees.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Doing, LabError, Namespace, Process};

/// How long it may take to have a leader.
const READY: Duration = Duration::from_secs(15);

/// How to start one.
#[derive(Clone, Debug)]
pub struct EtcdServer {
    /// Where it keeps its data and its log.
    pub dir: PathBuf,
    /// Where it listens for clients.
    pub client: SocketAddr,
    /// Where it would listen for other members.
    pub peer: SocketAddr,
    /// More options, `--quota-backend-bytes=…`.
    pub more: Vec<String>,
    /// TLS: certificate, key, and the authority that clients' certificates must come from.
    pub tls: Option<[PathBuf; 3]>,
}

impl EtcdServer {
    /// A server without TLS.
    pub fn new(dir: impl Into<PathBuf>, client: SocketAddr, peer: SocketAddr) -> Self {
        Self { dir: dir.into(), client, peer, more: Vec::new(), tls: None }
    }

    /// Is the program in PATH?
    pub fn installed() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join("etcd").is_file())
    }

    /// What clients are to connect to.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.client)
    }

    /// Starts it, in a namespace or here, and waits until it has a leader.
    ///
    /// # Errors
    /// When it cannot be started, or ends: with the end of its log.
    pub fn start(&self, ns: Option<&Namespace>) -> Result<Process, LabError> {
        let log = self.dir.join("log");
        let out =
            File::options().create(true).append(true).open(&log).doing(|| format!("writing {}", log.display()))?;
        let copy = out.try_clone().doing(|| format!("writing {}", log.display()))?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(copy).stderr(out);
        let mut process = match ns {
            Some(ns) => ns.spawn(command)?,
            None => Process::new(command.spawn().doing(|| "starting etcd".into())?),
        };
        let deadline = Instant::now() + READY;
        loop {
            let ready = match ns {
                Some(ns) => ns.run(|| self.ready())?,
                None => self.ready(),
            };
            let ended = process.exited().doing(|| "waiting for etcd".into())?;
            if ready && ended.is_none() {
                return Ok(process);
            }
            if ended.is_some() || Instant::now() > deadline {
                return Err(LabError::refused("starting etcd", tail(&log)));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self) -> Command {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (client, peer) = (format!("{scheme}://{}", self.client), format!("http://{}", self.peer));
        let mut command = Command::new("etcd");
        // nothing from outside
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(self.dir.join("data")).args(["--name", "lab", "--logger", "zap"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("lab={peer}"), "--log-level", "warn"]);
        if let Some([certificate, key, authority]) = &self.tls {
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
        }
        command.args(&self.more);
        command
    }

    /// Does it say that it is healthy? With TLS: does it listen? That, too, it does once it has a leader.
    fn ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.client, Duration::from_millis(200)) else { return false };
        if self.tls.is_some() {
            return true;
        }
        let patience = Some(Duration::from_secs(1));
        let mut answer = String::new();
        stream.set_read_timeout(patience).is_ok()
            && stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.contains("\"health\":\"true\"")
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let from = text.len().saturating_sub(1000);
    format!("it did not become ready: {}", text.get(from..).unwrap_or(&text))
}
