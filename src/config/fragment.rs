//! Files of a directory that is watched: the nodes of one overlay, in the words of the config file.

use toml::de::DeTable;

use super::ConfigErrors;
use super::errors::Problems;
use super::load::{parsed, utf8};
use super::raw::{Node, node};
use super::reader::{Place, Section};
use crate::control::source::Claim;

/// Reads a fragment: rows of `[[peer]]` without an `overlay`, which is that of the source.
///
/// # Errors
/// All that is wrong with it, each with its line and what would be right.
pub fn claims(bytes: &[u8]) -> Result<Vec<Claim>, Vec<String>> {
    read(bytes).map_err(|errors| {
        let line = |e: &super::ConfigError| match e.key.as_str() {
            "" => format!("line {}, column {}: {}", e.at.line, e.at.column, e.message),
            key => format!("line {}, column {}: {key}: {}", e.at.line, e.at.column, e.message),
        };
        errors.iter().map(line).collect()
    })
}

fn read(bytes: &[u8]) -> Result<Vec<Claim>, ConfigErrors> {
    let text = utf8(bytes, "")?;
    let mut problems = Problems::default();
    let Some(table) = parsed(text, &mut problems) else { return Err(problems.finish("", text)) };
    let nodes = nodes(&table, &mut problems);
    if nodes.is_empty() && problems.is_empty() {
        // as a file is that is being written
        problems.add(&(0..0), "", "has no [[peer]]; delete the file if it is to say nothing");
    }
    if !problems.is_empty() {
        return Err(problems.finish("", text));
    }
    Ok(nodes.into_iter().flat_map(node_claims).collect())
}

fn nodes(table: &DeTable<'_>, problems: &mut Problems) -> Vec<Node> {
    Section::new(Place::Root, table, 0..0, problems).through(|file| file.rows("peer", node))
}

fn node_claims(node: Node) -> impl Iterator<Item = Claim> {
    let known = node.vtep.zip(node.mac).zip(node.prefixes);
    known.into_iter().flat_map(|((vtep, mac), prefixes)| {
        let (vtep, mac) = (vtep.value, mac.value);
        prefixes.value.into_iter().flatten().map(move |prefix| Claim { prefix: prefix.value, vtep, mac })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_claims() {
        let text = "[[peer]]\nvtep = \"192.0.2.1\"\nmac = \"02:00:00:00:00:01\"\nprefixes = [\"10.1.0.0/16\", \"fd00::/64\"]\n\
                    [[peer]]\nvtep = \"2001:db8::1\"\nmac = \"02:00:00:00:00:02\"\nprefixes = [\"10.2.0.0/16\"]\n";
        let said: Vec<_> =
            claims(text.as_bytes()).unwrap().iter().map(|c| format!("{} {} {}", c.prefix, c.vtep, c.mac)).collect();
        let expected = [
            "10.1.0.0/16 192.0.2.1 02:00:00:00:00:01",
            "fd00::/64 192.0.2.1 02:00:00:00:00:01",
            "10.2.0.0/16 2001:db8::1 02:00:00:00:00:02",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line_and_what_would_be_right() {
        let wrong = |text: &[u8]| claims(text).unwrap_err().join("\n");
        let text = "[[peer]]\nvtep = \"192.0.2\"\nmac = \"02:00:00:00:00:01\"\nprefixes = [\"10.1.0.1/16\"]\noverlay = \"blue\"\n";
        let said = wrong(text.as_bytes());
        for part in
            ["line 2, column 8: peer[0].vtep: ", "line 4, column 13: ", "host bits of zero", "line 5, column 1: "]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(wrong(b"").contains("has no [[peer]]; delete the file"), "a file that is being written");
        assert!(wrong(b"[[peer]]\nvtep = \"192.0").starts_with("line 2, "), "{}", wrong(b"[[peer]]\nvtep = \"192.0"));
        assert!(wrong(b"[[peer]]\n\xff").starts_with("line 2, column 1: byte 0xff is not UTF-8"));
        assert!(wrong(b"[[port]]\n").contains("port"));
    }
}
