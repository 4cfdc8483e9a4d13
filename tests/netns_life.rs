//! A gateway's life beside its traffic: what it costs when idle, how it ends, why it does not start, and `check`.

#[path = "support/netns.rs"]
mod netns;
#[path = "support/steady.rs"]
mod steady;

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netns::{Net, output_in, run_in, until};
use rustix::process::Signal;
use selvedge::lab::Namespace;
use steady::{Steady, drops, load};

const PROGRAM: &str = env!("CARGO_BIN_EXE_selvedge");

/// USER_HZ: what /proc counts time in, 100 on x86 and ARM.
const TICKS: f64 = 100.0;

/// The part of a core that a process uses, over two seconds.
fn load_of(pid: u32) -> f64 {
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // after the name: state is the first field, utime the 12th, stime the 13th (proc_pid_stat(5))
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let (before, began) = (ticks(), Instant::now());
    sleep(Duration::from_secs(2));
    (ticks() - before) as f64 / TICKS / began.elapsed().as_secs_f64()
}

#[test]
fn an_idle_gateway_sleeps_and_a_busy_one_does_not() {
    let Some(mut net) = Net::running("idle") else { return };
    sleep(Duration::from_millis(500));
    let idle = load_of(net.process().id());
    // traffic comes and goes: it goes back to sleep
    Steady::start(&net, 2_000).finish(&net, &[]);
    let again = load_of(net.process().id());
    println!("idle, adaptive: {:.1} % of a core; after traffic {:.1} %", idle * 100.0, again * 100.0);
    assert!(idle < 0.05 && again < 0.05, "{idle} {again}");
    net.stop();
    net.edit("poll = \"adaptive\"", "poll = \"busy\"");
    net.start();
    let busy = load_of(net.process().id());
    println!("idle, busy polling: {:.0} % of a core", busy * 100.0);
    assert!(busy > 0.3, "{busy}");
    net.stop();
}

#[test]
fn workers_have_their_cores_to_themselves() {
    let Some(mut net) = Net::running("cores") else { return };
    let tasks = fs::read_dir(format!("/proc/{}/task", net.process().id())).unwrap();
    let mut allowed: Vec<(String, String)> = Vec::new();
    for task in tasks.map(|task| task.unwrap().path()) {
        // one that has ended meanwhile has no cores
        let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_string();
        allowed.push((field("Name:"), field("Cpus_allowed_list:")));
    }
    let (workers, others): (Vec<_>, Vec<_>) = allowed.into_iter().partition(|(name, _)| name.starts_with("selvedge-w"));
    assert_eq!(workers.len(), 1, "{workers:?} {others:?}");
    let all = std::thread::available_parallelism().unwrap().get();
    let expected = |cores: &str| all == 1 || !list(cores).contains(&list(&workers[0].1)[0]);
    assert!(
        list(&workers[0].1).len() == 1 && others.iter().all(|(_, cores)| expected(cores)),
        "{workers:?} {others:?}"
    );
    net.stop();
}

/// Scheduling classes of the worker over a second, and how often each was seen: 0 for SCHED_OTHER, 1 for SCHED_FIFO.
fn classes(net: &mut Net) -> std::collections::BTreeMap<u32, u32> {
    let task = |id: &str, file| format!("/proc/{id}/task/{id}/{file}");
    let tasks = fs::read_dir(format!("/proc/{}/task", net.process().id())).unwrap();
    let mut ids = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let is_worker = |id: &String| fs::read_to_string(task(id, "comm")).is_ok_and(|c| c.starts_with("selvedge-w"));
    let worker = ids.find(is_worker).unwrap();
    let (began, mut seen) = (Instant::now(), std::collections::BTreeMap::new());
    while began.elapsed() < Duration::from_secs(1) {
        // the 41st field, the 39th after the name (proc_pid_stat(5))
        let stat = fs::read_to_string(task(&worker, "stat")).unwrap();
        let class = stat.rsplit(')').next().unwrap().split_whitespace().nth(38).unwrap().parse().unwrap();
        *seen.entry(class).or_default() += 1;
        sleep(Duration::from_micros(500));
    }
    seen
}

