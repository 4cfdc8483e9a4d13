//! Two clusters of flannel, each with an API server of its own, and the gateway between them with no route in its file:
//! what the Nodes say is the map, and the gateway's own Nodes are all that makes nodes send to it.

#[path = "support/apiserver.rs"]
mod apiserver;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/pods.rs"]
mod pods;
#[path = "support/steady.rs"]
mod steady;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use apiserver::{Administrator, ApiServer, Etcd, SKIPPED, Starter, flannel_node, manifest, program};
use netns::{Net, run_in, until};
use pods::{all_reach_each_other, arrive_after, reach};
use selvedge::control::kubernetes::{Access, Api, NODES};
use selvedge::lab::{Cluster, FLANNELD_PAUSE, FlannelDesk, Flanneld, Namespace, Node};
use selvedge::wire::{Mac, Prefix};
use serde_json::{Value, json};
use steady::{SOON, Steady, load, outage};

/// What [[source]] has besides. Blue's nodes are told of all of green's network, and of the native one; green's of
/// whatever is imported. Half of green's few nodes come and go in a minute.
const MORE: [&str; 2] = [
    "advertise = [\"10.245.0.0/16\", \"10.9.0.0/24\"]",
    "advertise = \"imported\"\ngateway = \"between\"\nwithdraw_at_most = 100",
];

/// How long a source that was lost may take to be heard again, and what it says to be in force.
const RECOVERY: Duration = Duration::from_secs(5);

/// Runs a future where the servers are.
fn in_place<T: Send>(ns: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
    ns.run(run).unwrap()
}

/// The network, the API servers of blue and of green in the gateway's namespace, and a flanneld on every node.
struct Stage {
    // before the network: processes and threads go before the namespace does
    _flannelds: [Flanneld; 2],
    servers: [ApiServer; 2],
    etcd: Etcd,
    starter: Starter,
    net: Net,
}

const BLUE: usize = 0;
const GREEN: usize = 1;

impl Stage {
    /// `None`, said aloud, where there is nothing to run it with. There are no nodes yet.
    fn new(tag: &str) -> Option<Self> {
        let Some(program) = program() else {
            print!("{SKIPPED}");
            return None;
        };
        let mut net = Net::learning(tag)?;
        let starter = Starter::new(Some(&net.t.gateway));
        let start = |command| starter.start(command);
        let etcd = Etcd::start(net.room(), &start);
        let server = |cluster: &Cluster| {
            // they share etcd and nothing in it; without a cache, what etcd forgets cannot be watched from any more
            let keys = format!("--etcd-prefix=/{}", cluster.name);
            let extra = [keys.as_str(), "--watch-cache-sizes=nodes#0"];
            ApiServer::start(&program, &net.room().join(cluster.name), &etcd, &extra, &start)
        };
        let mut servers = net.t.clusters().map(server);
        for (cluster, server) in net.t.clusters().into_iter().zip(&mut servers) {
            in_place(&net.t.gateway, async || {
                server.ready().await;
                settle(&server.admin().await, cluster).await;
            });
        }
        let mut sources = String::new();
        for ((cluster, server), more) in net.t.clusters().into_iter().zip(&servers).zip(MORE) {
            let kubeconfig = server.access("gateway").kubeconfig.unwrap();
            sources += &format!(
                "\n[[source]]\nname = \"{0}-nodes\"\noverlay = \"{0}\"\nkind = \"flannel-kube\"\n\
                 kubeconfig = {kubeconfig:?}\n{more}\n",
                cluster.name
            );
        }
        net.config += &sources;
        let admins = [servers[BLUE].access("admin"), servers[GREEN].access("admin")];
        let flanneld = |(cluster, access): (&Cluster, Access)| {
            let mut known = Map::new();
            Flanneld::following(&net.t.gateway, cluster, move |desk| follow(desk, &access, &mut known))
        };
        let [blue, green] = admins;
        let _flannelds = [(&net.t.blue, blue), (&net.t.green, green)].map(flanneld);
        Some(Self { _flannelds, servers, etcd, starter, net })
    }

