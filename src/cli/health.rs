//! `selvedge health`: asks the running gateway how it is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::StatusCode;

use super::args::Exit;
use crate::config::Config;
use crate::telemetry::ask;

/// How long the gateway may take to answer: less than probes of containers usually wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints how the gateway is that was started with this file. The code is 0 if it is well, else 1.
pub fn health(config: &Path) -> ExitCode {
    let (exit, sentence) = match ask_gateway(config, "/healthz", PATIENCE) {
        Ok((StatusCode::OK, sentence)) => (Exit::Ok, format!("healthy: {sentence}")),
        Ok((_, sentence)) => (Exit::Runtime, format!("unhealthy: {sentence}")),
        Err(why) => (Exit::Runtime, format!("unhealthy: {why}")),
    };
    println!("{}", sentence.trim_end());
    exit.into()
}

/// What the gateway that was started with this file answers.
pub(super) fn ask_gateway(config: &Path, path: &str, patience: Duration) -> Result<(StatusCode, String), String> {
    let Some(address) = Config::metrics_address(config).map_err(|e| e.to_string())? else {
        return Err(format!("{}: with metrics.enabled = false nobody can be asked", config.display()));
    };
    let address = reachable(address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let asked = async { tokio::time::timeout(patience, ask::get(address, path)).await };
    let answer = runtime.block_on(asked).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    answer
        .map_err(|error| format!("no gateway answers at {address} (metrics.address of {}): {error}", config.display()))
}

/// Who listens on all addresses is asked at one that every host has.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is made of an answer to one request; `None` for somebody who never answers.
    fn asked(answer: Option<&'static str>) -> Result<(StatusCode, String), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("gateway.toml");
        // wrong in every other place: what is in force is another file
        let text = format!(
            "[metrics]\naddress = \"0.0.0.0:{}\"\n[workers]\nburst = 999\n",
            listener.local_addr().unwrap().port()
        );
        std::fs::write(&file, text).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            if let Some(answer) = answer {
                stream.write_all(answer.as_bytes()).unwrap();
            }
            // until the other side has had enough
            let _ = stream.read(&mut [0]);
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let made = ask_gateway(&file, "/healthz", Duration::from_millis(500));
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\n"), "{request}");
        made
    }

    #[test]
    fn the_answer_is_the_gateways() {
        let well = asked(Some("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n"));
        assert_eq!(well, Ok((StatusCode::OK, "fine\n".into())));
        let ill = asked(Some("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nill\n"));
        assert_eq!(ill, Ok((StatusCode::SERVICE_UNAVAILABLE, "ill\n".into())));
        let silent = asked(None).unwrap_err();
        assert!(silent.contains("no gateway answers at 127.0.0.1:") && silent.contains("timed out"), "{silent}");
        asked(Some("220 mail.example\r\n")).unwrap_err();
    }

    #[test]
    fn who_cannot_be_asked_is_not_well() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("gateway.toml");
        let missing = ask_gateway(&file, "/healthz", PATIENCE).unwrap_err();
        assert!(missing.contains("gateway.toml: ") && missing.contains("cannot be read"), "{missing}");
        std::fs::write(&file, "[metrics]\nenabled = false\n").unwrap();
        let silent = ask_gateway(&file, "/healthz", PATIENCE).unwrap_err();
        assert!(silent.contains("metrics.enabled = false"), "{silent}");
    }

    #[test]
    fn everywhere_is_asked_here() {
        for (listens, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("192.0.2.1:3", "192.0.2.1:3")] {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
