//! Keys listed and followed; histories that are gone; servers that die, fall silent and come back.

use std::time::Duration;

use etcd_client::{Client, DeleteOptions, Txn, TxnOp};
use selvedge::control::etcd::{Heard, Link, PREFIX};
use selvedge::control::source::flannel::{Family, Half};
use tokio::time::{Instant, sleep};

use crate::relay::{Mode, Relay};
use crate::view::{SOON, View, claim};
use crate::{CONFIG, Server, asked, configure, free, half, lease, options, subnet};

const MAC: &str = "b6:9f:ea:8c:6e:16";

async fn node(client: &mut Client, key: &str, vtep: &str) {
    client.put(subnet(key), lease(vtep, MAC), None).await.unwrap();
}

#[tokio::test]
async fn nodes_are_listed_and_followed() {
    let server = Server::start();
    let mut client = server.client().await;
    let mut view = View::listed(asked(server.options(), half())).await;
    assert!(view.fault("config").unwrap().contains("is `/coreos.com/network` the prefix?"));
    configure(&mut client).await;
    view.until("configured", SOON, |v| v.fault("config").is_none()).await;

    node(&mut client, "10.1.13.0-24", "172.30.0.11").await;
    let mut late = View::listed(asked(server.options(), half())).await;
    let first = Some(claim("10.1.13.0/24", "172.30.0.11", MAC));
    assert_eq!(late.claim("subnets/10.1.13.0-24"), first);
    view.until("added", SOON, |v| v.claim("subnets/10.1.13.0-24") == first).await;
    // moved: another address, another MAC
    client.put(subnet("10.1.13.0-24"), lease("172.30.0.12", "b6:9f:ea:8c:6e:17"), None).await.unwrap();
    let moved = Some(claim("10.1.13.0/24", "172.30.0.12", "b6:9f:ea:8c:6e:17"));
    view.until("moved", SOON, |v| v.claim("subnets/10.1.13.0-24") == moved).await;
    late.until("moved", SOON, |v| v.claim("subnets/10.1.13.0-24") == moved).await;
    // both families, seen by the overlay of each
    let dual = r#"{"PublicIP":"172.30.0.13","PublicIPv6":"fd00::13","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:04"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:06"}}"#;
    let node = "10.1.14.0-24&fd00:10:14::-64";
    let key = &format!("subnets/{node}");
    client.put(subnet(node), dual, None).await.unwrap();
    view.until("IPv4", SOON, |v| v.claim(key) == Some(claim("10.1.14.0/24", "172.30.0.13", "02:00:00:00:00:04"))).await;
    let six = View::listed(asked(server.options(), Half { family: Family::V6, ..half() })).await;
    assert_eq!(six.claim(key), Some(claim("fd00:10:14::/64", "fd00::13", "02:00:00:00:00:06")));
    assert!(six.fault("subnets/10.1.13.0-24").unwrap().contains("no IPv6 subnet"));

    // what is wrong is named, and takes nothing else with it
    client.put(subnet("10.1.13.0-24"), "{", None).await.unwrap();
    view.until("wrong", SOON, |v| v.claim("subnets/10.1.13.0-24").is_none()).await;
    assert!(view.fault("subnets/10.1.13.0-24").unwrap().contains("not JSON"));
    client.put(format!("{PREFIX}/config"), CONFIG.replace(":1}", ":9}"), None).await.unwrap();
    view.until("another VNI", SOON, |v| v.fault("config").is_some_and(|f| f.contains("VNI is 9"))).await;
    client.put(format!("{PREFIX}/elsewhere"), "", None).await.unwrap();
    // one change for many, as an operator's `del --prefix` makes it
    client.delete(subnet(""), Some(DeleteOptions::new().with_prefix())).await.unwrap();
    view.until("deleted", SOON, |v| v.objects.len() == 1).await;
    let alive = view.alive;
    view.until("signs of life", 3 * SOON, |v| v.alive >= alive + 2).await;
    assert!(view.lost.is_empty() && view.lists == 1, "{:?}", view.lost);
}

#[tokio::test]
async fn what_happened_while_it_was_away_and_is_compacted_is_found_by_a_list() {
    let server = Server::start();
    let mut client = server.client().await;
    configure(&mut client).await;
    for n in 1..=3 {
        node(&mut client, &format!("10.1.{n}.0-24"), "172.30.0.11").await;
    }
    let relay = Relay::to(server.setup.client).await;
    let mut view = View::listed(asked(options(vec![relay.endpoint()]), half())).await;
    relay.is(Mode::Cut);
    view.until("lost", 2 * SOON, |v| !v.lost.is_empty()).await;
    client.delete(subnet("10.1.2.0-24"), None).await.unwrap();
    let put = client.put(subnet("10.1.3.0-24"), lease("172.30.0.33", MAC), None).await.unwrap();
    let revision = put.header().unwrap().revision();
    client.compact(revision, None).await.unwrap();
    relay.is(Mode::Open);
    view.until("listed again", 5 * SOON, |v| v.lists == 2).await;
    assert_eq!(view.claim("subnets/10.1.2.0-24"), None);
    assert_eq!(view.claim("subnets/10.1.3.0-24"), Some(claim("10.1.3.0/24", "172.30.0.33", MAC)));

    // a watch from where nothing is kept any more says so
    let link = Link::connect(&server.options(), &mut 0).await.unwrap();
    let mut watch = link.watch(&subnet(""), 1).await.unwrap();
    let heard = loop {
        match watch.next().await.unwrap() {
            Heard::Alive => {}
            other => break other,
        }
    };
    assert!(matches!(heard, Heard::Compacted));
}

