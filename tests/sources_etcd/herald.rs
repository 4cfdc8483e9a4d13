//! Our own keys: written, kept, changed, left alone where they are somebody else's, and taken back.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, GetOptions, PutOptions};
use selvedge::control::etcd::{Options, PREFIX};
use selvedge::control::herald::etcd::Etcd;
use selvedge::control::herald::{Herald, OurEnd, Standing, Wanted};
use selvedge::wire::{Prefix, Vni};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::view::{SOON, View, claim};
use crate::{CONFIG, Server, asked, configure, half, lease, subnet};

const VTEP: &str = "192.0.2.1";
const MAC: &str = "02:00:00:00:00:07";

fn prefixes(texts: &[&str]) -> Arc<[Prefix]> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn herald(options: Options, seconds: u64) -> Etcd {
    let end =
        OurEnd { vtep: VTEP.parse().unwrap(), mac: MAC.parse().unwrap(), vni: Vni::new(1).unwrap(), udp_port: 8472 };
    Etcd::new(Options { lifetime: Duration::from_secs(seconds), ..options }, end)
}

/// A herald at work, begun again after each failure.
struct Running {
    wanted: watch::Sender<Arc<[Prefix]>>,
    standing: watch::Receiver<Standing>,
    retire: Option<tokio::sync::oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    fn new(mut herald: Etcd, wanted: &[&str]) -> Self {
        let (wanted, mut wishes): (_, Wanted) = watch::channel(prefixes(wanted));
        let (tell, standing) = watch::channel(Standing::Lost("not begun".into()));
        let (retire, mut told) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                let error = tokio::select! {
                    ended = herald.keep(&mut wishes, &tell) => ended.unwrap_err(),
                    _ = &mut told => break,
                };
                tell.send_replace(Standing::Lost(error.to_string()));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            herald.retire().await.unwrap();
        });
        Self { wanted, standing, retire: Some(retire), task }
    }

    async fn stands(&mut self, is: impl Fn(&Standing) -> bool) -> Standing {
        match timeout(Duration::from_secs(8), self.standing.wait_for(|s| is(s))).await {
            Ok(Ok(standing)) => return standing.clone(),
            Ok(Err(_)) => panic!("the herald ended"),
            Err(_) => {}
        }
        panic!("it stands like this: {:?}", self.standing.borrow())
    }

    async fn registered(&mut self, n: usize) {
        self.stands(|standing| *standing == Standing::Registered(n)).await;
    }

    async fn retire(mut self) {
        self.retire.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// All keys of nodes, and the lease of each.
async fn keys(client: &mut Client) -> Vec<(String, i64)> {
    let all = client.get(subnet(""), Some(GetOptions::new().with_prefix())).await.unwrap();
    all.kvs().iter().map(|kv| (kv.key_str().unwrap().replace(&subnet(""), ""), kv.lease())).collect()
}

async fn names(client: &mut Client) -> Vec<String> {
    keys(client).await.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn prefixes_are_registered_followed_and_taken_back() {
    let mut server = Server::start();
    let mut client = server.client().await;
    configure(&mut client).await;
    let node = lease("192.0.2.11", "02:00:00:00:00:0b");
    client.put(subnet("10.2.3.0-24"), node.clone(), None).await.unwrap();
    let mut nodes = View::listed(asked(server.options(), half())).await;

    let mut running = Running::new(herald(server.options(), 30), &["10.2.1.0/24", "10.2.3.0/24", "10.3.0.0/16"]);
    let standing = running.stands(|s| matches!(s, Standing::Partly(_))).await;
    let conflict = "10.2.3.0/24: `10.2.3.0-24` belongs to 192.0.2.11";
    assert_eq!(standing, Standing::Partly(vec![conflict.into()]));
    // nodes read them as those of one of their own
    let ours = |prefix| Some(claim(prefix, VTEP, MAC));
    nodes
        .until("ours", SOON, |v| {
            v.claim("subnets/10.2.1.0-24") == ours("10.2.1.0/24") && v.claim("subnets/10.3.0.0-16").is_some()
        })
        .await;
    let found = keys(&mut client).await;
    let of_us = found.iter().filter(|(key, _)| key != "10.2.3.0-24").map(|(_, lease)| *lease).collect::<Vec<_>>();
    assert!(of_us.len() == 2 && of_us[0] != 0 && of_us[0] == of_us[1], "{found:?}");

    // the holder leaves; then others are wanted
    client.delete(subnet("10.2.3.0-24"), None).await.unwrap();
    running.registered(3).await;
    running.wanted.send_replace(prefixes(&["10.2.1.0/24", "10.4.0.0/16"]));
    running.registered(2).await;
    assert_eq!(names(&mut client).await, ["10.2.1.0-24", "10.4.0.0-16"]);
    // somebody deletes one of ours
    client.delete(subnet("10.2.1.0-24"), None).await.unwrap();
    nodes.until("deleted", SOON, |v| v.claim("subnets/10.2.1.0-24").is_none()).await;
    nodes.until("written again", SOON, |v| v.claim("subnets/10.2.1.0-24").is_some()).await;
    // somebody takes one of ours, and is not fought
    client.put(subnet("10.4.0.0-16"), node, None).await.unwrap();
    running.stands(|s| matches!(s, Standing::Partly(list) if list[0].starts_with("10.4.0.0/16: "))).await;

    // the server dies and comes back: the same lease, the same keys
    let before = keys(&mut client).await;
    server.kill();
    running.stands(|s| matches!(s, Standing::Lost(_))).await;
    server.back();
    running.stands(|s| matches!(s, Standing::Partly(_))).await;
    let mut client = server.client().await;
    assert_eq!(keys(&mut client).await, before);
    running.retire().await;
    assert_eq!(names(&mut client).await, ["10.4.0.0-16"]);
}

#[tokio::test]
async fn what_an_earlier_process_left_is_taken_over_and_vanishes_with_the_lease() {
    let server = Server::start();
    let mut client = server.client().await;
    let dual = CONFIG.replace("{\"Net", r#"{"EnableIPv6":true,"IPv6Network":"fd00:1::/48","Net"#);
    client.put(format!("{PREFIX}/config"), dual, None).await.unwrap();
    let mut first = Running::new(herald(server.options(), 2), &["10.2.1.0/24", "10.2.2.0/24"]);
    first.registered(2).await;
    let both = ["10.2.1.0-24&100::a:201:0-127", "10.2.2.0-24&100::a:202:0-127"];
    assert_eq!(names(&mut client).await, both);
    let before = keys(&mut client).await;
    // kept alive for longer than it lives
    tokio::time::sleep(Duration::from_millis(4500)).await;
    assert_eq!(keys(&mut client).await, before);
    // a crash: nothing is taken back
    first.task.abort();
    let mut second = Running::new(herald(server.options(), 2), &["10.2.2.0/24"]);
    second.registered(1).await;
    let after = keys(&mut client).await;
    assert!(after.len() == 1 && after[0].0 == both[1] && after[0].1 != before[1].1, "{after:?}");

    // revoked by an administrator: all is written again under a new one
    client.lease_revoke(after[0].1).await.unwrap();
    let again = async {
        loop {
            match keys(&mut client).await.as_slice() {
                [(key, lease)] if *key == both[1] && *lease != after[0].1 => break,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(Duration::from_secs(5), again).await.unwrap();
    // an entry without a lease, like ours: a reservation that somebody made for us, and ours all the same
    second.task.abort();
    let value = client.get(subnet(both[1]), None).await.unwrap().take_kvs().remove(0).into_key_value().1;
    client.put(subnet(both[0]), value, Some(PutOptions::new())).await.unwrap();
    let mut third = Running::new(herald(server.options(), 2), &["10.2.1.0/24"]);
    third.registered(1).await;
    assert_eq!(names(&mut client).await, [both[0]]);
    third.task.abort();
    let gone = async {
        while !names(&mut client).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(6), gone).await.expect("all vanishes once nobody keeps the lease alive");
}
