//! TLS in both directions, users, and what is said of those that are refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity as Pem, Permission, TlsOptions};
use selvedge::control::etcd::{Identity, Options, PREFIX, User};
use tempfile::TempDir;

use crate::view::{SOON, View, claim};
use crate::{Server, asked, configure, half, lease, subnet};

/// Makes an authority, and with it certificates for the loopback address.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let room = Self(TempDir::new().unwrap());
        room.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
        fs::write(room.path("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=lab -keyout {name}.key -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out {name}.pem"
        ));
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// Why a source with these options hears nothing.
async fn lost(options: Options) -> String {
    let mut view = View::of(asked(options, half()));
    view.until("lost", Duration::from_secs(8), |v| !v.lost.is_empty()).await;
    assert_eq!(view.lists, 0);
    view.lost.remove(0)
}

#[tokio::test]
async fn certificates_users_and_refusals() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("server");
    let (ours, our_key) = authority.issue("client");
    let ca = authority.path("ca.pem");
    let server = Server::with(|setup| setup.tls = Some([certificate, key, ca.clone()]));
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(read(&ca)))
        .identity(Pem::from_pem(read(&ours), read(&our_key)));
    let mut root = Client::connect([server.setup.endpoint()], Some(ConnectOptions::new().with_tls(tls))).await.unwrap();
    configure(&mut root).await;
    root.put(subnet("10.1.1.0-24"), lease("172.30.0.11", "b6:9f:ea:8c:6e:16"), None).await.unwrap();

    // one that may read what the README says, one that may not, and then all must say who they are
    for user in ["root", "gateway", "nobody"] {
        root.user_add(user, format!("{user}-secret"), None).await.unwrap();
    }
    root.role_add("reader").await.unwrap();
    let all = Permission::read(format!("{PREFIX}/")).with_prefix();
    root.role_grant_permission("reader", all).await.unwrap();
    root.user_grant_role("gateway", "reader").await.unwrap();
    root.role_add("root").await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.auth_enable().await.unwrap();

    let user = |name: &str, password: &str| {
        let file = authority.path(&format!("{name}-{password}"));
        fs::write(&file, format!("{password}\n")).unwrap();
        Some(User { name: name.into(), password: file })
    };
    let identity = Some(Identity { certificate: ours, key: our_key });
    let right = Options { ca: Some(ca), identity, user: user("gateway", "gateway-secret"), ..server.options() };
    let mut view = View::listed(asked(right.clone(), half())).await;
    view.until("read", SOON, |v| v.claim("subnets/10.1.1.0-24").is_some()).await;
    assert_eq!(view.claim("subnets/10.1.1.0-24"), Some(claim("10.1.1.0/24", "172.30.0.11", "b6:9f:ea:8c:6e:16")));

    let cases = [
        (Options { user: user("gateway", "wrong"), ..right.clone() }, "logging in: etcdserver: authentication failed"),
        (Options { user: user("nobody", "nobody-secret"), ..right.clone() }, "permission denied ("),
        (Options { user: None, ..right.clone() }, "needs to read"),
        (Options { ca: Some(stranger.path("ca.pem")), ..right.clone() }, "certificate"),
        (Options { identity: None, ..right.clone() }, server.setup.client.to_string().leak()),
        (
            Options { ca: Some("/nonexistent".into()), ..right },
            "reading certificates of authorities from /nonexistent: No such",
        ),
    ];
    for (options, says) in cases {
        let why = lost(options).await;
        println!("{why}");
        assert!(
            why.contains(says) && why.contains(&server.setup.client.to_string()) | why.contains("/nonexistent"),
            "{why}"
        );
        assert!(!why.contains("secret") && !why.contains('\n'), "{why}");
    }
}
