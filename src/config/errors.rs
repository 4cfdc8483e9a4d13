//! What is wrong with a config file: everything, in the order of the file, each with its place.

use core::fmt;
use core::ops::Range;

/// Lines longer than this are measured in bytes, not characters, and shown without an excerpt: a file of one enormous
/// line with a hundred thousand mistakes must still be answered at once.
const LONG_LINE: usize = 4096;

/// Excerpts are cut to so many characters.
const EXCERPT: usize = 110;

/// A place in a file, counted from one; `0:0` when the problem has no place (the file cannot be read).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Where.
    pub at: Position,
    /// Key path, such as `overlay[1].vni (blue)`; rows count from zero. Empty when no key is concerned.
    pub key: String,
    /// What was found and what would be legal.
    pub message: String,
    /// Other places that take part in the contradiction, and their key paths.
    pub also: Vec<(Position, String)>,
    excerpt: Option<Excerpt>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Excerpt {
    line: String,
    indent: usize,
    carets: usize,
}

/// Every problem of one config file, sorted by position; never empty. `Display` prints them all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The problems.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty)] // it is never empty
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// A single problem with the file as a whole, which has no place in it.
    pub(super) fn unreadable(file: &str, message: String) -> Self {
        let error =
            ConfigError { at: Position::default(), key: String::new(), message, also: Vec::new(), excerpt: None };
        Self { file: file.to_owned(), errors: vec![error] }
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for e in &self.errors {
            self.write_one(f, e)?;
        }
        let s = if self.errors.len() == 1 { "" } else { "s" };
        write!(f, "{}: {} error{s}", self.file, self.errors.len())
    }
}

impl ConfigErrors {
    fn write_one(&self, f: &mut fmt::Formatter<'_>, e: &ConfigError) -> fmt::Result {
        self.write_place(f, e.at)?;
        f.write_str(": error: ")?;
        if !e.key.is_empty() {
            write!(f, "{}: ", e.key)?;
        }
        writeln!(f, "{}", e.message)?;
        if let Some(x) = &e.excerpt {
            writeln!(f, "{:>5} | {}", e.at.line, x.line)?;
            writeln!(f, "      | {:indent$}{:^<carets$}", "", "", indent = x.indent, carets = x.carets)?;
        }
        for (at, key) in &e.also {
            f.write_str("      = ")?;
            self.write_place(f, *at)?;
            writeln!(f, ": {key}")?;
        }
        Ok(())
    }

    fn write_place(&self, f: &mut fmt::Formatter<'_>, at: Position) -> fmt::Result {
        f.write_str(&self.file)?;
        if at.line > 0 { write!(f, ":{}:{}", at.line, at.column) } else { Ok(()) }
    }
}

/// A problem by byte range, before lines and columns are worked out.
#[derive(Debug)]
pub(super) struct Problem {
    span: Range<usize>,
    key: String,
    message: String,
    also: Vec<(Range<usize>, String)>,
}

impl Problem {
    /// Names another place that has part in it.
    pub(super) fn also(&mut self, span: &Range<usize>, key: impl Into<String>) -> &mut Self {
        self.also.push((span.clone(), key.into()));
        self
    }
}

/// Collects problems while a file is read; reading goes on after each.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    /// Every (section, key) the reader asked for: what the tests hold the documentation to.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<(&'static str, &'static str)>,
}

impl Problems {
    /// Adds one.
    pub(super) fn add(
        &mut self,
        span: &Range<usize>,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Problem {
        let problem = Problem { span: span.clone(), key: key.into(), message: message.into(), also: Vec::new() };
        self.found.push_mut(problem)
    }

    /// True when nothing was wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Gives every problem its line and column.
    pub(super) fn finish(mut self, file: &str, text: &str) -> ConfigErrors {
        self.found.sort_by_key(|p| p.span.start); // stable: problems of one place stay in the order they were found
        let lines = Lines::new(text);
        let errors = self
            .found
            .into_iter()
            .map(|p| ConfigError {
                at: lines.position(p.span.start),
                key: p.key,
                message: p.message,
                also: p.also.into_iter().map(|(span, key)| (lines.position(span.start), key)).collect(),
                excerpt: lines.excerpt(&p.span),
            })
            .collect();
        ConfigErrors { file: file.to_owned(), errors }
    }
}

/// Where the lines of a text begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let starts = core::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { text, starts }
    }

    /// Index, start and content of the line that holds byte `offset`.
    fn line(&self, offset: usize) -> (usize, usize, &'t str) {
        let index = self.starts.partition_point(|s| *s <= offset) - 1;
        let start = self.starts[index];
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        (index, start, self.text[start..end].trim_end_matches('\r'))
    }

    /// Characters of `line` in front of byte `offset` of it.
    fn column(line: &str, offset: usize) -> usize {
        if line.len() > LONG_LINE { offset } else { line.char_indices().take_while(|(i, _)| *i < offset).count() }
    }

    fn position(&self, offset: usize) -> Position {
        let (index, start, line) = self.line(offset.min(self.text.len()));
        Position { line: index + 1, column: Self::column(line, offset.min(self.text.len()) - start) + 1 }
    }

    fn excerpt(&self, span: &Range<usize>) -> Option<Excerpt> {
        let (_, start, line) = self.line(span.start.min(self.text.len()));
        if line.len() > LONG_LINE || line.trim().is_empty() {
            return None;
        }
        let indent = Self::column(line, span.start - start);
        if indent >= EXCERPT {
            return None;
        }
        let end = Self::column(line, (span.end - start).min(line.len())).min(EXCERPT);
        // Whatever a file holds, it must not steer the terminal.
        let shown = line.chars().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Some(Excerpt { line: shown, indent, carets: end.saturating_sub(indent).max(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let lines = Lines::new("a\nbé = 1\r\n\n");
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 2), (2, 2, 1), (5, 2, 3), (6, 2, 4), (11, 3, 1), (12, 4, 1), (99, 4, 1)]
        {
            assert_eq!(lines.position(offset), Position { line, column }, "{offset}");
        }
    }

    #[test]
    fn problems_are_sorted_and_shown_with_their_line() {
        let text = "one = 1\ntwo = \"\u{1b}[2J\"\n";
        let mut problems = Problems::default();
        problems.add(&(14..20), "two", "is not one").also(&(0..3), "one");
        problems.add(&(6..7), "one", "is not two");
        let shown = problems.finish("f.toml", text).to_string();
        let expected = "f.toml:1:7: error: one: is not two\n    1 | one = 1\n      |       ^\n\
             f.toml:2:7: error: two: is not one\n    2 | two = \" [2J\"\n      |       ^^^^^^\n      = f.toml:1:1: one\n\
             f.toml: 2 errors";
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_enormous_line_is_answered_at_once() {
        let text = "x".repeat(1 << 20);
        let mut problems = Problems::default();
        for i in 0..10_000 {
            problems.add(&(i * 100..i * 100 + 1), "k", "bad");
        }
        assert_eq!(problems.finish("f", &text).len(), 10_000);
    }
}
