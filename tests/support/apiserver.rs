//! A real Kubernetes API server and the etcd it stores in, for one test binary: own ports, own directory, RBAC.
//!
//! The server is `kube-apiserver` in the directory that `KUBEBUILDER_ASSETS` names; etcd is Debian's.
#![allow(dead_code)] // each test crate uses its own part

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use http::Request;
use selvedge::control::kubernetes::{Access, Api, ApiError, Deed};
use selvedge::lab::{Namespace, Process};
use serde_json::{Value, json};

/// How long the server may take to be ready on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Tokens and the users they are of. The service account is the one of `config/kubernetes-rbac.yaml`.
const TOKENS: [(&str, &str, &str); 5] = [
    ("admin-token", "admin", "system:masters"),
    ("gateway-token", "system:serviceaccount:selvedge:gateway", ""),
    ("reader-token", "system:serviceaccount:readonly:gateway", ""),
    ("lister-token", "lister", ""),
    ("nobody-token", "nobody", ""),
];

/// What a test says that has no server to run against.
pub(crate) const SKIPPED: &str = "\nSKIPPED: KUBEBUILDER_ASSETS names no directory with a kube-apiserver\n";

/// The server's program, if there is one.
pub(crate) fn program() -> Option<PathBuf> {
    let at = env::var_os("KUBEBUILDER_ASSETS").map(|assets| PathBuf::from(assets).join("kube-apiserver"));
    at.filter(|at| at.exists())
}

/// Starts a process; it ends with its handle, and with the test.
pub(crate) type Spawn<'a> = &'a dyn Fn(Command) -> Process;

/// Starts processes on a thread of its own, with which they end.
pub(crate) struct Starter(Sender<(Command, Sender<Process>)>);

impl Starter {
    /// In a namespace, or here.
    pub(crate) fn new(within: Option<&Namespace>) -> Self {
        let (starter, commands) = channel::<(Command, Sender<Process>)>();
        let within = within.cloned();
        thread::spawn(move || {
            let work = move || {
                for (mut command, done) in commands {
                    let _ = done.send(Process::new(command.spawn().unwrap()));
                }
            };
            match within {
                Some(ns) => ns.run(work).unwrap(),
                None => work(),
            }
        });
        Self(starter)
    }

    pub(crate) fn start(&self, command: Command) -> Process {
        let (done, started) = channel();
        self.0.send((command, done)).unwrap();
        started.recv().unwrap()
    }
}

/// Starts it here, for as long as the test binary lives.
pub(crate) fn here(command: Command) -> Process {
    static STARTER: OnceLock<Starter> = OnceLock::new();
    STARTER.get_or_init(|| Starter::new(None)).start(command)
}

