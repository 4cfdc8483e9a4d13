//! The same packets into the kernel's VTEP and into ours: what comes out must be the same, but for what the last column
//! of the conformance table allows.
//!
//! Two networks of the same shape and with the same addresses, one with the kernel as its gateway. A hundred thousand
//! packets, mutated field by field, enter both by the underlay; those that come out to the native host are compared
//! byte by byte. So are a fifth as many that come out to another VTEP, but for what a VTEP may choose. `SELVEDGE_DIFFERENTIAL_SEED` and `SELVEDGE_DIFFERENTIAL_PACKETS` choose others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

#[path = "differential/allowed.rs"]
mod allowed;
#[path = "support/dice.rs"]
mod dice;
#[path = "differential/draft.rs"]
mod draft;
#[path = "differential/mutate.rs"]
mod mutate;
#[path = "support/netns.rs"]
mod netns;
#[path = "differential/onward.rs"]
mod onward;
#[path = "support/tap.rs"]
mod tap;

use allowed::Difference;
use dice::{Dice, number};
use draft::{Checksum, Draft, Header};
use mutate::MUTATIONS;
use netns::{Net, until};
use selvedge::lab::{Family, Namespace, Shape};
use tap::Tap;

/// Packets that are under way at once.
const BATCH: usize = 256;
/// How long the last packet of a batch may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where the packets are sent to.
const PORT: u16 = 5555;
/// The packet that ends a batch.
const LAST: u16 = 0xffff;

/// Where packets are to come out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Of the tunnel, to the native host.
    Decap,
    /// Of the tunnel, into another, to green's first node.
    Transit,
}

/// One of the two gateways: where packets enter it, and where they come out.
struct Side {
    net: Net,
    underlay: Tap,
    native: Tap,
    green: Tap,
    /// Where the packets are sent to, so that nobody complains.
    _sinks: [UdpSocket; 2],
}

impl Side {
    fn new(net: Net) -> Self {
        let underlay = Tap::open(&net.t.fabric, "gw");
        let [native, green] = [&net.t.native.ns, &net.t.green.nodes[0].ns].map(|ns| Tap::open(ns, "eth0"));
        // of both families (Linux: net.ipv6.bindv6only is off)
        let sink = |ns: &Namespace| ns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT))).unwrap().unwrap();
        let sinks = [&net.t.native.ns, &net.t.green.nodes[0].pod.ns].map(sink);
        Self { net, underlay, native, green, _sinks: sinks }
    }

    /// What has come out since the last call, and what of it is to be the same whoever the gateway is.
    fn take(&self, way: Way) -> Vec<Vec<u8>> {
        match way {
            Way::Decap => self.native.take(),
            Way::Transit => self.green.take().iter().filter_map(|frame| onward::fixed(frame)).collect(),
        }
    }

    /// Waits until neighbours know each other, and packets come through.
    fn warm_up(&self, way: Way, sound: &Draft) {
        let passes = || {
            sound.frames().iter().for_each(|frame| self.underlay.send(frame));
            !self.take(way).is_empty()
        };
        assert!(until(PATIENCE, passes), "{}: nothing comes through", self.net.t.gateway.name());
        thread::sleep(Duration::from_millis(100));
    }

    /// Sends a batch, and returns what came out, by the identification of inner packets.
    fn through(&self, way: Way, batch: &[Draft], last: &Draft) -> BTreeMap<u16, Vec<Vec<u8>>> {
        let mut out: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
        self.take(way);
        for frame in batch.iter().chain([last]).flat_map(Draft::frames) {
            self.underlay.send(&frame);
        }
        let deadline = Instant::now() + PATIENCE;
        while !out.contains_key(&LAST) {
            assert!(Instant::now() < deadline, "{}: the packet that ends a batch is lost", self.net.t.gateway.name());
            for frame in self.take(way) {
                let inner = if way == Way::Decap { &frame } else { onward::inner(&frame) };
                if let Some(id) = identification(inner, last.inner.src) {
                    out.entry(id).or_default().push(frame);
                }
            }
        }
        out
    }
}

/// IPv4's identification or the low bits of IPv6's flow label, in packets from this address; nothing in others, by which
/// the kernels find each other.
fn identification(frame: &[u8], from: IpAddr) -> Option<u16> {
    let (ethertype, id, source) = match from {
        IpAddr::V4(from) => ([0x08, 0x00], 18, (26, from.octets().to_vec())),
        IpAddr::V6(from) => ([0x86, 0xdd], 16, (22, from.octets().to_vec())),
    };
    let ours = frame.get(12..14)? == ethertype && frame.get(source.0..)?.starts_with(&source.1);
    ours.then(|| u16::from_be_bytes([frame[id], frame[id + 1]]))
}

