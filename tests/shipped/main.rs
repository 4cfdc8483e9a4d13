//! What ships, run as operators run it: the static binary as a service of a real systemd and in a container of a real
//! Docker engine, between kernel VXLAN nodes, by the very commands of the README.

#[path = "../support/netns.rs"]
mod netns;
#[path = "../support/steady.rs"]
mod steady;

mod machine;
mod names;
mod readme;

use std::io::Write as _;
use std::time::Duration;

use machine::Machine;
use netns::{Net, until};
use selvedge::lab::ACCESS_PORT;
use steady::{Steady, reloads};

/// Packets a second.
const RATE: u32 = 2_000;
/// How long what was started may take to forward, or to take over a file.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where operators have the configuration.
const CONFIG: &str = "/etc/selvedge/gateway.toml";
/// Largest image, in bytes, and largest without the clients of etcd and Kubernetes, which is what `tests/run` builds.
const IMAGE: u64 = 15_000_000;
const IMAGE_WITHOUT_CLIENTS: u64 = 8_500_000;
/// How exposed the service may be, by `systemd-analyze security`, in tenths: 100 is a service without any precaution.
const EXPOSURE: u32 = 25;

/// The lab's configuration with one route more.
fn with_another_route(net: &Net) -> String {
    let next_hop = net.t.native.address;
    format!(
        "{}\n[[native]]\nprefix = \"10.99.0.0/24\"\nport = \"{ACCESS_PORT}\"\nnext_hop = \"{next_hop}\"\n",
        net.config
    )
}

fn routes(net: &Net) -> f64 {
    net.scrape().sum("selvedge_routes", &[])
}

/// A gateway that somebody else started forwards, with a program on both ports.
fn assert_forwards(net: &Net, machine: &Machine, log: &str) {
    let ready = || net.try_scrape().is_some_and(|s| s.sum("selvedge_ready", &[]) == 1.0);
    assert!(until(PATIENCE, ready), "it does not forward:\n{}", machine.run(log));
    assert_eq!(net.programs(), ["ac0", "ul0"]);
}

/// The changed file is seen, and then read again by signal, while packets flow.
struct Reload {
    load: Steady,
    before: f64,
}

impl Reload {
    /// Traffic flows, and the file changes: that alone puts it in force.
    fn begin(net: &Net, machine: &Machine) -> Self {
        let (load, before) = (Steady::start(net, RATE), routes(net));
        machine.put(CONFIG, &with_another_route(net));
        assert!(until(PATIENCE, || reloads(net, "applied") == 1.0), "a changed file is not noticed");
        assert_eq!(routes(net), before + 1.0);
        Self { load, before }
    }

    /// A signal was sent: the file is read again. Nothing was lost meanwhile.
    fn end(self, net: &Net) {
        assert!(until(PATIENCE, || reloads(net, "applied") == 2.0), "the signal does not reload");
        assert_eq!(routes(net), self.before + 1.0);
        self.load.finish(net, &[]);
    }
}

