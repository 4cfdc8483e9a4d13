//! Flannel's nodes as a source, and Nodes of our own as a herald, against a real Kubernetes API server.
//!
//! Two servers store in one etcd. The first is as in every cluster. The second has no watch cache for nodes, so that
//! what etcd forgets cannot be watched from any more; it is also the one that is killed. They are started once, and
//! ended when all tests are done.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "../support/apiserver.rs"]
mod apiserver;
mod asked;
mod herald;
mod refusals;
mod source;
#[path = "../support/view.rs"]
mod view;

use apiserver::{Administrator, ApiServer, Etcd, SKIPPED, here, manifest, program};
use selvedge::control::kubernetes::Api;

/// What the tests share.
struct Stage {
    first: ApiServer,
    /// Whoever has it may stop it.
    second: tokio::sync::Mutex<ApiServer>,
    etcd: Etcd,
    /// Whoever makes etcd forget wants it alone: others may be reading.
    history: tokio::sync::RwLock<()>,
}

impl Stage {
    async fn new(program: &std::path::Path, room: &std::path::Path) -> Self {
        let etcd = Etcd::start(room, &here);
        let mut first = ApiServer::start(program, &room.join("first"), &etcd, &[], &here);
        first.ready().await;
        let mut second =
            ApiServer::start(program, &room.join("second"), &etcd, &["--watch-cache-sizes=nodes#0"], &here);
        second.ready().await;
        let admin = first.admin().await;
        admin.create("/api/v1/namespaces", &serde_json::json!({ "metadata": { "name": "kube-flannel" } })).await;
        let (reader, herald) = manifest();
        admin.apply(reader).await;
        admin.apply(herald).await;
        // the same without the second part, for another user
        admin.apply(&reader.replace("selvedge", "readonly")).await;
        Self { first, second: second.into(), etcd, history: Default::default() }
    }

    async fn admin(&self) -> Api {
        self.first.admin().await
    }
}

type Test = for<'a> fn(&'a Stage) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs a future on a runtime like the gateway's.
fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

macro_rules! tests {
    ($($room:ident :: $name:ident),* $(,)?) => {
        [$((concat!(stringify!($room), "::", stringify!($name)), (|stage| Box::pin($room::$name(stage))) as Test)),*]
    };
}

fn main() {
    let mut arguments = Arguments::from_args();
    // they mostly wait; those that stop a server take turns
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let all = tests![
        source::nodes_are_listed_and_followed,
        source::many_nodes_come_in_pages,
        source::what_is_no_longer_kept_is_listed_again,
        source::a_server_that_is_killed_comes_back,
        source::a_server_that_falls_silent_is_noticed,
        source::net_conf_is_compared_with_the_overlay,
        refusals::each_refusal_says_what_would_be_right,
        refusals::rights_that_are_taken_away_are_named,
        herald::prefixes_are_registered_followed_and_retired,
        herald::what_is_not_ours_is_left_alone,
        herald::without_the_rights_it_says_which,
    ];
    let program = program();
    let room = tempfile::tempdir().unwrap();
    let wanted = !arguments.list && program.is_some();
    let stage: Arc<OnceLock<Stage>> = Arc::default();
    if let Some(program) = program.as_ref().filter(|_| wanted) {
        let _ = stage.set(on_a_runtime(Stage::new(program, room.path())));
    }
    let trial = |(name, test): (&str, Test)| {
        let stage = stage.clone();
        let run = move || {
            match stage.get() {
                Some(stage) => on_a_runtime(async {
                    let patience = Duration::from_secs(90);
                    tokio::time::timeout(patience, test(stage)).await.expect("done within 90 s");
                }),
                None => print!("{SKIPPED}"),
            }
            Ok::<(), Failed>(())
        };
        Trial::test(name, run)
    };
    let conclusion = libtest_mimic::run(&arguments, all.into_iter().map(trial).collect());
    // the servers go before their room
    drop(stage);
    conclusion.exit();
}