#[test]
fn a_real_time_worker_gives_way_if_it_never_sleeps() {
    let Some(mut net) = Net::running("duty") else { return };
    sleep(Duration::from_millis(500));
    let idle = classes(&mut net);
    assert!(idle.keys().eq(&[1]), "who sleeps gives way enough: {idle:?}");
    net.stop();
    net.edit("poll = \"adaptive\"", "poll = \"busy\"\nrealtime = \"on\"");
    net.start();
    let busy = classes(&mut net);
    assert!(busy.keys().eq(&[0, 1]) && busy[&0] < busy[&1], "{busy:?}");
    net.stop();
}

/// `0-2,5` as the kernel lists cores.
fn list(cores: &str) -> Vec<u32> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    };
    cores.split(',').flat_map(part).collect()
}

/// All there is to see of the interfaces the gateway touches, and of those across from them.
fn interfaces(net: &Net) -> Vec<String> {
    let native = &net.t.native.ns;
    let ports = [(&net.t.gateway, "ul0"), (&net.t.gateway, "ac0"), (&net.t.fabric, "gw"), (native, "eth0")];
    let mut seen = Vec::new();
    for (ns, port) in ports {
        for words in [&["ip", "-d", "-j", "link", "show", port][..], &["ethtool", "-k", port], &["ethtool", "-l", port]]
        {
            seen.push(run_in(ns, words));
        }
    }
    seen.push(run_in(&net.t.gateway, &["ip", "neigh", "show", "nud", "permanent"]));
    seen.push(run_in(&net.t.gateway, &["ip", "-d", "rule"]));
    seen.push(run_in(&net.t.gateway, &["ip", "route", "show", "table", "all"]));
    seen
}

/// Fails with the words that differ; a bridge's timers always do.
fn unchanged(before: &[String], after: &[String]) {
    let words = |text: &String| {
        let words = text.split([',', '\n']).filter(|word| !word.contains("_timer\""));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for (before, after) in before.iter().zip(after) {
        let (before, after) = (words(before), words(after));
        let (gone, new): (Vec<_>, Vec<_>) = (
            before.iter().filter(|w| !after.contains(w)).collect(),
            after.iter().filter(|w| !before.contains(w)).collect(),
        );
        assert!(gone.is_empty() && new.is_empty() && before == after, "{gone:?} became {new:?}");
    }
}

#[test]
fn sigterm_under_load_leaves_everything_as_it_was() {
    let Some(mut net) = Net::new("term") else { return };
    let before = interfaces(&net);
    for signal in [Signal::TERM, Signal::INT] {
        net.start();
        assert_ne!(interfaces(&net), before, "programs are attached");
        let load = Steady::start(&net, 8_000);
        sleep(Duration::from_millis(300));
        let began = Instant::now();
        net.process().signal(signal).unwrap();
        while net.process().exited().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(2), "it does not end");
            sleep(Duration::from_millis(5));
        }
        let took = began.elapsed();
        drop(load);
        println!("{signal:?} under load: ended after {took:?}");
        assert_eq!(net.programs(), [""; 0], "XDP programs left behind");
        unchanged(&before, &interfaces(&net));
        net.ended();
    }
}