    /// Does something with the API server of a cluster, as its administrator.
    fn with<T: Send>(&self, cluster: usize, work: impl AsyncFnOnce(Api) -> T + Send) -> T {
        let server = &self.servers[cluster];
        in_place(&self.net.t.gateway, async || work(server.admin().await).await)
    }

    /// Flannel's nodes come to a cluster.
    fn join(&self, cluster: usize, nodes: &[&Node]) {
        let t = &self.net.t;
        self.with(cluster, async |admin| {
            for node in nodes {
                let object = object(t.clusters()[cluster], node, &node.prefix.to_string());
                admin.create(NODES, &object).await;
            }
        });
    }

    fn leave(&self, cluster: usize, node: &Node) {
        self.with(cluster, async |admin| admin.delete(&at(node)).await);
    }

    fn annotate(&self, cluster: usize, node: &Node, name: &str, value: &str) {
        let patch = json!({ "metadata": { "annotations": { format!("flannel.alpha.coreos.com/{name}"): value } } });
        self.with(cluster, async |admin| _ = admin.patch(&at(node), &patch).await);
    }

    fn names(&self, cluster: usize) -> Vec<String> {
        let list = self.with(cluster, async |admin| admin.read(NODES).await.unwrap());
        let items = list["items"].as_array().unwrap();
        items.iter().map(|node| node["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    fn routes(&self) -> f64 {
        self.net.scrape().sum("selvedge_routes", &[])
    }
}

/// What every cluster with flannel has, and the rights of the gateway.
async fn settle(admin: &Api, cluster: &Cluster) {
    admin.create("/api/v1/namespaces", &json!({ "metadata": { "name": "kube-flannel" } })).await;
    let backend = json!({ "Type": "vxlan", "VNI": cluster.vni.get(), "Port": cluster.udp_port });
    let network = json!({ "Network": cluster.pods.to_string(), "Backend": backend }).to_string();
    let map = json!({ "metadata": { "name": "kube-flannel-cfg" }, "data": { "net-conf.json": network } });
    admin.create("/api/v1/namespaces/kube-flannel/configmaps", &map).await;
    let (reader, herald) = manifest();
    admin.apply(reader).await;
    admin.apply(herald).await;
}

/// The path of a node's object.
fn at(node: &Node) -> String {
    format!("{NODES}/{}", name(node))
}

fn name(node: &Node) -> String {
    format!("node-{}", node.prefix.addr().to_string().replace('.', "-"))
}

fn backend(cluster: &Cluster, mac: Mac) -> String {
    format!(r#"{{"VNI":{},"VtepMAC":"{mac}"}}"#, cluster.vni)
}

/// A node's object, as flanneld on it annotates it.
fn object(cluster: &Cluster, node: &Node, cidr: &str) -> Value {
    let mut object = flannel_node(&name(node), &[cidr], &node.vtep.to_string(), "");
    object["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-data"] = backend(cluster, node.vtep_mac).into();
    object
}

/// Where pods are, as the nodes of a cluster were told.
type Map = BTreeMap<Prefix, (IpAddr, Mac)>;

/// Does what flanneld does with Nodes, the gateway's among them, until the server is away.
fn follow(desk: &FlannelDesk, access: &Access, known: &mut Map) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let Ok(admin) = Api::open(access).await else { return };
        while !desk.ended() {
            let Ok(list) = admin.read(NODES).await else { return };
            let now: Map = list["items"].as_array().unwrap().iter().filter_map(place).collect();
            for prefix in known.keys().filter(|prefix| !now.contains_key(prefix)) {
                desk.delete(*prefix);
            }
            for (prefix, place) in now.iter().filter(|(prefix, place)| known.get(prefix) != Some(place)) {
                desk.put(*prefix, place.0, place.1);
            }
            *known = now;
            tokio::time::sleep(FLANNELD_PAUSE).await;
        }
    });
}

