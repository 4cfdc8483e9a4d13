//! Host names of servers, from where there is neither a C library nor an nsswitch.conf: by `/etc/hosts`, and by DNS.

use std::fs;
use std::process::{Command, Stdio};

use super::machine::{Machine, repository};
use super::netns::{Net, until};
use super::{CONFIG, PATIENCE};
use selvedge::lab::EtcdServer;

/// What `/etc/hosts` knows, and what only the DNS server does.
const NAMES: [&str; 2] = ["etcd.hosts.example", "etcd.dns.example"];

/// Does the program that ships have clients of servers? `docker/build` is told so.
pub(crate) fn wanted() -> bool {
    !std::env::var("SELVEDGE_BUILD").is_ok_and(|more| more.contains("--no-default-features"))
}

/// A container of the image follows one etcd by two names. The engine gives it the machine's `hosts` and `resolv.conf`.
pub(crate) fn are_resolved(net: &Net, machine: &Machine) {
    let dir = net.room().join("etcd");
    fs::create_dir(&dir).unwrap();
    let server = EtcdServer::new(&dir, "127.0.0.1:2379".parse().unwrap(), "127.0.0.1:2380".parse().unwrap());
    let _etcd = server.start(Some(&net.t.gateway)).unwrap();
    let mut responder = Command::new("python3");
    responder.arg(repository().join("tests/shipped/dns.py")).args([NAMES[1], "127.0.0.1"]).stdin(Stdio::null());
    let _responder = net.t.gateway.spawn(responder).unwrap();

    machine.put("/etc/hosts", &format!("127.0.0.1 localhost {}\n", NAMES[0]));
    machine.put("/etc/resolv.conf", "nameserver 127.0.0.1\n");
    let called = NAMES.map(|name| name.replace('.', "-"));
    let sources = net.t.clusters().into_iter().zip(NAMES).zip(&called).map(|((cluster, name), called)| {
        let overlay = cluster.name;
        format!(
            "\n[[source]]\nname = \"{called}\"\noverlay = \"{overlay}\"\nkind = \"flannel-etcd\"\n\
             endpoints = [\"http://{name}:2379\"]\n"
        )
    });
    machine.put(CONFIG, &(net.config.clone() + &sources.collect::<String>()));

    machine.run(
        "docker run --detach --name named --network host --read-only --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW \
         --cap-add IPC_LOCK --cap-add SYS_ADMIN --cap-add SYS_NICE --volume /etc/selvedge:/etc/selvedge:ro \
         --volume selvedge:/var/lib/selvedge selvedge",
    );
    let mut told = String::new();
    let followed = || {
        let asked = machine.output(&format!("docker exec named /selvedge show sources --config {CONFIG}")).unwrap();
        told = String::from_utf8_lossy(&asked.stdout).into_owned();
        called.iter().all(|name| told.lines().any(|line| line.starts_with(name.as_str()) && line.contains("in step")))
    };
    let all = until(PATIENCE, followed);
    assert!(all, "{told}\n{}", machine.run("docker logs named"));
    machine.run("docker stop named");
    machine.run("docker rm named");
}