#[tokio::test]
async fn with_several_servers_a_dead_or_silent_one_is_left() {
    let server = Server::start();
    let mut client = server.client().await;
    configure(&mut client).await;
    let (one, two) = (Relay::to(server.setup.client).await, Relay::to(server.setup.client).await);
    let dead = format!("http://{}", free());
    let mut view = View::listed(asked(options(vec![dead.clone(), one.endpoint(), two.endpoint()]), half())).await;
    view.until("watching", 2 * SOON, |v| v.alive > 0).await;
    assert!(view.lost.is_empty(), "{:?}", view.lost);

    // a connection that says nothing any more looks like one where nothing happens
    one.is(Mode::Mute);
    node(&mut client, "10.1.1.0-24", "172.30.0.11").await;
    let began = Instant::now();
    view.until("the other one", Duration::from_secs(9), |v| v.claim("subnets/10.1.1.0-24").is_some()).await;
    println!("a silent connection was left after {:?}", began.elapsed());
    let says = format!("{}: watching: no answer within 5 s", one.endpoint());
    assert!(view.lost[0].contains(&says), "{:?}", view.lost);

    one.is(Mode::Cut);
    two.is(Mode::Cut);
    view.until("each is named", Duration::from_secs(5), |v| {
        v.lost
            .last()
            .is_some_and(|why| [&dead, &one.endpoint(), &two.endpoint()].iter().all(|e| why.contains(e.as_str())))
    })
    .await;
    assert!(view.lost.last().unwrap().contains("refused"), "{:?}", view.lost);
    two.is(Mode::Open);
    let lists = view.lists;
    view.until("back", Duration::from_secs(6), |v| v.lists > lists).await;
    assert!(view.claim("subnets/10.1.1.0-24").is_some());
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back() {
    let mut server = Server::start();
    let mut client = server.client().await;
    configure(&mut client).await;
    node(&mut client, "10.1.1.0-24", "172.30.0.11").await;
    let mut view = View::listed(asked(server.options(), half())).await;
    server.kill();
    view.until("lost", SOON, |v| !v.lost.is_empty()).await;
    assert!(view.claim("subnets/10.1.1.0-24").is_some());
    sleep(SOON).await;
    server.back();
    let began = Instant::now();
    let mut client = server.client().await;
    node(&mut client, "10.1.1.0-24", "172.30.0.99").await;
    let moved = Some(claim("10.1.1.0/24", "172.30.0.99", MAC));
    view.until("diffs", 5 * SOON, |v| v.lists >= 2 && v.claim("subnets/10.1.1.0-24") == moved).await;
    println!("heard again {:?} after the server was ready", began.elapsed());
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_listed_in_pages_and_nobody_waits_for_it() {
    const KEYS: usize = 100_000;
    let server = Server::start();
    let mut client = server.client().await;
    configure(&mut client).await;
    let ops: Vec<_> = (0..KEYS)
        .map(|n| {
            let (a, b, c) = (10 + (n >> 16), n >> 8 & 0xff, n & 0xff);
            TxnOp::put(subnet(&format!("{a}.{b}.{c}.0-24")), lease("172.30.0.11", MAC), None)
        })
        .collect();
    for ops in ops.chunks(128) {
        client.txn(Txn::new().and_then(ops)).await.unwrap();
    }
    // whoever else is on this runtime: how long did it not get a turn?
    let late = tokio::spawn(async {
        let mut worst = Duration::ZERO;
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            let due = Instant::now() + Duration::from_millis(1);
            tokio::time::sleep_until(due).await;
            worst = worst.max(due.elapsed());
        }
        worst
    });
    let began = Instant::now();
    let view = View::listed(asked(server.options(), half())).await;
    println!("{KEYS} keys listed in {:?}", began.elapsed());
    assert_eq!(view.objects.len(), KEYS + 1);
    assert!(view.claim("subnets/11.134.159.0-24").is_some());
    let worst = late.await.unwrap();
    println!("nobody waited longer than {worst:?}");
    assert!(worst < Duration::from_millis(250), "{worst:?}");
}