/// Where a Node says its pods are.
fn place(node: &Value) -> Option<(Prefix, (IpAddr, Mac))> {
    let annotation = |name: &str| node["metadata"]["annotations"][format!("flannel.alpha.coreos.com/{name}")].as_str();
    let data: Value = serde_json::from_str(annotation("backend-data")?).ok()?;
    let place = (annotation("public-ip")?.parse().ok()?, data["VtepMAC"].as_str()?.parse().ok()?);
    Some((node["spec"]["podCIDR"].as_str()?.parse().ok()?, place))
}

#[test]
fn two_clusters_on_two_api_servers() {
    let began = Instant::now();
    let Some(mut stage) = Stage::new("kube") else { return };
    println!("two API servers are ready after {:?}", began.elapsed());
    let t = stage.net.t.clone();
    for (n, cluster) in t.clusters().into_iter().enumerate() {
        stage.join(n, &cluster.nodes.iter().collect::<Vec<_>>());
    }
    stage.net.start();
    all_reach_each_other(&stage.net);
    // only the gateway's Nodes made nodes send to it
    assert_eq!(
        stage.names(GREEN),
        ["node-10-245-1-0", "node-10-245-2-0", "selvedge-between-10-244-1-0-24", "selvedge-between-10-244-2-0-24"]
    );
    without_server_and_rights_all_goes_on(&mut stage);
    what_nodes_say_is_the_map_within_a_second(&stage);
    too_many_nodes_cannot_go_at_once(&stage);
    // the end of the gateway: nodes are no longer told to send to it
    stage.net.stop();
    assert_eq!(stage.names(GREEN), ["node-10-245-2-0"]);
    assert_eq!(stage.names(BLUE), ["node-10-244-2-0"]);
    println!("done after {:?}", began.elapsed());
}

/// Green's server is killed, and what its source could go on from forgotten; blue's denies everything. Nothing is lost,
/// and what changes afterwards counts.
fn without_server_and_rights_all_goes_on(stage: &mut Stage) {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let t = stage.net.t.clone();
    let (routes, green) = (stage.routes(), &t.green.nodes);
    let steady = Steady::start(&stage.net, 2_000);
    stage.servers[GREEN].kill();
    stage.with(BLUE, async |admin| {
        for role in ["reader", "herald"] {
            admin.delete(&format!("{RBAC}/selvedge-{role}")).await;
        }
    });
    // versions that green's server has not seen, and then all before them gone
    stage.with(BLUE, async |admin| {
        for name in ["one", "two"] {
            admin.create("/api/v1/namespaces", &json!({ "metadata": { "name": name } })).await;
        }
    });
    t.gateway.run(|| stage.etcd.compact()).unwrap();
    let rule = r#"apiGroups [\"\"], resources [\"nodes\"], verbs [\"list\"]"#;
    let says = |log: &str| log.contains("403") && (log.contains(rule) || log.contains(&rule.replace('\\', "")));
    assert!(until(2 * RECOVERY, || says(&stage.net.log())), "no word of what is denied:\n{}", stage.net.log());
    sleep(outage());
    assert_eq!(stage.routes(), routes);

    let start = |command| stage.starter.start(command);
    let server = &mut stage.servers[GREEN];
    server.run(&start);
    in_place(&t.gateway, async || server.ready().await);
    stage.with(BLUE, async |admin| {
        let (reader, herald) = manifest();
        admin.apply(reader).await;
        admin.apply(herald).await;
    });
    let began = Instant::now();
    stage.leave(GREEN, &green[0]);
    let more = |cluster: &Cluster, node: &Node, cidr: &str| {
        let mut object = object(cluster, node, cidr);
        object["metadata"]["name"] = "more".into();
        object
    };
    stage.with(BLUE, async |admin| _ = admin.create(NODES, &more(&t.blue, &t.blue.nodes[0], "10.244.77.0/24")).await);
    stage.with(GREEN, async |admin| {
        _ = admin.create(NODES, &more(&t.green, &green[1], "10.245.77.0/24")).await;
    });
    let there = || stage.routes() == routes + 1.0 && !reach(&t.blue.nodes[0].pod, &green[0].pod);
    assert!(until(RECOVERY, there), "{} of {routes} + 1\n{}", stage.routes(), stage.net.log());
    println!("changes of both are in force {:?} after they were made", began.elapsed());
    steady.finish(&stage.net, &["no_route"]);
    for cluster in [BLUE, GREEN] {
        stage.with(cluster, async |admin| admin.delete(&format!("{NODES}/more")).await);
    }
    assert!(until(SOON, || stage.routes() == routes - 1.0), "{}\n{}", stage.routes(), stage.net.log());
}

