//! The house stands as its map says: rooms import only downward, `unsafe` stays in its room, no room is too large.
//!
//! The map is the table in the documentation of `src/lib.rs`; there is no second list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file of more lines is two rooms.
const LINES: usize = 600;

struct Room {
    floor: u8,
    imports: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every `.rs` file below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let (dirs, plain): (Vec<_>, Vec<_>) = entries.partition(|p| p.is_dir());
    let rust = plain.into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs"));
    rust.chain(dirs.iter().flat_map(|d| files(d))).collect()
}

fn quoted(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Reads the table: `| floor | [`room`] | question | may import |`.
fn map() -> BTreeMap<String, Room> {
    let text = fs::read_to_string(root().join("lib.rs")).unwrap();
    let mut rooms = BTreeMap::new();
    let mut below: BTreeMap<String, u8> = BTreeMap::new();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|l| l.strip_prefix("//! |"))
        .map(|l| l.trim_end_matches('|').split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.len() == 4 && cells[0].parse::<u8>().is_ok())
        .collect();
    for cells in &rows {
        below.insert(quoted(cells[1]).next().expect("a room has a name"), cells[0].parse().unwrap());
    }
    for cells in rows {
        let name = quoted(cells[1]).next().unwrap();
        let floor: u8 = cells[0].parse().unwrap();
        let imports = match cells[3] {
            "everything below" => below.iter().filter(|(_, f)| **f < floor).map(|(n, _)| n.clone()).collect(),
            "nothing" => BTreeSet::new(),
            some => quoted(some).collect(),
        };
        rooms.insert(name, Room { floor, imports });
    }
    rooms
}

/// The room a file is in.
fn room(file: &Path) -> Option<String> {
    let first = file.strip_prefix(root()).unwrap().components().next()?.as_os_str().to_str()?.to_owned();
    let name = first.trim_end_matches(".rs").to_owned();
    (!["lib", "main"].contains(&name.as_str())).then_some(name)
}

/// Rooms a line of code names: whatever follows `crate::`, also in braces.
fn named(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            Some(list) => out.extend(list.split([',', '}']).map(|w| word(w.trim()))),
            None => out.push(word(rest)),
        }
    }
    out
}

fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

#[test]
fn rooms_import_only_what_the_map_allows() {
    let map = map();
    assert!(map.len() >= 11, "the table in lib.rs was not understood: {:?}", map.keys());
    let mut wrong = Vec::new();
    for file in files(&root()) {
        let Some(from) = room(&file) else { continue };
        let here = map.get(&from).unwrap_or_else(|| panic!("{}: no room of the map", file.display()));
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            for to in named(code(line)).into_iter().filter(|to| map.contains_key(to) && *to != from) {
                if !here.imports.contains(&to) {
                    wrong.push(format!("{}:{}: {from} may not import {to}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_map_itself_only_points_down() {
    let map = map();
    for (name, room) in &map {
        for to in &room.imports {
            assert!(map[to].floor < room.floor, "{name} (floor {}) may import {to} ({})", room.floor, map[to].floor);
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_room_and_states_its_debt() {
    let mut wrong = Vec::new();
    for file in files(&root()) {
        let lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
        for (number, line) in lines.iter().enumerate() {
            let tokens = code(line).split(|c: char| !c.is_alphanumeric() && c != '_').any(|t| t == "unsafe");
            if !tokens {
                continue;
            }
            let place = format!("{}:{}", file.display(), number + 1);
            if room(&file).as_deref() != Some("port") {
                wrong.push(format!("{place}: unsafe outside port"));
            }
            let before = lines[number.saturating_sub(12)..=number].iter();
            if !before.into_iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety")) {
                wrong.push(format!("{place}: no SAFETY line says why it is sound"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_large() {
    let lines = |f: &PathBuf| fs::read_to_string(f).unwrap().lines().count();
    let large: Vec<_> = files(&root()).into_iter().map(|f| (lines(&f), f)).filter(|(n, _)| *n > LINES).collect();
    assert!(large.is_empty(), "{large:?}");
}

#[test]
fn the_reader_of_imports_reads() {
    assert_eq!(named("use crate::{wire::Mac, tables};"), ["wire", "tables", ""]);
    assert_eq!(named("    pub(in crate::port) fn x(a: crate::wire::Mac)"), ["port", "wire"]);
}
