//! Two clusters of flannel on one etcd, and the gateway between them with no route in its file: what the keys say is
//! the map, and the gateway's own keys are all that makes nodes send to it.

#[path = "support/netns.rs"]
mod netns;
#[path = "support/pods.rs"]
mod pods;
#[path = "support/steady.rs"]
mod steady;

use std::fs;
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, Txn, TxnOp};
use netns::{Net, output_in, run_in, until};
use pods::{all_reach_each_other, arrive_after, reach};
use selvedge::lab::traffic::ping;
use selvedge::lab::{Cluster, EtcdServer, Flanneld, Host, Node, Process};
use selvedge::wire::Mac;
use steady::{SOON, Steady, load, outage, reload};

/// The network, an etcd in the gateway's namespace, and a flanneld on every node.
struct Stage {
    net: Net,
    server: EtcdServer,
    etcd: Option<Process>,
    _flannelds: [Flanneld; 2],
}

fn prefix(cluster: &Cluster) -> String {
    format!("/{}/network", cluster.name)
}

fn key(cluster: &Cluster, subnet: &str) -> String {
    format!("{}/subnets/{}", prefix(cluster), subnet.replace('/', "-"))
}

/// The key and the value that a node's flanneld writes.
fn lease(cluster: &Cluster, subnet: &str, node: &Node, mac: Mac) -> (String, String) {
    let data = format!(r#"{{"VNI":{},"VtepMAC":"{mac}"}}"#, cluster.vni);
    let value =
        format!(r#"{{"PublicIP":"{}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}"#, node.vtep);
    (key(cluster, subnet), value)
}

impl Stage {
    /// Nothing but the networks' configurations is in etcd. `blue` and `green` are what [[source]] has besides.
    fn new(tag: &str, [blue, green]: [&str; 2]) -> Option<Self> {
        let mut net = Net::learning(tag)?;
        let dir = net.room().join("etcd");
        fs::create_dir(&dir).unwrap();
        let mut server = EtcdServer::new(&dir, "127.0.0.1:2379".parse().unwrap(), "127.0.0.1:2380".parse().unwrap());
        server.more.push("--quota-backend-bytes=1000000000".into());
        let etcd = Some(server.start(Some(&net.t.gateway)).unwrap());
        for (cluster, more) in net.t.clusters().into_iter().zip([blue, green]) {
            net.config += &format!(
                "\n[[source]]\nname = \"{0}-etcd\"\noverlay = \"{0}\"\nkind = \"flannel-etcd\"\n\
                 endpoints = [\"{1}\"]\nprefix = \"{2}\"\n{more}\n",
                cluster.name,
                server.endpoint(),
                prefix(cluster)
            );
        }
        let flannelds = net
            .t
            .clusters()
            .map(|cluster| Flanneld::start(&net.t.gateway, server.endpoint(), prefix(cluster), cluster));
        let stage = Self { net, server, etcd, _flannelds: flannelds };
        stage.configure();
        Some(stage)
    }

    fn configure(&self) {
        let conf = |c: &Cluster| {
            let backend = format!(r#"{{"Type":"vxlan","VNI":{},"Port":{}}}"#, c.vni, c.udp_port);
            (format!("{}/config", prefix(c)), format!(r#"{{"Network":"{}","Backend":{backend}}}"#, c.pods))
        };
        self.put(self.net.t.clusters().map(conf));
    }

    /// What a command says of the running gateway, and whether it succeeds.
    fn ask(&self, words: &[&str]) -> (bool, String) {
        let path = self.net.config_path();
        let command = [&[env!("CARGO_BIN_EXE_selvedge")], words, &["--config", path.to_str().unwrap()]].concat();
        let Output { status, stdout, stderr } = output_in(&self.net.t.gateway, &command);
        (status.success(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// The operator is told what is held back and where it came from, and says that it is meant.
    fn somebody_accepts(&self, pod: &Host) {
        let held = || self.net.scrape().sum("selvedge_source_held", &[("source", "blue-etcd")]);
        assert!(held() > 0.0);
        let (well, said) = self.ask(&["show", "sources"]);
        assert!(well && said.contains("blue-etcd (overlay blue): in step"), "{said}");
        assert!(said.contains("if that is meant: selvedge accept blue-etcd"), "{said}");
        let (well, said) = self.ask(&["explain", &pod.address.to_string()]);
        let source = "said by blue-etcd (subnets/10.244.1.0-24), preference 100: decides";
        assert!(well && said.contains("overlay `blue`, node ") && said.contains(source), "{said}");
        let (well, said) = self.ask(&["explain", "203.0.113.1"]);
        assert!(well && said.contains("dropped as no_route"), "{said}");
        let (well, said) = self.ask(&["accept", "blue"]);
        assert!(!well && said.contains("there are: blue-etcd, green-etcd"), "{said}");
        let routes = self.routes();
        let (well, said) = self.ask(&["accept", "blue-etcd"]);
        assert!(well && said.contains("accepted"), "{said}");
        assert!(until(SOON, || held() == 0.0 && self.routes() < routes), "{}", self.net.log());
        let (_, said) = self.ask(&["explain", &pod.address.to_string()]);
        assert!(said.contains("no_route"), "{said}");
    }

    /// Does something with etcd, from where it is.
    fn with_etcd<T: Send>(&self, work: impl AsyncFnOnce(Client) -> T + Send) -> T {
        let endpoint = self.server.endpoint();
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { work(Client::connect([&endpoint], None).await.unwrap()).await })
        };
        self.net.t.gateway.run(run).unwrap()
    }

    fn put(&self, all: impl IntoIterator<Item = (String, String)>) {
        let all: Vec<_> = all.into_iter().map(|(key, value)| TxnOp::put(key, value, None)).collect();
        self.with_etcd(async |mut client| {
            for some in all.chunks(128) {
                client.txn(Txn::new().and_then(some)).await.unwrap();
            }
        });
    }

    fn delete(&self, key: String) {
        self.with_etcd(async |mut client| _ = client.delete(key, None).await.unwrap());
    }

    fn keys(&self, prefix: String) -> Vec<String> {
        self.with_etcd(async |mut client| {
            let all = client.get(prefix, Some(GetOptions::new().with_prefix())).await.unwrap();
            all.kvs().iter().map(|kv| kv.key_str().unwrap().to_owned()).collect()
        })
    }

    /// These nodes' flannelds get their leases.
    fn join<'a>(&self, nodes: impl IntoIterator<Item = (&'a Cluster, &'a Node)>) {
        self.put(nodes.into_iter().map(|(c, node)| lease(c, &node.prefix.to_string(), node, node.vtep_mac)));
    }

    fn routes(&self) -> f64 {
        self.net.scrape().sum("selvedge_routes", &[])
    }

    /// All nodes' leases are there, and all pods reach each other and the native host.
    fn whole(&mut self) {
        let t = self.net.t.clone();
        self.join(t.clusters().into_iter().flat_map(|c| c.nodes.iter().map(move |node| (c, node))));
        self.net.start();
        all_reach_each_other(&self.net);
    }
}

/// Packets an interface of the namespace that it is called in has received.
fn received_by(link: &str) -> u64 {
    let all = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = all.lines().find_map(|line| line.trim().strip_prefix(link)?.strip_prefix(':')).unwrap();
    // bytes, packets, …
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Blue's nodes are told of all of green's network, and of the native one; green's of whatever is imported.
const BOTH: [&str; 2] = ["advertise = [\"10.245.0.0/16\", \"10.9.0.0/24\"]", "advertise = \"imported\""];

#[test]
fn what_etcd_says_is_the_map_within_a_second() {
    let Some(mut stage) = Stage::new("etcd", BOTH) else { return };
    let t = stage.net.t.clone();
    let (blue, green) = (&t.blue.nodes, &t.green.nodes);
    stage.join([(&t.blue, &blue[0]), (&t.blue, &blue[1]), (&t.green, &green[1])]);
    stage.net.start();
    let soon =
        until(Duration::from_secs(8), || reach(&blue[0].pod, &green[1].pod) && reach(&green[1].pod, &blue[1].pod));
    assert!(soon, "{}", stage.net.log());
    // only the gateway's keys made nodes send to it
    let ours = stage.keys(key(&t.green, ""));
    assert_eq!(ours, ["10.244.1.0/24", "10.244.2.0/24", "10.245.2.0/24"].map(|subnet| key(&t.green, subnet)));

    let flow = load(&blue[0].pod, &green[0].pod, 500);
    sleep(Duration::from_millis(300));
    assert_eq!(flow.counts().received, 0);
    let arrive = |what: &str, change: &dyn Fn()| arrive_after(&stage.net, &flow, what, change);
    arrive("joins", &|| stage.join([(&t.green, &green[0])]));
    // it is set up anew: another MAC
    let mac: Mac = "02:00:00:00:77:01".parse().unwrap();
    run_in(&green[0].ns, &["ip", "link", "set", "flannel.7", "address", &mac.to_string()]);
    sleep(Duration::from_millis(100));
    arrive("moves", &|| stage.put([lease(&t.green, "10.245.1.0/24", &green[0], mac)]));
    let routes = stage.routes();
    stage.delete(key(&t.green, "10.245.1.0/24"));
    assert!(until(SOON, || stage.routes() == routes - 1.0), "a node that leaves: not within a second");
    let last = flow.stop();
    assert!(last.received > 10 && last.lost > 0 && last.corrupt == 0, "{last:?}");

    // the end of the gateway: nodes are no longer told to send to it, unless that is to outlast a restart
    let stays = stage.net.config.replace(BOTH[1], &format!("{}\nderegister_on_stop = false", BOTH[1]));
    reload(&mut stage.net, &stays);
    stage.net.stop();
    assert_eq!(stage.keys(key(&t.green, "")), ours);
    assert_eq!(stage.keys(key(&t.blue, "")), ["10.244.1.0/24", "10.244.2.0/24"].map(|subnet| key(&t.blue, subnet)));
}

#[test]
fn without_etcd_all_goes_on_and_what_it_says_on_return_counts() {
    let Some(mut stage) = Stage::new("etcdaway", BOTH) else { return };
    stage.whole();
    let t = stage.net.t.clone();
    let (blue, green) = (&t.blue.nodes, &t.green.nodes);
    // kept on disk
    sleep(Duration::from_millis(1500));

    let steady = Steady::start(&stage.net, 4_000);
    stage.etcd = None;
    sleep(outage());
    steady.finish(&stage.net, &[]);
    let routes = stage.routes();

    stage.net.kill();
    let began = Instant::now();
    stage.net.start();
    assert!(until(SOON, || reach(&blue[0].pod, &green[0].pod)), "{}", stage.net.log());
    println!("without etcd, from the start of the process to the first packet: {:?}", began.elapsed());
    assert_eq!(stage.routes(), routes);

    let steady = Steady::start(&stage.net, 4_000);
    stage.etcd = Some(stage.server.start(Some(&t.gateway)).unwrap());
    let began = Instant::now();
    stage.delete(key(&t.green, "10.245.1.0/24"));
    stage.put([lease(&t.blue, "10.244.77.0/24", &blue[1], blue[1].vtep_mac)]);
    run_in(&blue[1].pod.ns, &["ip", "address", "add", "10.244.77.2/32", "dev", "eth0"]);
    run_in(&blue[1].ns, &["ip", "route", "add", "10.244.77.0/24", "via", &blue[1].pod.address.to_string()]);
    let there =
        || ping(&green[1].pod.ns, "10.244.77.2".parse::<std::net::IpAddr>().unwrap(), 1, 56).unwrap().complete();
    assert!(until(Duration::from_secs(5), there), "{}", stage.net.log());
    println!("changes are in force {:?} after etcd is back", began.elapsed());
    assert!(until(SOON, || stage.routes() == routes), "one came, one went");
    steady.finish(&stage.net, &[]);

    // an etcd that lost everything is heard, and takes nothing away
    stage.etcd = None;
    fs::remove_dir_all(stage.server.dir.join("data")).unwrap();
    stage.etcd = Some(stage.server.start(Some(&t.gateway)).unwrap());
    let registered = || !stage.keys(key(&t.blue, "")).is_empty() && !stage.keys(key(&t.green, "")).is_empty();
    assert!(until(Duration::from_secs(10), registered), "{}", stage.net.log());
    sleep(Duration::from_secs(1));
    assert_eq!(stage.routes(), routes);
    assert!(reach(&blue[0].pod, &green[1].pod) && reach(&green[1].pod, &blue[1].pod) && reach(&t.native, &blue[0].pod));

    stage.somebody_accepts(&blue[0].pod);
    stage.net.stop();
}

#[test]
fn a_hundred_thousand_prefixes() {
    const ALL: usize = 100_000;
    const CHANGED: usize = 10_000;
    let Some(mut stage) = Stage::new("etcdmany", ["", ""]) else { return };
    let t = stage.net.t.clone();
    let (one, two) = (&t.blue.nodes[0], &t.blue.nodes[1]);
    let subnet = |n: usize| format!("{}.{}.{}.0/24", 20 + (n >> 16), n >> 8 & 0xff, n & 0xff);
    let many = |range: std::ops::Range<usize>, node: &Node| {
        range.map(|n| lease(&t.blue, &subnet(n), node, node.vtep_mac)).collect::<Vec<_>>()
    };
    // nobody plays flanneld here: nodes are told of nobody else
    stage._flannelds =
        stage.net.t.clusters().map(|c| Flanneld::start(&t.gateway, "http://127.0.0.1:1".into(), "/x".into(), c));
    stage.put(many(0..ALL, one));
    stage.join([(&t.blue, one)]);
    // an address in the last prefix, on both nodes: whoever is asked answers
    let last = subnet(CHANGED - 1).replace("0/24", "9");
    for node in [one, two] {
        run_in(&node.ns, &["ip", "address", "add", &format!("{last}/32"), "dev", "pod0"]);
        // answers go back through the gateway
        node.ns.fdb("flannel.1", t.blue.gateway_mac, t.gateway_vtep).unwrap();
        node.ns.neighbour("flannel.1", t.blue.gateway_address, t.blue.gateway_mac).unwrap();
        node.ns.route_onlink(t.native_prefix, t.blue.gateway_address, "flannel.1").unwrap();
    }
    t.native.ns.route("20.0.0.0/7".parse().unwrap(), t.gateway_access).unwrap();
    let began = Instant::now();
    stage.net.start();
    let ready = began.elapsed();
    let there = || ping(&t.native.ns, last.parse::<std::net::Ipv4Addr>().unwrap(), 1, 56).unwrap().complete();
    // about one second on a quiet machine of two cores; how long it took is printed
    let all = || there() && stage.routes() == (ALL + 2) as f64;
    assert!(until(Duration::from_secs(10), all), "{}: not within ten seconds\n{}", stage.routes(), stage.net.log());
    println!("ready {ready:?} after the start, {ALL} prefixes of etcd in use {:?} after that", began.elapsed() - ready);

    let steady = load(&t.native, &one.pod, 4_000);
    let changes = many(0..CHANGED, two);
    let received = |node: &Node| node.ns.run(|| received_by("flannel.1")).unwrap();
    stage.put(changes);
    let began = Instant::now();
    let before = received(two);
    assert!(until(SOON, || there() && received(two) > before), "not within a second\n{}", stage.net.log());
    println!("{CHANGED} changed prefixes in use {:?} after the last was written", began.elapsed());
    let counts = steady.stop();
    assert!(counts.sent > 0 && counts.lost == 0 && counts.corrupt == 0, "{counts:?}");
    stage.net.stop();
}
