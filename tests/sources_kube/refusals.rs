//! What a server says that will not have us, in words that help.

use std::time::Duration;

use selvedge::control::kubernetes::{Access, NODES};
use selvedge::control::source::flannel::Family;
use serde_json::json;

use crate::Stage;
use crate::apiserver::Administrator;
use crate::asked::asked;
use crate::view::View;

/// Why a source with this access is lost.
async fn lost(access: Access) -> String {
    let mut view = View::of(asked(access, Family::V4));
    view.until("lost", Duration::from_secs(8), |view| !view.lost.is_empty()).await;
    // at most something about flannel's configuration
    assert!(view.objects.values().all(|o| o.claims.is_empty()) && view.lists == 0, "{:?}", view.objects);
    view.lost.remove(0)
}

pub(crate) async fn each_refusal_says_what_would_be_right(stage: &Stage) {
    let server = &stage.first;
    let says = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert!(text.lines().count() == 1 && text.len() < 700, "{text}");
    };
    let denied = lost(server.access("nobody")).await;
    let rule = r#"apiGroups [""], resources ["nodes"], verbs ["list"]"#;
    says(&denied, &["403", "User \"nobody\" cannot list resource \"nodes\"", rule, "config/kubernetes-rbac.yaml"]);
    let unknown = lost(server.access_with("unknown", &server.kubeconfig("made-up"))).await;
    says(&unknown, &["401 Unauthorized", "has expired"]);

    let mut stranger = server.kubeconfig("gateway-token");
    let second = stage.second.lock().await.kubeconfig("gateway-token");
    stranger["clusters"][0]["cluster"]["certificate-authority"] =
        second["clusters"][0]["cluster"]["certificate-authority"].clone();
    says(
        &lost(server.access_with("stranger", &stranger)).await,
        &["TLS with https://127.0.0.1", "the cluster's own CA"],
    );
    let mut away = server.kubeconfig("gateway-token");
    away["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();
    says(&lost(server.access_with("away", &away)).await, &["https://127.0.0.1:1 cannot be reached", "refused"]);

    let mut context = server.access("gateway");
    context.context = Some("prod".into());
    says(&lost(context).await, &["gateway cannot be used", "prod"]);
    let missing = Access { kubeconfig: Some("/nonexistent/kubeconfig".into()), context: None };
    says(&lost(missing).await, &["/nonexistent/kubeconfig cannot be used", "No such file"]);
    says(&lost(Access::default()).await, &["no kubeconfig is given", "cannot be used"]);
}

pub(crate) async fn rights_that_are_taken_away_are_named(stage: &Stage) {
    let _history = stage.history.read().await;
    let admin = stage.admin().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "metadata": { "name": "lister" },
        "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["list"] }],
    });
    let binding = json!({
        "metadata": { "name": "lister" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lister" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "lister" }],
    });
    admin.create(&format!("{rbac}/clusterroles"), &role).await;
    admin.create(&format!("{rbac}/clusterrolebindings"), &binding).await;
    admin.create(NODES, &json!({ "metadata": { "name": "lister-1" } })).await;
    let mut view = View::of(asked(stage.first.access("lister"), Family::V4));
    view.until("watch denied", Duration::from_secs(8), |v| v.lost.iter().any(|why| why.contains("watch"))).await;
    let why = view.lost.last().unwrap();
    assert!(why.contains("cannot watch resource \"nodes\"") && why.contains(r#"verbs ["watch"]"#), "{why}");
    assert!(view.lists > 0, "what may be read is read");
}
