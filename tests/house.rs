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

/// Code without comments and the contents of literals, all else in its place and on its line.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if !out.ends_with(|p: char| p.is_alphanumeric() || p == '_') => prefixed(rest),
            '\'' => character(rest),
            _ => 0,
        };
        let taken = skipped.max(c.len_utf8());
        let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
        match skipped {
            0 => out.push(c),
            _ => out.extend(rest[..taken].chars().map(blank)),
        }
        rest = &rest[taken..];
    }
    out
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        let step = match (here.starts_with(b"/*"), here.starts_with(b"*/")) {
            (true, _) => 1,
            (_, true) => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string literal with escapes.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length of a literal such as `b"…"` or `r#"…"#`; 0 if it is none.
fn prefixed(text: &str) -> usize {
    let letters = text.find(|c| !"rbc".contains(c)).unwrap_or(text.len());
    let hashes = text[letters..].find(|c| c != '#').unwrap_or(0);
    let body = &text[letters + hashes..];
    if letters > 2 || !body.starts_with('"') {
        return 0;
    }
    match text[..letters].contains('r') {
        true => {
            let end = format!("\"{}", "#".repeat(hashes));
            letters + hashes + 1 + body[1..].find(&end).map_or(body.len() - 1, |at| at + end.len())
        }
        false if hashes == 0 => letters + string(body),
        false => 0,
    }
}

/// The length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, c))) => {
            let from = at + c.len_utf8();
            text[from..].find('\'').map_or(0, |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// The words and signs of bare code, each with its line; `::` is one sign.
fn tokens(bare: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    for (number, line) in bare.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let len = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                _ => word,
            };
            out.push((number, &rest[..len]));
            rest = rest[len..].trim_start();
        }
    }
    out
}

