//! `selvedge check`: tells what is wrong with a config file, or with this host for it, and changes nothing.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::args::Exit;
use crate::config::{Config, Finding, HostFacts, Plan, Severity};

/// Checks a file and the host. `facts` looks at the host; it is not called when the file is wrong. Findings go to
/// standard output, problems of the file to standard error. The code is 0, 2 when the file is wrong, 3 when the host
/// cannot do it, or 1 when the host cannot be looked at.
pub fn check(config: &Path, facts: impl Fn(&Config) -> io::Result<HostFacts>) -> ExitCode {
    report(config, Some(facts), &mut io::stdout().lock(), &mut io::stderr().lock())
}

/// Checks a file alone (`--no-host`). The code is 0, or 2 when the file is wrong.
pub fn check_file(config: &Path) -> ExitCode {
    report(config, None::<fn(&Config) -> io::Result<HostFacts>>, &mut io::stdout().lock(), &mut io::stderr().lock())
}

fn report(
    path: &Path,
    facts: Option<impl Fn(&Config) -> io::Result<HostFacts>>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> ExitCode {
    // A reader that went away (`| head`) changes nothing about what was found.
    look(path, facts, out, err).unwrap_or(Exit::Runtime).into()
}

fn look(
    path: &Path,
    facts: Option<impl Fn(&Config) -> io::Result<HostFacts>>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Exit> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            writeln!(err, "{errors}")?;
            return Ok(Exit::Usage);
        }
    };
    writeln!(out, "{}", Finding { severity: Severity::Ok, what: summary(path, &config), mend: None })?;
    let Some(facts) = facts else { return Ok(Exit::Ok) };
    let host = match facts(&config) {
        Ok(host) => host,
        Err(e) => {
            writeln!(err, "error: this host cannot be looked at: {e}")?;
            return Ok(Exit::Runtime);
        }
    };
    let (plan, findings) = Plan::new(&config, &host);
    write_findings(&findings, out)?;
    Ok(if plan.is_some() { Exit::Ok } else { Exit::Host })
}

/// Prints findings one by one and then how many there are of each kind that matters. `selvedge run` uses it as well.
///
/// # Errors
/// Those of `out`.
pub fn write_findings(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => writeln!(out, "this host can do it"),
        (0, warnings) => writeln!(out, "this host can do it; {}", plural(warnings, "warning")),
        (errors, 0) => writeln!(out, "this host cannot do it: {}", plural(errors, "error")),
        (errors, warnings) => {
            writeln!(out, "this host cannot do it: {}, {}", plural(errors, "error"), plural(warnings, "warning"))
        }
    }
}

fn summary(path: &Path, config: &Config) -> String {
    format!(
        "{}: {}, {}, {}",
        path.display(),
        plural(config.ports.len(), "port"),
        plural(config.overlays.len(), "overlay"),
        plural(config.routes.len(), "route")
    )
}

fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfaceFacts;
    use crate::port::host::Capabilities;
    use crate::wire::Mac;

    fn host() -> HostFacts {
        let eth0 = InterfaceFacts {
            name: "eth0".into(),
            ifindex: 2,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            driver: "virtio_net".into(),
            rx_queues: 2,
            tx_queues: 2,
            xdp_native: Some(true),
            addresses: vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()],
            ..InterfaceFacts::default()
        };
        HostFacts {
            kernel: (6, 1),
            caps: Capabilities {
                net_admin: true,
                net_raw: true,
                bpf: true,
                perfmon: true,
                sys_admin: false,
                ipc_lock: true,
                sys_resource: true,
            },
            cores_online: vec![0, 1],
            cores_allowed: vec![0, 1],
            interfaces: vec![eth0],
            ..HostFacts::default()
        }
    }

    fn run(text: &str, facts: Option<io::Result<HostFacts>>) -> (Exit, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.toml");
        std::fs::write(&path, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let facts =
            facts.map(|f| move |_: &Config| f.as_ref().map(Clone::clone).map_err(|e| io::Error::from(e.kind())));
        let exit = look(&path, facts, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&path.display().to_string(), "f.toml");
        (exit, text(out), text(err))
    }

    const SAMPLE: &str = include_str!("../../config/one-arm.toml");

    #[test]
    fn a_good_file_on_a_good_host() {
        let (exit, out, err) = run(SAMPLE, Some(Ok(host())));
        assert_eq!((exit, err.as_str()), (Exit::Ok, ""), "{out}");
        assert!(out.starts_with("✓ f.toml: 1 port, 2 overlays, 4 routes\n✓ kernel 6.1"), "{out}");
        let line = "✓ eth0: virtio_net, 2 RX queues, MTU 1500 (at most 1774, what a chunk holds; packets in several: \
                    kernel 6.1 has none, 6.6 has), XDP native\n";
        assert!(out.contains(line), "{out}");
        assert!(out.ends_with("this host can do it\n"), "{out}");
        let (exit, out, _) = run(SAMPLE, None);
        assert_eq!((exit, out.as_str()), (Exit::Ok, "✓ f.toml: 1 port, 2 overlays, 4 routes\n"));
    }

    #[test]
    fn a_bad_file_is_2_and_does_not_look_at_the_host() {
        let (exit, out, err) = run("[worker]\n", Some(Err(io::ErrorKind::Other.into())));
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        assert!(err.contains("did you mean `workers`?") && err.ends_with("f.toml: 3 errors\n"), "{err}");
    }

    #[test]
    fn a_host_that_cannot_is_3_with_the_way_to_mend_it() {
        let mut bad = host();
        bad.interfaces[0].lro = Some(true);
        bad.interfaces[0].addresses.pop();
        let (exit, out, _) = run(SAMPLE, Some(Ok(bad)));
        assert_eq!(exit, Exit::Host);
        assert!(
            out.contains("error: eth0: LRO is on") && out.contains("\n    mend: ethtool -K eth0 lro off\n"),
            "{out}"
        );
        assert!(out.ends_with("this host cannot do it: 1 error, 1 warning\n"), "{out}");
        let (exit, _, err) = run(SAMPLE, Some(Err(io::ErrorKind::PermissionDenied.into())));
        assert_eq!(exit, Exit::Runtime);
        assert!(err.contains("permission denied"), "{err}");
    }
}