/// A sound packet of blue's pod to the native host, or to green's pod.
fn sound(net: &Net, way: Way, inner: Family) -> Draft {
    let to = if way == Way::Decap { &net.t.native } else { &net.t.green.nodes[0].pod };
    let (node, gateway) = (&net.t.blue.nodes[0], net.t.blue.gateway_mac.0);
    let vni = net.t.blue.vni.get().to_be_bytes();
    let mut draft = Draft {
        link: (net.t.gateway.mac("ul0").unwrap().0, node.ns.mac("eth0").unwrap().0),
        outer: Header::new(node.vtep, net.t.gateway_vtep, 17),
        ports: (50_000, net.t.blue.udp_port),
        udp_length_off: 0,
        udp_checksum: if node.vtep.is_ipv4() { Checksum::Zero } else { Checksum::Right },
        vxlan: [8, 0, 0, 0, vni[1], vni[2], vni[3], 0],
        inner_link: (gateway, node.vtep_mac.0),
        tags: Vec::new(),
        ethertype: None,
        inner: Header::new(node.pod.at(inner).unwrap(), to.at(inner).unwrap(), 17),
        data: (0..64).map(|n: u8| n.wrapping_mul(37)).collect(),
        inner_padding: 0,
        padding: 0,
        inner_cut: None,
        cut: None,
        split: None,
    };
    draft.inner.fragment = 0;
    draft
}

/// A packet to be tried, and what was done to it.
struct Case {
    draft: Draft,
    done: String,
}

impl Case {
    /// Up to three mutations; now and then none.
    fn new(sound: &Draft, dice: &mut Dice) -> Self {
        let (mut draft, mut done) = (sound.clone(), Vec::new());
        for _ in 0..dice.below(4) {
            let (name, mutation) = dice.pick(&MUTATIONS);
            mutation(&mut draft, dice);
            done.push(name);
        }
        Self { draft, done: done.join(", ") }
    }
}

/// What the comparison has found.
#[derive(Default)]
struct Findings {
    /// Let through by both, dropped by both.
    passed: u64,
    dropped: u64,
    /// Differences that a row of the table explains.
    allowed: BTreeMap<u8, u64>,
    /// Tried again, since what was sent first did not arrive on one side.
    repeated: u64,
    wrong: Vec<String>,
}

struct Trial<'a> {
    kernel: &'a Side,
    gateway: &'a Side,
    way: Way,
    peers: Vec<IpAddr>,
    last: Draft,
    /// Of outer packets: no two that are under way share one.
    outer_id: u16,
    findings: Findings,
}

impl Trial<'_> {
    fn batch(&mut self, cases: &mut [Case]) {
        for (n, case) in cases.iter_mut().enumerate() {
            self.outer_id = self.outer_id.wrapping_add(1);
            (case.draft.inner.id, case.draft.outer.id) = (n as u16, self.outer_id);
        }
        let drafts: Vec<Draft> = cases.iter().map(|case| case.draft.clone()).collect();
        let [kernel, gateway] = [self.kernel, self.gateway].map(|side| side.through(self.way, &drafts, &self.last));
        for (n, case) in cases.iter_mut().enumerate() {
            let id = n as u16;
            let found = [&kernel, &gateway].map(|out| out.get(&id).cloned().unwrap_or_default());
            self.judge(case, found, 0);
        }
    }

    /// Compares what came out on both sides. A difference counts if it shows a second time.
    fn judge(&mut self, case: &mut Case, [kernel, gateway]: [Vec<Vec<u8>>; 2], tries: u32) {
        let difference = match (kernel.is_empty(), gateway.is_empty()) {
            _ if kernel == gateway => {
                let count = if kernel.is_empty() { &mut self.findings.dropped } else { &mut self.findings.passed };
                return *count += 1;
            }
            (false, true) => Difference::KernelPasses,
            (true, false) => Difference::GatewayPasses,
            _ => Difference::Bytes,
        };
        if let Some(row) = allowed::row(&case.draft, difference, &self.peers) {
            return *self.findings.allowed.entry(row).or_default() += 1;
        }
        if tries == 0 {
            self.findings.repeated += 1;
            self.outer_id = self.outer_id.wrapping_add(1);
            case.draft.outer.id = self.outer_id;
            let again = [self.kernel, self.gateway].map(|side| {
                let out = side.through(self.way, std::slice::from_ref(&case.draft), &self.last);
                out.get(&case.draft.inner.id).cloned().unwrap_or_default()
            });
            return self.judge(case, again, tries + 1);
        }
        let hex = |frames: &[Vec<u8>]| frames.iter().map(|f| format!("\n      {}", bytes(f))).collect::<String>();
        self.findings.wrong.push(format!(
            "{}\n    sent{}\n    kernel{}\n    gateway{}",
            case.done,
            hex(&case.draft.frames()),
            hex(&kernel),
            hex(&gateway)
        ));
    }
}

