//! The table that is printed when all rows have been tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::rows::{OPEN, OPEN_PAIRS, Pair, ROWS, Row, open};
use crate::stage::Case;

/// How a row ended, for one pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    Passed,
    Open,
    Failed,
}

/// What has been found out so far.
#[derive(Default)]
pub(crate) struct Table {
    verdicts: BTreeMap<(u8, Pair), Verdict>,
    cases: BTreeMap<u8, usize>,
    unfinished: Vec<u8>,
    /// Parts of rows that are open and have been tried.
    met: BTreeSet<(u8, &'static str)>,
}

impl Table {
    /// The row is about to be played: whatever ends it early, it is not forgotten.
    pub(crate) fn begin(&mut self, row: &Row) {
        self.unfinished.push(row.number);
    }

    /// Notes how the cases of a row ended, and says what is wrong with the row.
    pub(crate) fn note(&mut self, row: &Row, cases: &[Case]) -> Result<(), String> {
        self.unfinished.retain(|number| *number != row.number);
        *self.cases.entry(row.number).or_default() += cases.len();
        let mut wrong: Vec<String> = Vec::new();
        for case in cases {
            let expected = OPEN.iter().find(|open| open.row == row.number && case.name.contains(open.cases));
            self.met.extend(expected.map(|open| (open.row, open.cases)));
            let verdict = match (&case.wrong, expected.is_some()) {
                (None, false) => Verdict::Passed,
                (Some(_), true) => Verdict::Open,
                (Some(what), false) => {
                    wrong.push(what.clone());
                    Verdict::Failed
                }
                (None, true) => {
                    wrong.push(format!("{} holds: it must be taken off the list of what is open", case.name));
                    Verdict::Failed
                }
            };
            let all = self.verdicts.entry((row.number, case.pair)).or_insert(verdict);
            *all = verdict.max(*all);
        }
        if cases.is_empty() {
            wrong.push("the row has no cases".into());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Is part of the row open that no case has tried?
    fn untried(&self, row: &Row) -> bool {
        OPEN.iter().any(|open| open.row == row.number && !self.met.contains(&(open.row, open.cases)))
    }

    fn word(&self, row: &Row, pair: Pair) -> &'static str {
        if open(row).is_some() || OPEN_PAIRS.iter().any(|(open, _)| *open == pair) {
            return "OPEN";
        }
        match self.verdicts.get(&(row.number, pair)) {
            _ if self.unfinished.contains(&row.number) => "FAILED",
            Some(Verdict::Passed) if self.untried(row) => "OPEN",
            Some(Verdict::Passed) => "passed",
            Some(Verdict::Open) => "OPEN",
            Some(Verdict::Failed) => "FAILED",
            None if self.cases.contains_key(&row.number) => "–", // the row does not speak of this pair
            None => "not run",
        }
    }

    /// The table, and the reasons of what is open.
    pub(crate) fn print(&self) -> String {
        let mut out = String::from("\nConformance\n");
        let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("a string takes all");
        let head = Pair::ALL.map(|pair| format!("{:8}", pair.0)).concat();
        line(format_args!("row  {:64} {:21} {head}cases", "rule", "source"));
        for row in &ROWS {
            let words = Pair::ALL.map(|pair| format!("{:8}", self.word(row, pair))).concat();
            let cases = self.cases.get(&row.number).copied().unwrap_or_default();
            line(format_args!("{:3}  {:64} {:21} {words}{cases:5}", row.number, row.rule, row.source));
        }
        for (pair, reason) in OPEN_PAIRS {
            line(format_args!("OPEN in {}: {reason}", pair.0));
        }
        for open in OPEN {
            let part = if open.cases.is_empty() { String::new() } else { format!(", `{}`", open.cases) };
            line(format_args!("OPEN in row {}{part}: {}", open.row, open.reason));
        }
        out
    }
}
