//! flannel on etcd as a source, and our own subnet keys as a herald, against a real etcd. Each test has a server of its
//! own: a process with its own directory and ports on the loopback, killed at the end by its handle.

mod herald;
mod relay;
mod secure;
mod source;
#[path = "../support/view.rs"]
mod view;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use etcd_client::Client;
use selvedge::control::etcd::{Options, PREFIX};
use selvedge::control::source::etcd::Etcd;
use selvedge::control::source::flannel::{Family, Half};
use selvedge::lab::{EtcdServer, Process};
use selvedge::wire::Vni;
use tempfile::TempDir;

/// A server, which can be killed and started again.
struct Server {
    setup: EtcdServer,
    process: Option<Process>,
    _room: TempDir,
}

impl Server {
    fn start() -> Self {
        Self::with(|_| ())
    }

    /// A server whose setup was changed.
    fn with(change: impl FnOnce(&mut EtcdServer)) -> Self {
        // in memory where there is room for that: what is tested is not the disk
        let shm = Path::new("/dev/shm");
        let room = if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.unwrap();
        let mut setup = EtcdServer::new(room.path(), free(), free());
        change(&mut setup);
        let mut server = Self { setup, process: None, _room: room };
        server.back();
        server
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.process = None;
    }

    fn back(&mut self) {
        self.process = Some(self.setup.start(None).unwrap());
    }

    fn options(&self) -> Options {
        options(vec![self.setup.endpoint()])
    }

    async fn client(&self) -> Client {
        Client::connect([self.setup.endpoint()], None).await.unwrap()
    }
}

fn options(endpoints: Vec<String>) -> Options {
    Options {
        endpoints,
        prefix: PREFIX.into(),
        ca: None,
        identity: None,
        user: None,
        lifetime: Duration::from_secs(30),
    }
}

/// An address on the loopback that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn half() -> Half {
    Half { family: Family::V4, vni: Vni::new(1).unwrap(), udp_port: 8472 }
}

/// The source of both.
fn asked(options: Options, half: Half) -> Etcd {
    Etcd::new(options, half)
}

fn subnet(key: &str) -> String {
    format!("{PREFIX}/subnets/{key}")
}

/// A node's value, as flannel writes it.
fn lease(vtep: &str, mac: &str) -> String {
    let data = format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#);
    format!(r#"{{"PublicIP":"{vtep}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}"#)
}

/// The network's configuration, as flannel's documentation has it.
const CONFIG: &str = r#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":1}}"#;

async fn configure(client: &mut Client) {
    client.put(format!("{PREFIX}/config"), CONFIG, None).await.unwrap();
}