/// The rooms some code names, each with its line (from 0): whatever is first below the crate in a path that begins with
/// `crate`, `self` or `super`, in braces, too, over any lines. `module` is the path of the file's module.
fn named(text: &str, module: &[&str]) -> Vec<(usize, String)> {
    let bare = bare(text);
    let tokens = tokens(&bare);
    let (mut out, mut inner, mut at) = (Vec::new(), Vec::new(), 0);
    let mut depth = 0;
    while let Some((_, token)) = tokens.get(at) {
        let path = |n: usize| tokens.get(n).is_some_and(|t| t.1 == "::");
        match *token {
            // a module within the file: `super` there is one deeper until its brace closes
            "mod" if tokens.get(at + 2).is_some_and(|t| t.1 == "{") => {
                inner.push((depth, tokens[at + 1].1));
                depth += 1;
                at += 3;
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inner.pop_if(|(outside, _)| *outside == depth);
            }
            "crate" | "self" | "super" if path(at + 1) && (at == 0 || !path(at - 1)) => {
                let here: Vec<&str> = module.iter().copied().chain(inner.iter().map(|(_, name)| *name)).collect();
                at = follow(&tokens, at, &here, &mut out);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    out
}

/// Follows a path, or a tree of paths, from token `at` on, `here` being the module it is relative to. Returns where it
/// ends.
fn follow(tokens: &[(usize, &str)], mut at: usize, here: &[&str], out: &mut Vec<(usize, String)>) -> usize {
    let mut place = here.to_vec();
    while let Some((line, token)) = tokens.get(at) {
        match *token {
            "crate" => place.clear(),
            "self" => {}
            "super" => _ = place.pop(),
            "{" => {
                at += 1;
                while let Some((_, token)) = tokens.get(at).filter(|t| t.1 != "}") {
                    at = match *token {
                        "," => at + 1,
                        "as" => at + 2,
                        _ => follow(tokens, at, &place, out),
                    };
                }
                return at + 1;
            }
            name => {
                if place.is_empty() {
                    out.push((*line, name.to_owned()));
                }
                place.push("");
            }
        }
        at += 1;
        match tokens.get(at) {
            Some((_, "::")) => at += 1,
            _ => break,
        }
    }
    at
}

/// The path of the module a file is.
fn module(file: &Path) -> Vec<String> {
    let path = file.strip_prefix(root()).unwrap().with_extension("");
    let names = path.iter().map(|n| n.to_str().unwrap().to_owned());
    names.filter(|n| !["lib", "main", "mod"].contains(&n.as_str())).collect()
}

/// The unsafe blocks, functions, traits and impls (by their line, from 0) of which no comment says why they are sound:
/// the comment right above the statement or item, attributes between, or the first lines within the block.
fn undebted(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let bare = bare(text);
    let code: Vec<&str> = bare.lines().map(str::trim).collect();
    let says = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    let comment = |n: usize| lines[n].starts_with("//");
    let above = |line: usize| {
        // the statement may begin on a line before: it goes up to where another one ended
        let ended = |n: usize| code[n].is_empty() || code[n].ends_with([';', '{', '}', ',']);
        let first = (0..line).rev().take_while(|n| !ended(*n)).last().unwrap_or(line);
        let attribute = |n: &usize| comment(*n) || code[*n].starts_with("#[");
        (0..first).rev().take_while(attribute).any(|n| comment(n) && says(lines[n]))
    };
    let within = |line: usize| {
        let comments = (line + 1..lines.len()).take_while(|n| comment(*n));
        code[line].ends_with('{') && comments.into_iter().any(|n| says(lines[n]))
    };
    let mut uses: Vec<usize> = tokens(&bare).into_iter().filter(|t| t.1 == "unsafe").map(|t| t.0).collect();
    uses.dedup();
    uses.into_iter().filter(|line| !above(*line) && !within(*line)).collect()
}

#[test]
fn rooms_import_only_what_the_map_allows() {
    let map = map();
    assert!(map.len() >= 11, "the table in lib.rs was not understood: {:?}", map.keys());
    let mut wrong = Vec::new();
    for file in files(&root()) {
        let Some(from) = room(&file) else { continue };
        let here = map.get(&from).unwrap_or_else(|| panic!("{}: no room of the map", file.display()));
        let module = module(&file);
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        for (line, to) in named(&fs::read_to_string(&file).unwrap(), &module) {
            let allowed = to == from || here.imports.contains(&to);
            if to == "*" || (map.contains_key(&to) && !allowed) {
                wrong.push(format!("{}:{}: {from} may not import {to}", file.display(), line + 1));
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
        let text = fs::read_to_string(&file).unwrap();
        let place = |line: usize| format!("{}:{}", file.display(), line + 1);
        if room(&file).as_deref() != Some("port") {
            let bare = bare(&text);
            let uses = tokens(&bare).into_iter().filter(|t| t.1 == "unsafe");
            wrong.extend(uses.map(|(line, _)| format!("{}: unsafe outside port", place(line))));
        }
        wrong.extend(undebted(&text).into_iter().map(|l| format!("{}: no SAFETY line says why it is sound", place(l))));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_large() {
    let lines = |f: &PathBuf| fs::read_to_string(f).unwrap().lines().count();
    let large: Vec<_> = files(&root()).into_iter().map(|f| (lines(&f), f)).filter(|(n, _)| *n > LINES).collect();
    assert!(large.is_empty(), "{large:?}");
}

fn names(text: &str, module: &[&str]) -> Vec<String> {
    named(text, module).into_iter().map(|(_, name)| name).collect()
}

#[test]
fn the_reader_of_imports_reads() {
    assert_eq!(names("use crate::{wire::Mac, tables};", &["path"]), ["wire", "tables"]);
    assert_eq!(names("    pub(in crate::port) fn x(a: crate::wire::Mac)", &["port"]), ["port", "wire"]);
    // lines, nesting, renaming, a trailing comma
    let text = "use crate::{\n    wire::{Mac, addr::{self, Prefix}}, // crate::cli\n    tables as cli,\n    drops::*,\n};\nlet x = 1;";
    let lines: Vec<_> = named(text, &["path"]);
    let want = [(1, "wire"), (2, "tables"), (3, "drops")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(lines, want);
    assert_eq!(names("use crate::*; use crate::{wire::*, *};", &["path"]), ["*", "wire", "*"]);
    assert_eq!(names("use crate::\n    worker\n    ::Worker;", &["path"]), ["worker"]);
    assert_eq!(names("use crate::{{wire}, {tables::{Fib}}, cli};", &["path"]), ["wire", "tables", "cli"]);
}

#[test]
fn the_reader_knows_where_super_leads() {
    let file = ["port", "xdp", "open"];
    assert_eq!(names("use super::super::super::worker::Worker;", &file), ["worker"]);
    assert_eq!(names("use super::{socket, super::{ring, super::{cli, wire}}};", &file), ["cli", "wire"]);
    assert!(names("use super::super::worker; use super::cli; use self::config;", &file).is_empty());
    assert_eq!(names("use super::worker;", &["port"]), ["worker"]);
    // modules within the file
    let text = "mod a { mod b { use super::super::super::cli; } use super::super::wire; fn f() {} use super::drops; }\n\
                use super::tables; mod c; use super::{self, path};";
    assert_eq!(names(text, &["port"]), ["cli", "wire", "tables", "path"]);
    assert_eq!(module(&root().join("port/xdp/mod.rs")), ["port", "xdp"]);
    assert_eq!(module(&root().join("drops.rs")), ["drops"]);
}

#[test]
fn the_reader_skips_what_is_no_code() {
    let quoted =
        r####"let a = "crate::cli \" crate::cli"; let b = r#"crate::cli " {"#; let c = b"{"; let d = br"{";"####;
    assert!(names(quoted, &["wire"]).is_empty());
    let marks =
        "let a = '\"'; let b = '{'; let c = '\\''; let d = '\\u{7d}'; fn f<'a>(x: &'a str) {} /* crate::cli /* { */ */";
    assert_eq!(names(&format!("{marks}\nuse super::wire; // {{\nuse super::tables;"), &["x"]), ["wire", "tables"]);
    assert_eq!(bare("a // b\n\"c\nd\" e"), "a     \n  \n   e");
}

#[test]
fn every_unsafe_has_a_reason_of_its_own() {
    let sound = [
        "// SAFETY: so\nunsafe { a() }",
        "// SAFETY: so\n// and so\nlet x =\n    unsafe { a() };",
        "let x = unsafe {\n    // so it is:\n    // SAFETY: so\n    a()\n};",
        "/// # Safety\n/// Asks much.\n#[inline]\nunsafe fn f() {}",
        "// SAFETY: so\nlet Some(x) = (unsafe { a() }) else { return };",
        "// SAFETY: so\nlet x = y\n    .map(|z| unsafe { z.a() })\n    .b();",
        "// unsafe\nlet x = \"unsafe\";",
    ];
    for text in sound {
        assert!(undebted(text).is_empty(), "{text}");
    }
    let unsound = [
        ("unsafe { a() }", 0),
        ("// SAFETY: of another\nunsafe { a() };\nunsafe { b() };", 2),
        ("// SAFETY: too far\n\nunsafe { a() }", 2),
        ("let x = unsafe {\n    a();\n    // SAFETY: too late\n    b()\n};", 0),
        ("// SAFETY: of another\nlet y = 1;\nlet x = unsafe { a() };", 2),
        ("/// Asks much.\nunsafe fn f() {}", 1),
    ];
    for (text, line) in unsound {
        assert_eq!(undebted(text), [line], "{text}");
    }
}