/// Green's first node, which is not there, comes, changes in every way and goes; blue's first sends to it all the time.
fn what_nodes_say_is_the_map_within_a_second(stage: &Stage) {
    let t = &stage.net.t;
    let node = &t.green.nodes[0];
    let flow = load(&t.blue.nodes[0].pod, &node.pod, 500);
    sleep(Duration::from_millis(300));
    assert_eq!(flow.counts().received, 0);
    let arrive = |what: &str, change: &dyn Fn()| arrive_after(&stage.net, &flow, what, change);
    arrive("joins", &|| stage.join(GREEN, &[node]));
    // it is set up anew: another MAC
    let mac: Mac = "02:00:00:00:77:01".parse().unwrap();
    run_in(&node.ns, &["ip", "link", "set", "flannel.7", "address", &mac.to_string()]);
    sleep(Duration::from_millis(100));
    arrive("has another MAC", &|| stage.annotate(GREEN, node, "backend-data", &backend(&t.green, mac)));
    // another address on the underlay
    let moved = "192.0.2.29";
    run_in(&node.ns, &["ip", "address", "add", &format!("{moved}/24"), "dev", "eth0"]);
    run_in(&node.ns, &["ip", "address", "delete", &format!("{}/24", node.vtep), "dev", "eth0"]);
    run_in(&node.ns, &["ip", "address", "replace", &format!("{moved}/24"), "dev", "eth0"]);
    sleep(Duration::from_millis(100));
    arrive("moves", &|| stage.annotate(GREEN, node, "public-ip", moved));
    let routes = stage.routes();
    stage.leave(GREEN, node);
    assert!(until(SOON, || stage.routes() == routes - 1.0), "a node that leaves: not within a second");
    // it comes again with other pods: a pod CIDR changes only with the Node
    let other = format!("{}/25", node.prefix.addr());
    let mut object = object(&t.green, node, &other);
    object["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-data"] = backend(&t.green, mac).into();
    object["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"] = moved.into();
    arrive("has another pod CIDR", &|| stage.with(GREEN, async |admin| _ = admin.create(NODES, &object).await));
    stage.leave(GREEN, node);
    assert!(until(SOON, || stage.routes() == routes - 1.0), "a node that leaves: not within a second");
    let last = flow.stop();
    assert!(last.received > 25 && last.lost > 0 && last.corrupt == 0, "{last:?}");
}

/// Of blue's three nodes one has gone within this minute: a second one would be more than half of them.
fn too_many_nodes_cannot_go_at_once(stage: &Stage) {
    let (t, routes) = (&stage.net.t, stage.routes());
    let node = &t.blue.nodes[0];
    stage.leave(BLUE, node);
    assert!(until(SOON, || stage.net.log().contains("held back")), "{}", stage.net.log());
    assert_eq!(stage.routes(), routes);
    assert!(reach(&t.native, &node.pod) && reach(&t.green.nodes[1].pod, &node.pod));
}
