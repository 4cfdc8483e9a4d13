//! Several nodes with one prefix: flows are spread over them and stay, and leave a node that is gone. And what one side of
//! the gateway may reach of another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use selvedge::lab::traffic::ping;
use selvedge::lab::{Host, Node};

#[path = "support/netns.rs"]
mod netns;
#[path = "support/steady.rs"]
mod steady;

use netns::{Net, run_in, until};
use steady::{SOON, drops};

/// What both nodes of the blue cluster have.
const SHARED: Ipv4Addr = Ipv4Addr::new(10, 244, 9, 5);
const PORT: u16 = 7007;
const FLOWS: u16 = 64;
/// For answers.
const PATIENCE: Duration = Duration::from_millis(300);
/// How the gateway's kernel asks for neighbours, so that one that falls silent is found out in seconds.
const SUSPICIOUS: [(&str, &str); 3] =
    [("base_reachable_time_ms", "400"), ("retrans_time_ms", "100"), ("delay_first_probe_time", "1")];
const FOUND_OUT: Duration = Duration::from_secs(8);

/// A pod that has the shared address, too, and answers each datagram there with a byte that names it.
fn share(node: &Node, name: u8) {
    let pod = node.pod.address.to_string();
    run_in(&node.pod.ns, &["ip", "address", "add", &format!("{SHARED}/32"), "dev", "lo"]);
    run_in(&node.ns, &["ip", "route", "add", &SHARED.to_string(), "via", &pod]);
    let socket = node.pod.ns.run(|| UdpSocket::bind((SHARED, PORT))).unwrap().unwrap();
    // it ends when the network is gone: nobody says anything to it any more
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    thread::spawn(move || {
        let mut room = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut room) {
            let _ = socket.send_to(&[name], from);
        }
    });
}

/// Flows, each by its source port.
struct Flows(Vec<UdpSocket>);

impl Flows {
    fn from(host: &Host) -> Self {
        let socket = |_| {
            let socket = host.ns.run(|| UdpSocket::bind((host.address, 0))).unwrap().unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect((SHARED, PORT)).unwrap();
            socket
        };
        Self((0..FLOWS).map(socket).collect())
    }

    /// Who answers each flow; no answer of before is taken for one of now.
    fn answers(&self) -> BTreeMap<usize, u8> {
        let mut answer = [0];
        for socket in &self.0 {
            while socket.recv(&mut answer).is_ok() {}
            socket.send(b"who").expect("every flow has a way");
        }
        let mut answers = BTreeMap::new();
        until(PATIENCE, || {
            for (n, socket) in self.0.iter().enumerate() {
                if socket.recv(&mut answer).is_ok() {
                    answers.insert(n, answer[0]);
                }
            }
            answers.len() == self.0.len()
        });
        answers
    }

    /// All of them are answered, by these.
    fn go_to(&self, who: &[u8]) -> bool {
        let answers = self.answers();
        answers.len() == self.0.len()
            && answers.values().copied().collect::<BTreeSet<_>>() == who.iter().copied().collect()
    }
}

/// The gateway learns from a directory that both blue nodes have the shared address.
fn with_shared_prefix(net: &mut Net) {
    let fragments = net.room().join("blue.d");
    fs::create_dir(&fragments).unwrap();
    let row = |node: &Node| {
        format!("[[peer]]\nvtep = \"{}\"\nmac = \"{}\"\nprefixes = [\"10.244.9.0/24\"]\n", node.vtep, node.vtep_mac)
    };
    fs::write(fragments.join("shared.toml"), net.t.blue.nodes.iter().map(row).collect::<String>()).unwrap();
    net.config += &format!(
        "\n[state]\ndirectory = \"{}\"\n[[source]]\nname = \"shared\"\noverlay = \"blue\"\nkind = \"directory\"\npath = \"{}\"\n",
        net.room().join("state").display(),
        fragments.display()
    );
}

#[test]
fn flows_are_spread_over_all_who_have_a_prefix_and_stay() {
    let Some(mut net) = Net::new("ecmp") else { return };
    with_shared_prefix(&mut net);
    let t = net.t.clone();
    for (knob, value) in SUSPICIOUS {
        t.gateway.sysctl(&format!("net.ipv4.neigh.ul0.{knob}"), value).unwrap();
    }
    t.blue.nodes.iter().zip(1..).for_each(|(node, name)| share(node, name));
    net.start();
    for from in [&t.native, &t.green.nodes[0].pod] {
        let flows = Flows::from(from);
        assert!(until(SOON, || flows.go_to(&[1, 2])), "{}: {:?}", from.ns.name(), flows.answers());
        let first = flows.answers();
        let share = first.values().filter(|who| **who == 1).count();
        // of 64 flows 32 are expected, and four standard deviations are 16
        assert!((16..=48).contains(&share), "{share} of {FLOWS}");
        (0..5).for_each(|_| assert_eq!(flows.answers(), first, "each flow stays where it is"));
    }
    let flows = Flows::from(&t.native);
    let before = flows.answers();
    // the second node is cut off: it does not answer any more, and its flows go to the first
    t.fabric.down("blue2").unwrap();
    assert!(until(FOUND_OUT, || flows.go_to(&[1])), "{:?}\n{}", flows.answers(), net.log());
    t.fabric.up("blue2").unwrap();
    assert!(until(FOUND_OUT, || flows.go_to(&[1, 2])), "{:?}\n{}", flows.answers(), net.log());
    assert_eq!(flows.answers(), before, "its own flows come back, and no others");
    net.ledger();
    net.finish();
}

#[test]
fn what_is_not_imported_cannot_be_reached() {
    let Some(mut net) = Net::new("imports") else { return };
    // green may reach the native side, and of blue one pod
    let [one, two] = [0, 1].map(|n| net.t.blue.nodes[n].pod.address);
    net.edit("name = \"green\"\n", &format!("name = \"green\"\nimport = [\"native\", \"{one}/32\"]\n"));
    net.start();
    let t = net.t.clone();
    let green = &t.green.nodes[0].pod;
    let reaches = |to: Ipv4Addr| ping(&green.ns, to, 2, 56).unwrap().complete();
    assert!(until(SOON, || reaches(t.native.address) && reaches(one)), "{}", net.log());
    assert!(!reaches(two));
    assert!(ping(&t.native.ns, two, 2, 56).unwrap().complete(), "others may");
    assert_eq!(drops(&net.ledger()), [("not_imported".to_string(), 2.0)]);
    // a reload takes the rule away
    net.edit("import = ", "# import = ");
    fs::write(net.config_path(), &net.config).unwrap();
    assert!(until(2 * SOON, || reaches(two)), "{}", net.log());
    net.finish();
}