/// A command that does not outlive the thread that starts it, with its output in a file.
fn command(program: &Path, log: &Path) -> Command {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// etcd.
pub(crate) struct Etcd {
    process: Process,
    port: u16,
}

impl Etcd {
    pub(crate) fn start(room: &Path, spawn: Spawn<'_>) -> Self {
        let (port, peers) = (free_port(), free_port());
        let mut etcd = command(Path::new("etcd"), &room.join("etcd.log"));
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        etcd.arg("--data-dir").arg(room.join("etcd")).args(["--listen-client-urls", &url(port)]);
        etcd.args(["--advertise-client-urls", &url(port), "--listen-peer-urls", &url(peers)]);
        etcd.args([
            "--initial-advertise-peer-urls",
            &url(peers),
            "--initial-cluster",
            &format!("default={}", url(peers)),
        ]);
        Self { process: spawn(etcd), port }
    }

    /// Forgets all history: no version before the present one can be watched or paged through any more.
    pub(crate) fn compact(&self) {
        let range = self.ask("/v3/kv/range", &json!({ "key": "AA==", "keys_only": true }));
        let revision = &range["header"]["revision"];
        let done = self.ask("/v3/kv/compaction", &json!({ "revision": revision, "physical": true }));
        assert!(done.get("error").is_none(), "{done}");
    }

    /// A question to etcd's HTTP gateway.
    fn ask(&self, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let body = body.to_string();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

/// The API server.
pub(crate) struct ApiServer {
    process: Option<Process>,
    program: PathBuf,
    room: PathBuf,
    etcd: u16,
    port: u16,
    extra: Vec<String>,
}

impl ApiServer {
    /// Starts one that stores in `etcd`; `room` is its own. It is not ready yet.
    pub(crate) fn start(program: &Path, room: &Path, etcd: &Etcd, extra: &[&str], spawn: Spawn<'_>) -> Self {
        fs::create_dir_all(room).unwrap();
        let key = room.join("sa.key");
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let lines = TOKENS.map(|(token, user, groups)| format!("{token},{user},{user},\"{groups}\"\n"));
        fs::write(room.join("tokens.csv"), lines.concat()).unwrap();
        let extra = extra.iter().map(|&e| e.to_owned()).collect();
        let (program, room) = (program.to_owned(), room.to_owned());
        let mut server = Self { process: None, program, room, etcd: etcd.port, port: free_port(), extra };
        server.run(spawn);
        server
    }

    /// Starts it again, after [`ApiServer::kill`], with the same address and certificate.
    pub(crate) fn run(&mut self, spawn: Spawn<'_>) {
        let mut server = command(&self.program, &self.room.join("log"));
        let at = |name: &str| self.room.join(name).display().to_string();
        server.args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={}", self.port),
            format!("--cert-dir={}", at("pki")),
            "--service-account-issuer=https://k".into(),
            format!("--service-account-key-file={}", at("sa.key")),
            format!("--service-account-signing-key-file={}", at("sa.key")),
            format!("--token-auth-file={}", at("tokens.csv")),
            "--authorization-mode=RBAC".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
            "--endpoint-reconciler-type=none".into(),
            // a gate that went, open, with Kubernetes 1.25: without it, a second pod CIDR is dropped
            "--feature-gates=IPv6DualStack=true".into(),
        ]);
        self.process = Some(spawn({
            server.args(&self.extra);
            server
        }));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// The running process.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// Waits until it answers and has made the namespaces that every cluster has.
    pub(crate) async fn ready(&mut self) {
        let deadline = Instant::now() + START;
        loop {
            let asked = get("/api/v1/namespaces/kube-node-lease");
            let pki = self.room.join("pki/apiserver.crt").exists();
            let answer = if pki {
                self.admin().await.ask::<Value>(ANY, asked).await.map_err(|e| e.to_string())
            } else {
                Err("no certificate".into())
            };
            let Err(why) = answer else { return };
            if let Some(status) = self.process().exited().unwrap() {
                panic!("kube-apiserver ended early: {status}\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "kube-apiserver is not ready: {why}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The end of what it has said.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.room.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The port it listens at.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig with that token, as a value to change.
    pub(crate) fn kubeconfig(&self, token: &str) -> Value {
        let ca = self.room.join("pki/apiserver.crt");
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port), "certificate-authority": ca,
            }}],
            "users": [{ "name": "test", "user": { "token": token } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        })
    }

    /// Access with a kubeconfig; it is written to a file of that name. JSON is YAML, too.
    pub(crate) fn access_with(&self, name: &str, kubeconfig: &Value) -> Access {
        let path = self.room.join(name);
        // others may read it just now
        let mut file = tempfile::NamedTempFile::new_in(&self.room).unwrap();
        write!(file, "{kubeconfig}").unwrap();
        file.persist(&path).unwrap();
        Access { kubeconfig: Some(path), context: None }
    }

    /// Access as one of the users: `admin`, `gateway`, `reader` or `nobody`.
    pub(crate) fn access(&self, user: &str) -> Access {
        self.access_with(user, &self.kubeconfig(&format!("{user}-token")))
    }

    /// A client that may do everything.
    pub(crate) async fn admin(&self) -> Api {
        Api::open(&self.access("admin")).await.unwrap()
    }
}

/// What an administrator does is not subject to access rules.
const ANY: Deed = Deed { verb: "any", group: "*", resource: "any" };

pub(crate) fn get(path: &str) -> Request<Vec<u8>> {
    Request::get(path).body(Vec::new()).unwrap()
}

fn with_body(method: &str, path: &str, kind: &str, body: impl ToString) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    request.body(body.to_string().into_bytes()).unwrap()
}

/// What an administrator does.
pub(crate) trait Administrator {
    /// Reads an object.
    async fn read(&self, path: &str) -> Result<Value, ApiError>;
    /// Creates an object.
    async fn create(&self, path: &str, object: &Value) -> Value;
    /// Changes part of an object.
    async fn patch(&self, path: &str, patch: &Value) -> Value;
    /// Deletes an object, if it is there.
    async fn delete(&self, path: &str);
    /// Applies the documents of a manifest that are not there yet.
    async fn apply(&self, manifest: &str);
}

impl Administrator for Api {
    async fn read(&self, path: &str) -> Result<Value, ApiError> {
        self.ask(ANY, get(path)).await
    }

    async fn create(&self, path: &str, object: &Value) -> Value {
        self.ask(ANY, with_body("POST", path, "application/json", object)).await.unwrap()
    }

    async fn patch(&self, path: &str, patch: &Value) -> Value {
        self.ask(ANY, with_body("PATCH", path, "application/merge-patch+json", patch)).await.unwrap()
    }

    async fn delete(&self, path: &str) {
        match self.ask::<Value>(ANY, with_body("DELETE", path, "application/json", "{}")).await {
            Err(e) if !e.is_not_found() => panic!("{e}"),
            _ => {}
        }
    }

    async fn apply(&self, manifest: &str) {
        for document in manifest.split("\n---\n") {
            // the server reads YAML; where it belongs stands in it
            let says = |key: &str| document.lines().find_map(|l| l.trim_start().strip_prefix(key).map(str::trim));
            let kind = says("kind:").unwrap();
            // the first one in the document is in its metadata
            let namespace = says("namespace:").unwrap_or_default();
            let path = match kind {
                "Namespace" => "/api/v1/namespaces".to_owned(),
                "ServiceAccount" => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
                "ClusterRole" | "ClusterRoleBinding" => {
                    format!("/apis/rbac.authorization.k8s.io/v1/{}s", kind.to_lowercase())
                }
                "Role" | "RoleBinding" => {
                    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{}s", kind.to_lowercase())
                }
                other => panic!("where does a {other} belong?"),
            };
            match self.ask::<Value>(ANY, with_body("POST", &path, "application/yaml", document)).await {
                Err(e) if !e.is_conflict() => panic!("{e}\n{document}"),
                _ => {}
            }
        }
    }
}

/// A node as flanneld annotates it.
pub(crate) fn flannel_node(name: &str, cidrs: &[&str], public_ip: &str, mac: &str) -> Value {
    let annotation = |name: &str| format!("flannel.alpha.coreos.com/{name}");
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "annotations": {
            annotation("kube-subnet-manager"): "true",
            annotation("backend-type"): "vxlan",
            annotation("backend-data"): format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#),
            annotation("public-ip"): public_ip,
        }},
        "spec": { "podCIDR": cidrs[0], "podCIDRs": cidrs },
    })
}

/// The two parts of the sample manifest: what reading needs, and what advertising needs on top.
pub(crate) fn manifest() -> (&'static str, &'static str) {
    let whole = include_str!("../../config/kubernetes-rbac.yaml");
    let (reader, herald) = whole.split_once("\n---\n# Part 2:").expect("two parts");
    (reader, herald.split_once('\n').expect("the rest of the remark").1)
}