/// Binary, file, unit; started, asked, reloaded, crashed, stopped.
#[test]
fn the_readmes_commands_for_bare_metal() {
    let Some(net) = Net::new("metal") else { return };
    let machine = Machine::boot(&net.t.gateway);
    let property =
        |name: &str| machine.run(&format!("systemctl show --value --property={name} selvedge")).trim().to_owned();
    let log = "systemctl status selvedge; journalctl --unit selvedge";
    let (mut reload, mut done) = (None, Vec::new());
    for command in readme::commands("Bare metal") {
        let told = machine.run(&command);
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["install", .., "config/gateway.toml", CONFIG] => machine.put(CONFIG, &net.config),
            ["install", .., "config/selvedge.service", _] => {
                assert_eq!(machine.run("systemd-analyze verify selvedge.service"), "");
                let unit = "config/selvedge.service";
                machine.run(&format!("systemd-analyze security --offline=yes --threshold={EXPOSURE} {unit}"));
            }
            ["selvedge", "check", ..] => assert!(told.contains("this host can do it"), "{told}"),
            ["systemctl", "enable", "--now", _] => {
                assert_forwards(&net, &machine, log);
                assert!(property("StatusText").starts_with("forwarding: "), "{}", property("StatusText"));
                let at = |name| property(name).parse::<u64>().unwrap();
                let took = at("ActiveEnterTimestampMonotonic") - at("ExecMainStartTimestampMonotonic");
                println!("the service forwards {} ms after its start", took / 1000);
                reload = Some(Reload::begin(&net, &machine));
            }
            ["selvedge", "health", ..] => assert!(told.starts_with("healthy: forwarding: "), "{told}"),
            ["systemctl", "reload", _] => {
                reload.take().expect("it is reloaded after its start").end(&net);
                assert!(until(PATIENCE, || property("ActiveState") == "active"), "the end of a reload is not told");
                let watched = property("WatchdogTimestampMonotonic");
                assert!(
                    until(PATIENCE, || property("WatchdogTimestampMonotonic") != watched),
                    "nobody feeds the watchdog"
                );
                machine.run("systemctl kill --signal=KILL selvedge");
                assert!(until(PATIENCE, || property("NRestarts") == "1"), "a crash is its end");
                assert_forwards(&net, &machine, log);
            }
            ["journalctl", ..] => assert!(told.contains(r#""message":"forwarding""#), "{told}"),
            ["systemctl", "stop", _] => {
                assert_eq!(net.programs(), [""; 0], "XDP programs left behind");
                assert_eq!([property("Result"), property("ExecMainStatus")], ["success", "0"]);
                let asked = machine.output(&format!("selvedge health --config {CONFIG}")).unwrap();
                assert_eq!(asked.status.code(), Some(1), "who has ended is not well");
            }
            _ => {}
        }
        done.push(words[..words.len().min(2)].join(" "));
    }
    for step in [
        "systemctl enable",
        "systemctl reload",
        "selvedge health",
        "selvedge check",
        "journalctl --unit",
        "systemctl stop",
    ] {
        assert!(done.iter().any(|d| d == step), "the README no longer has `{step}`: {done:?}");
    }
}

/// Image, container; asked, reloaded, stopped; and the same by the compose file.
#[test]
fn the_readmes_commands_for_docker() {
    let Some(net) = Net::new("docker") else { return };
    let machine = Machine::boot(&net.t.gateway);
    // nothing in this network is the engine's: containers have the host's
    machine.run(
        "systemd-run --quiet --unit=dockerd --property=Type=notify --property=Delegate=yes --setenv=PATH \
         dockerd --iptables=false --ip6tables=false --bridge=none",
    );
    machine.put(CONFIG, &net.config);
    let inspect = |what: &str, format: &str| {
        machine.run(&format!("docker {what} inspect --format '{format}' selvedge")).trim().to_owned()
    };
    let (mut reload, mut done) = (None, Vec::new());
    for command in readme::commands("Docker") {
        let told = machine.run(&command);
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["docker", "build", ..] => {
                let size: u64 = inspect("image", "{{.Size}}").parse().unwrap();
                println!("the image has {size} bytes");
                let limit = if names::wanted() { IMAGE } else { IMAGE_WITHOUT_CLIENTS };
                assert!(size < limit, "the image has {size} bytes");
            }
            ["docker", "run", ..] => {
                assert_forwards(&net, &machine, "docker logs selvedge");
                reload = Some(Reload::begin(&net, &machine));
            }
            ["docker", "exec", ..] => {
                assert!(told.starts_with("healthy: forwarding: "), "{told}");
                // what is run by hand is what the engine runs
                let probe = inspect("image", "{{join .Config.Healthcheck.Test \" \"}}");
                assert_eq!(probe.strip_prefix("CMD "), command.strip_prefix("docker exec selvedge "));
            }
            ["docker", "kill", "-s", "HUP", _] => reload.take().expect("it is reloaded after its start").end(&net),
            ["docker", "logs", ..] => assert!(told.contains(r#""message":"forwarding""#), "{told}"),
            ["docker", "stop", _] => {
                assert_eq!(net.programs(), [""; 0], "XDP programs left behind");
                assert_eq!(inspect("container", "{{.State.ExitCode}}"), "0");
            }
            _ => {}
        }
        done.push(words[..words.len().min(2)].join(" "));
    }
    for step in ["docker build", "docker run", "docker exec", "docker kill", "docker logs", "docker stop"] {
        assert!(done.iter().any(|d| d == step), "the README no longer has `{step}`: {done:?}");
    }
    machine.run("docker rm selvedge");
    machine.run("docker-compose --file docker/compose.yaml up --detach --no-build");
    assert_forwards(&net, &machine, "docker-compose --file docker/compose.yaml logs");
    Steady::start(&net, RATE).finish(&net, &[]);
    machine.run("docker-compose --file docker/compose.yaml down");
    assert_eq!(net.programs(), [""; 0], "XDP programs left behind");
    match names::wanted() {
        true => names::are_resolved(&net, &machine),
        // past the harness, which keeps what a test that passes prints
        false => std::io::stdout()
            .write_all(b"\nNOT BUILT IN, not tried: clients of etcd and Kubernetes, by host name\n")
            .unwrap(),
    }
    machine.run("systemctl stop dockerd");
}
