//! The commands of a section of the README, as they stand there.

use std::fs;

use super::machine::repository;

/// The commands in the blocks of shell below `## title`, one each, without what is remarked about them.
pub(crate) fn commands(title: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join("README.md")).unwrap();
    let found = in_section(&text, title);
    assert!(!found.is_empty(), "the README has no commands below `## {title}`");
    found
}

fn in_section(text: &str, title: &str) -> Vec<String> {
    let heading = format!("## {title}");
    let section = text.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let (mut commands, mut shell, mut begun) = (Vec::new(), false, String::new());
    for line in section {
        match line {
            "```sh" => shell = true,
            "```" => shell = false,
            _ if !shell => {}
            // a backslash at the end: the next line belongs to it
            _ => match line.strip_suffix('\\') {
                Some(part) => begun += part,
                None => {
                    let whole = std::mem::take(&mut begun) + line;
                    let command = whole.split(" #").next().unwrap_or_default().trim();
                    commands.extend((!command.is_empty() && !command.starts_with('#')).then(|| command.to_owned()));
                }
            },
        }
    }
    commands
}

#[test]
fn commands_are_found_whole() {
    let text = "## A\n```sh\nno\n```\n## B\ntext\n```sh\none   # why\n# no\ntwo \\\n  three\n```\n```toml\nno\n```\n## C\n```sh\nno\n```\n";
    assert_eq!(in_section(text, "B"), ["one", "two   three"]);
    assert!(in_section(text, "D").is_empty());
}