fn bytes(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn over_ipv4_they_differ_only_where_the_table_says() {
    tried(Family::V4);
}

#[test]
fn over_ipv6_they_differ_only_where_the_table_says() {
    tried(Family::V6);
}

/// Both inner families over this underlay.
fn tried(underlay: Family) {
    let packets = number("SELVEDGE_DIFFERENTIAL_PACKETS", 100_000);
    let seed = number("SELVEDGE_DIFFERENTIAL_SEED", 0x5e1f_ed6e);
    let shape = Shape { underlay, dual_stack: true, ..Shape::default() };
    let Some(kernel) = Net::shaped("diffkernel", shape) else { return };
    kernel.t.kernel_gateway().unwrap();
    // pieces whose others never come wait half a minute; without room for more, the kernel stops to put any together
    kernel.t.gateway.sysctl("net.ipv4.ipfrag_high_thresh", &(256 << 20).to_string()).unwrap();
    let mut net = Net::shaped("diffours", shape).expect("the other one was made");
    // the kernel asks nobody whose address a pod speaks from
    net.edit("udp_port = 8472", "udp_port = 8472\nsource_check = false");
    net.start();
    let sides = [Side::new(kernel), Side::new(net)];
    for (way, packets) in [(Way::Decap, packets), (Way::Transit, packets / 5)] {
        for inner in [Family::V4, Family::V6] {
            let found = compare(&sides, way, inner, packets, seed);
            println!("{packets} packets of {inner:?} over {underlay:?} ({way:?}) from seed {seed}:");
            judged(&found, packets);
        }
    }
    let [_, ours] = sides;
    ours.net.finish();
}

/// Nothing differs but what the table says, and of that everything was met.
fn judged(found: &Findings, packets: u64) {
    let Findings { passed, dropped, allowed, repeated, wrong } = found;
    println!("{passed} passed both, {dropped} neither; differences by row {allowed:?}; {repeated} tried again");
    assert!(wrong.is_empty(), "{} differences:\n  {}", wrong.len(), first(wrong).join("\n  "));
    assert!(passed.min(dropped) * 5 > packets, "the packets do not try both");
    assert!([2, 7, 11, 12, 13].iter().all(|row| allowed.contains_key(row)), "not all known differences were met");
    assert!(repeated * 100 < packets, "one side loses packets");
}

fn first(wrong: &[String]) -> &[String] {
    &wrong[..wrong.len().min(20)]
}

fn compare([kernel, gateway]: &[Side; 2], way: Way, inner: Family, packets: u64, seed: u64) -> Findings {
    let sound = sound(&gateway.net, way, inner);
    let mut last = sound.clone();
    last.inner.id = LAST;
    [kernel, gateway].into_iter().for_each(|side| side.warm_up(way, &sound));
    let peers = gateway.net.t.blue.nodes.iter().map(|node| node.vtep).collect();
    let mut dice = Dice(seed);
    let mut trial = Trial { kernel, gateway, way, peers, last, outer_id: 0, findings: Findings::default() };
    let mut done = 0;
    while done < packets {
        let mut cases: Vec<Case> = (0..BATCH).map(|_| Case::new(&sound, &mut dice)).collect();
        trial.batch(&mut cases);
        done += cases.len() as u64;
    }
    // each byte of a sound packet may be the last one
    let mut cut: Vec<Case> = (15..sound.frames()[0].len())
        .map(|n| Case { draft: Draft { cut: Some(n), ..sound.clone() }, done: format!("cut at {n}") })
        .collect();
    trial.batch(&mut cut);
    trial.findings
}
