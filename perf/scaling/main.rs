//! Scaling on paper: what measured parts and named assumptions say about more cores than there were to measure on.
//!
//!   perf/scaling/run                   print the tables of perf/SCALING.md
//!   perf/scaling/run --check           fail if they are not what the document has
//!   perf/scaling/run --write           put them into the document
//!   perf/scaling/run --measured FILE   take over what `cargo bench --bench cycles -- --json FILE` has measured, and write

#![allow(missing_docs)]

mod parts;
mod rss;
mod tables;
mod toeplitz;

use parts::Parts;
use std::fs;
use std::process::ExitCode;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/perf/SCALING.md");
const PARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/perf/scaling/parts.json");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("perf/scaling: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    toeplitz::verify();
    if let ["--measured", file] = words {
        write(PARTS, &Parts::with_measured(&read(PARTS)?, &read(file)?)?)?;
    }
    let tables = tables::all(&Parts::read(&read(PARTS)?).map_err(|e| format!("{PARTS}: {e}"))?);
    let document = read(DOCUMENT)?;
    let mut now = document.clone();
    for (name, table) in &tables {
        now = with_table(&now, name, table)?;
    }
    match words {
        [] => tables.iter().for_each(|(name, table)| println!("{name}\n{table}\n")),
        ["--check"] if now == document => {
            println!("the tables of perf/SCALING.md are those of perf/scaling/parts.json")
        }
        ["--check"] => return Err(format!("{}\nperf/scaling/run --write puts it right", difference(&document, &now))),
        ["--write"] | ["--measured", _] => write(DOCUMENT, &now)?,
        _ => return Err("usage: perf/scaling/run [--check | --write | --measured FILE]".into()),
    }
    Ok(())
}

/// The document with what lies between a table's two marks replaced.
fn with_table(document: &str, name: &str, table: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- table: {name} -->\n"), "<!-- end -->");
    let missing = || format!("{DOCUMENT} has no place for the table {name}");
    let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}{table}\n{end}{after}"))
}

/// The first line that differs.
fn difference(document: &str, now: &str) -> String {
    let lines = document.lines().zip(now.lines()).enumerate().find(|(_, (was, is))| was != is);
    match lines {
        Some((n, (was, is))) => format!("perf/SCALING.md:{}: the document has\n  {was}\nbut it is\n  {is}", n + 1),
        None => "perf/SCALING.md: a table has another number of lines".into(),
    }
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

fn write(path: &str, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{path}: {e}"))
}
