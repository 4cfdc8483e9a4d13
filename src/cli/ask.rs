//! `selvedge show`, `selvedge explain` and `selvedge accept`: what a running gateway is asked, and told.

use core::net::IpAddr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::args::Exit;
use super::health;
use crate::config::Config;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the gateway has taken the mark away.
const LOOK: Duration = Duration::from_millis(50);

/// Prints the sources of the map: how each is, and what of it is not taken.
pub fn show_sources(config: &Path) -> ExitCode {
    print(health::ask_gateway(config, "/sources", PATIENCE))
}

/// Prints where packets to an address go, and which source says so.
pub fn explain(config: &Path, address: IpAddr) -> ExitCode {
    print(health::ask_gateway(config, &format!("/explain?{address}"), PATIENCE))
}

fn print(answer: Result<(StatusCode, String), String>) -> ExitCode {
    match answer {
        Ok((StatusCode::OK, text)) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => Exit::Ok.into(),
            Err(_) => Exit::Runtime.into(), // nobody reads any more
        },
        Ok((_, why)) | Err(why) => {
            eprintln!("selvedge: {}", why.trim_end());
            Exit::Runtime.into()
        }
    }
}

/// Where it is said that what a source withdrew is meant: who may write into the state directory may say so.
pub fn mark(state: &Path, source: &str) -> PathBuf {
    state.join(format!("{source}.accept"))
}

/// Tells the gateway that what a source withdrew is meant, and waits until it knows.
pub fn accept(config: &Path, source: &str) -> ExitCode {
    match tell(config, source, PATIENCE) {
        Ok(()) => {
            println!("{source}: accepted; `selvedge show sources` tells what is left");
            Exit::Ok.into()
        }
        Err(why) => {
            eprintln!("selvedge: {why}");
            Exit::Runtime.into()
        }
    }
}

fn tell(config: &Path, source: &str, patience: Duration) -> Result<(), String> {
    let parsed = Config::load(config).map_err(|e| e.to_string())?;
    if !parsed.sources.iter().any(|s| s.name == source) {
        let names: Vec<&str> = parsed.sources.iter().map(|s| s.name.as_str()).collect();
        return Err(format!("{}: no source is named `{source}`; there are: {}", config.display(), names.join(", ")));
    }
    let mark = mark(&parsed.state, source);
    let made = OpenOptions::new().write(true).create(true).truncate(true).open(&mark);
    made.map_err(|e| format!("cannot make {}: {e}; who accepts must be able to write there", mark.display()))?;
    let began = Instant::now();
    while mark.exists() {
        if began.elapsed() > patience {
            let _ = fs::remove_file(&mark); // a gateway that starts later must not find it
            return Err(format!("no gateway looks into {} (state.directory)", parsed.state.display()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