/// What the program says and how it ends, within ten seconds.
fn program(ns: &Namespace, words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = output_in(ns, &[&["timeout", "10"], words].concat());
    assert_eq!(status.signal(), None);
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn a_start_that_fails_says_why_and_harms_nobody() {
    let Some(mut net) = Net::running("start") else { return };
    let t = net.t.clone();
    let room = net.room().to_owned();
    let file = |name: &str, text: &str| {
        let path = room.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let fails = |path: &str, code: i32, words: &[&str]| {
        let (exit, said) = program(&t.gateway, &[PROGRAM, "run", "--config", path]);
        assert_eq!(exit, Some(code), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "it does not say `{word}`:\n{said}"));
    };
    // a second one on the same interfaces, while the first works
    let load = Steady::start(&net, 2_000);
    let second = file("second.toml", &net.config.replace("9472", "9473"));
    fails(&second, 1, &["another process has an AF_XDP socket", "ul0"]);
    let missing = file("missing.toml", &net.config.replace("\"ac0\"", "\"ac7\""));
    fails(&missing, 3, &["ac7: there is no such interface", "mend: name one of", "ac0"]);
    load.finish(&net, &[]);
    net.stop();
    // nobody there, but the metrics' address is taken
    let taken = t.gateway.run(|| TcpListener::bind("127.0.0.1:9472")).unwrap().unwrap();
    let config = file("gateway.toml", &net.config);
    fails(&config, 1, &["127.0.0.1:9472", "in use"]);
    assert_eq!(net.programs(), [""; 0]);
    drop(taken);
    let bare = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", PROGRAM, "run", "--config", &config];
    let (exit, said) = program(&t.gateway, &bare);
    assert_eq!(exit, Some(3), "{said}");
    assert!(said.contains("CAP_NET_ADMIN") && said.contains("mend: "), "{said}");
    assert_eq!(net.programs(), [""; 0]);
}

#[test]
fn check_tells_by_its_exit_code_and_changes_nothing() {
    let Some(net) = Net::new("check") else { return };
    let t = net.t.clone();
    let before = interfaces(&net);
    let check = |text: &str| {
        let path = net.room().join("check.toml");
        fs::write(&path, text).unwrap();
        program(&t.gateway, &[PROGRAM, "check", "--config", path.to_str().unwrap()])
    };
    let (exit, said) = check(&net.config);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("this host can do it"), "{said}");
    let (exit, said) =
        check(&net.config.replace("vni = 7", "vni = \"seven\"").replace("udp_port = 8472", "udp_prt = 1"));
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("did you mean `udp_port`?") && said.contains("vni"), "all of it: {said}");
    let (exit, said) = check(&net.config.replace("\"ul0\"", "\"eth0\""));
    assert_eq!(exit, Some(3), "{said}");
    assert!(said.contains("mend: "), "{said}");
    let (exit, said) = check(&net.config.replace("count = 1", "count = 2"));
    assert_eq!(exit, Some(3), "{said}");
    let (exit, said) = program(&t.gateway, &[PROGRAM, "check", "--config", "/nonexistent"]);
    assert_eq!(exit, Some(2), "{said}");
    unchanged(&before, &interfaces(&net));
}

/// Nothing is steered to workers that do not know the way yet.
#[test]
fn a_start_under_load_drops_nothing() {
    let Some(mut net) = Net::new("underload") else { return };
    let t = net.t.clone();
    let load = load(&t.native, &t.blue.nodes[0].pod, 8_000);
    for _ in 0..4 {
        let before = load.counts().received;
        net.start();
        assert!(until(Duration::from_secs(2), || load.counts().received > before + 200));
        assert_eq!(drops(&net.scrape()), []);
        net.stop();
    }
}

#[test]
fn a_start_that_waits_for_neighbours_can_be_cut_short() {
    let Some(mut net) = Net::new("short") else { return };
    let before = interfaces(&net);
    net.edit("vtep = \"192.0.2.11\"", "vtep = \"192.0.2.99\"");
    net.launch();
    assert!(until(Duration::from_secs(5), || net.programs().len() == 2), "it does not start");
    let began = Instant::now();
    net.process().signal(Signal::TERM).unwrap();
    while net.process().exited().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_millis(500), "it waits for somebody who is not there");
        sleep(Duration::from_millis(5));
    }
    net.ended();
    assert_eq!(net.programs(), [""; 0], "XDP programs left behind");
    unchanged(&before, &interfaces(&net));
}
