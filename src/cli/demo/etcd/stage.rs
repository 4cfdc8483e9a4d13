//! Two clusters of flannel on one etcd, of which one node comes, moves and goes.

use std::fmt::Write;

use crate::cli::demo::DemoError;
use crate::cli::demo::room::Room;
use crate::lab::{
    Cluster, EtcdServer, FlannelRegistry, Flanneld, Host, LabError, METRICS_ADDRESS, Namespace, Node, Process, Shape,
    Topology,
};

/// Where etcd listens, on the loopback of the gateway's namespace: for clients, and for other members.
const CLIENT: &str = "127.0.0.1:2379";
const PEER: &str = "127.0.0.1:2380";

/// The servers and daemons, the guest among them: the first node of green, which comes, moves and goes.
pub(super) struct Stage {
    // in the order of their end: who follows etcd, then etcd, then its data
    flannelds: Vec<Flanneld>,
    guests_flanneld: Option<Flanneld>,
    etcd: Option<Process>,
    server: EtcdServer,
    topology: Topology,
    /// The guest, as it is now; what the topology has is how it was made.
    guest: Node,
    room: Room,
}

impl Stage {
    /// Starts etcd, and has all nodes but the guest register there; nobody knows of a gateway.
    pub(super) fn build(topology: &Topology) -> Result<Self, DemoError> {
        let room = Room::for_data()?;
        let address = |text: &str| text.parse().unwrap_or_else(|_| unreachable!("the constant is an address"));
        let server = EtcdServer::new(room.path(), address(CLIENT), address(PEER));
        let etcd = Some(server.start(Some(&topology.gateway))?);
        let (topology, guest) = (topology.clone(), topology.green.nodes[0].clone());
        let mut stage = Self { flannelds: Vec::new(), guests_flanneld: None, etcd, server, topology, guest, room };
        for cluster in stage.topology.clusters() {
            let registry = stage.registry(cluster);
            registry.configure(cluster)?;
            for node in cluster.nodes.iter().filter(|node| node.prefix != stage.guest.prefix) {
                registry.register(cluster, node)?;
                let flanneld = flanneld(&stage.topology.gateway, &stage.server, cluster, node);
                stage.flannelds.push(flanneld);
            }
        }
        Ok(stage)
    }

    /// The keys of a cluster.
    pub(super) fn registry(&self, cluster: &Cluster) -> FlannelRegistry {
        FlannelRegistry::new(&self.topology.gateway, self.server.endpoint(), prefix(cluster))
    }

    /// What the gateway's file has: overlays, and where to ask for their maps. Not one route to a pod.
    pub(super) fn gateway_config(&self) -> String {
        let mut text = self.topology.config_toml(METRICS_ADDRESS);
        let t = &self.topology;
        // blue is told of all that green may ever have, and of the native network; green of what blue has right now
        let lists = [format!("[\"{}\", \"{}\"]", t.green.pods, t.native_prefix), "\"imported\"".into()];
        // writing to a String cannot fail
        let _ = writeln!(text, "\n[state]\ndirectory = \"{}\"", self.room.path().join("state").display());
        for (cluster, advertise) in t.clusters().into_iter().zip(lists) {
            let (name, endpoint, prefix) = (cluster.name, self.server.endpoint(), prefix(cluster));
            let _ =
                writeln!(text, "\n[[source]]\nname = \"{name}-etcd\"\noverlay = \"{name}\"\nkind = \"flannel-etcd\"");
            let _ = writeln!(text, "endpoints = [\"{endpoint}\"]\nprefix = \"{prefix}\"\nadvertise = {advertise}");
        }
        text
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Who sends to the guest, and where the guest's pod is.
    pub(super) fn visit(&self) -> (&Host, &Host) {
        (&self.topology.blue.nodes[0].pod, &self.guest.pod)
    }

    /// The process of etcd, while there is one.
    pub(super) fn etcd(&self) -> Option<u32> {
        self.etcd.as_ref().map(Process::id)
    }

    /// What clients of etcd connect to.
    pub(super) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Ends etcd as a crash would: SIGKILL to the process that was started here.
    pub(super) fn kill_etcd(&mut self) -> Result<(), LabError> {
        let Some(mut etcd) = self.etcd.take() else { return Ok(()) };
        let killed = etcd.child().kill().and_then(|()| etcd.child().wait());
        killed.map(drop).map_err(|e| LabError::new("killing etcd", e))
    }

    /// Starts it again, with the data it had.
    pub(super) fn revive_etcd(&mut self) -> Result<(), LabError> {
        self.etcd = Some(self.server.start(Some(&self.topology.gateway))?);
        Ok(())
    }

    /// The guest writes its key, as its flanneld does at its start, and is told of the others.
    pub(super) fn register_guest(&mut self) -> Result<(), LabError> {
        let green = &self.topology.green;
        self.registry(green).register(green, &self.guest)?;
        self.guests_flanneld = Some(flanneld(&self.topology.gateway, &self.server, green, &self.guest));
        Ok(())
    }

    /// The guest goes to the underlay address that ends in `host`, and tells nobody yet. Returns what it is now.
    pub(super) fn move_guest(&mut self, host: u8) -> Result<&Node, LabError> {
        self.guests_flanneld = None;
        self.guest.move_to(&self.topology.green, host, self.topology.shape)?;
        Ok(&self.guest)
    }

    /// The guest's key is deleted. The node stays as it is: whether packets still get there, the others decide.
    pub(super) fn remove_guest(&mut self) -> Result<(), LabError> {
        self.registry(&self.topology.green).remove(&self.guest)
    }
}

/// What all keys of a cluster begin with: one etcd has both.
fn prefix(cluster: &Cluster) -> String {
    format!("/{}/network", cluster.name)
}

/// A node's own flanneld.
fn flanneld(from: &Namespace, server: &EtcdServer, cluster: &Cluster, node: &Node) -> Flanneld {
    let alone = Cluster { nodes: vec![node.clone()], ..cluster.clone() };
    Flanneld::start(from, server.endpoint(), prefix(cluster), &alone)
}

/// The network, of which neither nodes nor gateway know anything yet.
pub(super) fn shape() -> Shape {
    Shape { bare: true, ..Shape::default() }
}
