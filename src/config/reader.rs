//! Reads tables of a parsed TOML document key by key, and goes on after a mistake.
//!
//! What a [`Section`] is asked for *is* the list of legal keys: there is no second one to keep in step.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use super::errors::Problems;
use super::suggest::did_you_mean;

/// A value and the bytes of the file it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// An optional key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Field<T> {
    /// Not in the file.
    Absent,
    /// In the file and wrong; that is already on the list of problems.
    Bad,
    /// Read.
    Is(At<T>),
}

impl<T> Field<T> {
    /// The value, if it was read.
    pub(super) fn known(&self) -> Option<&At<T>> {
        match self {
            Field::Is(at) => Some(at),
            Field::Absent | Field::Bad => None,
        }
    }

    /// `None` for a wrong value, `Some(None)` for an absent one.
    pub(super) fn settled(self) -> Option<Option<T>> {
        match self {
            Field::Absent => Some(None),
            Field::Bad => None,
            Field::Is(at) => Some(Some(at.value)),
        }
    }
}

/// Reads one value, or says what would have been legal, as a phrase that follows "is not".
pub(super) type Reading<T> = Result<T, Cow<'static, str>>;

/// Which table of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The file itself.
    Root,
    /// `[name]`.
    Table(&'static str),
    /// The n-th `[[name]]`, from zero.
    Row(&'static str, usize),
}

impl Place {
    /// The path of a key in it.
    pub(super) fn key(self, key: &str) -> String {
        match self {
            Place::Root => key.to_owned(),
            Place::Table(name) => format!("{name}.{key}"),
            Place::Row(name, row) => format!("{name}[{row}].{key}"),
        }
    }

    #[cfg(test)]
    fn name(self) -> &'static str {
        match self {
            Place::Root => "",
            Place::Table(name) | Place::Row(name, _) => name,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => f.write_str("the file"),
            Place::Table(name) => write!(f, "[{name}]"),
            Place::Row(name, _) => write!(f, "[[{name}]]"),
        }
    }
}

/// One table while it is read. Call [`Section::finish`] at the end: it finds the keys nobody asked for.
pub(super) struct Section<'t, 'p> {
    table: &'t DeTable<'t>,
    span: Range<usize>,
    place: Place,
    label: Option<String>,
    asked: Vec<&'static str>,
    forgiving: bool,
    problems: &'p mut Problems,
}

impl<'t, 'p> Section<'t, 'p> {
    pub(super) fn new(place: Place, table: &'t DeTable<'t>, span: Range<usize>, problems: &'p mut Problems) -> Self {
        Self { table, span, place, label: None, asked: Vec::with_capacity(12), forgiving: false, problems }
    }

    /// Adds a name for people to the paths of this table.
    pub(super) fn set_label(&mut self, label: Option<&str>) {
        self.label = label.map(str::to_owned);
    }

    fn path(&self, key: &str) -> String {
        labelled(self.place.key(key), self.label.as_deref())
    }

    fn find(&mut self, key: &'static str) -> Option<(Range<usize>, &'t DeValue<'t>)> {
        self.asked.push(key);
        #[cfg(test)]
        self.problems.asked.insert((self.place.name(), key));
        self.table.get(key).map(|v| (v.span(), v.get_ref()))
    }

    fn read<T>(
        &mut self,
        path: impl Fn(&Self) -> String,
        (span, value): (Range<usize>, &DeValue<'_>),
        read: &impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Option<At<T>> {
        match read(value) {
            Ok(value) => Some(At { value, span }),
            Err(expected) => {
                let path = path(self);
                self.problems.add(&span, path, format!("{} is not {expected}", show(value)));
                None
            }
        }
    }

    /// A key that may be absent.
    pub(super) fn optional<T>(&mut self, key: &'static str, read: impl Fn(&DeValue<'_>) -> Reading<T>) -> Field<T> {
        let Some(found) = self.find(key) else { return Field::Absent };
        self.read(|s| s.path(key), found, &read).map_or(Field::Bad, Field::Is)
    }

    /// A key with a default. `None` when it is there and wrong.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Option<At<T>> {
        match self.optional(key, read) {
            Field::Absent => Some(At { value: default, span: self.span.clone() }),
            Field::Bad => None,
            Field::Is(at) => Some(at),
        }
    }

    /// A key that must be there. `None` when it is not, or is wrong.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Option<At<T>> {
        match self.optional(key, read) {
            Field::Absent => {
                self.missing(key);
                None
            }
            Field::Bad => None,
            Field::Is(at) => Some(at),
        }
    }

    fn missing(&mut self, key: &'static str) {
        let path = self.path(key);
        self.problems.add(&self.span, path, format!("missing; {} needs `{key}`", self.place));
    }

    /// An array of at least one element. Wrong elements are reported, and stand as `None`.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        what: &'static str,
        read: impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Field<Vec<Option<At<T>>>> {
        let Some(found) = self.find(key) else { return Field::Absent };
        self.elements(key, what, found, read)
    }

    /// Like [`Section::list`], where a list of one may be written without brackets.
    pub(super) fn one_or_list<T>(
        &mut self,
        key: &'static str,
        what: &'static str,
        read: impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Field<Vec<Option<At<T>>>> {
        let Some((span, value)) = self.find(key) else { return Field::Absent };
        if value.as_array().is_some() {
            return self.elements(key, what, (span, value), read);
        }
        let one = self.read(|s| s.path(key), (span.clone(), value), &read);
        Field::Is(At { value: vec![one], span })
    }

    fn elements<T>(
        &mut self,
        key: &'static str,
        what: &'static str,
        (span, value): (Range<usize>, &DeValue<'_>),
        read: impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Field<Vec<Option<At<T>>>> {
        let Some(array) = value.as_array().filter(|a| !a.is_empty()) else {
            let path = self.path(key);
            self.problems.add(&span, path, format!("{} is not {what}", show(value)));
            return Field::Bad;
        };
        let mut out = Vec::with_capacity(array.len());
        for (i, element) in array.iter().enumerate() {
            let path = |s: &Self| labelled(s.place.key(&format!("{key}[{i}]")), s.label.as_deref());
            out.push(self.read(path, (element.span(), element.get_ref()), &read));
        }
        Field::Is(At { value: out, span })
    }

    /// Like [`Section::list`], for a key that must be there.
    pub(super) fn required_list<T>(
        &mut self,
        key: &'static str,
        what: &'static str,
        read: impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Option<At<Vec<Option<At<T>>>>> {
        match self.list(key, what, read) {
            Field::Absent => {
                self.missing(key);
                None
            }
            Field::Bad => None,
            Field::Is(at) => Some(at),
        }
    }

    /// A `[name]` of the file: `read` sees an empty one when it is absent.
    pub(super) fn table<T>(&mut self, name: &'static str, read: impl Fn(&mut Section<'_, '_>) -> T) -> T {
        let none = DeTable::new();
        let (span, table) = match self.find(name) {
            Some((span, DeValue::Table(table))) => (span, table),
            Some((span, other)) => {
                self.problems.add(&span, name, format!("{} is not a table; write [{name}]", show(other)));
                (span, &none)
            }
            None => (self.span.clone(), &none),
        };
        Section::new(Place::Table(name), table, span, self.problems).through(read)
    }

    /// All `[[name]]` of the file.
    pub(super) fn rows<T>(&mut self, name: &'static str, read: impl Fn(&mut Section<'_, '_>) -> T) -> Vec<T> {
        let Some((span, value)) = self.find(name) else { return Vec::new() };
        let complain = |problems: &mut Problems, span: &Range<usize>, value: &DeValue<'_>| {
            problems.add(span, name, format!("{} is not an array of tables; write [[{name}]]", show(value)));
        };
        let row = |problems: &mut Problems, i, table, span| {
            Section::new(Place::Row(name, i), table, span, problems).through(&read)
        };
        match value {
            DeValue::Array(array) => {
                let mut out = Vec::with_capacity(array.len());
                for (i, element) in array.iter().enumerate() {
                    match element.get_ref() {
                        DeValue::Table(table) => out.push(row(self.problems, i, table, element.span())),
                        other => complain(self.problems, &element.span(), other),
                    }
                }
                out
            }
            DeValue::Table(table) => {
                complain(self.problems, &span, value);
                vec![row(self.problems, 0, table, span)]
            }
            other => {
                complain(self.problems, &span, other);
                Vec::new()
            }
        }
    }

    /// Adds a problem with a key, or with its absence.
    pub(super) fn complain(&mut self, key: &'static str, message: String) {
        let (path, span) = (self.path(key), self.table.get(key).map_or_else(|| self.span.clone(), |v| v.span()));
        self.problems.add(&span, path, message);
    }

    /// Keys that nobody asks for are no mistake: what would be legal depends on one that is wrong.
    pub(super) fn forgive(&mut self) {
        self.forgiving = true;
    }

    /// Reads all of it, then looks for keys nobody asked for.
    pub(super) fn through<T>(mut self, read: impl Fn(&mut Section<'_, '_>) -> T) -> T {
        let out = read(&mut self);
        self.finish();
        out
    }

    fn finish(self) {
        for key in self.table.keys().filter(|_| !self.forgiving) {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let mut message = format!("unknown key in {}", self.place);
            match did_you_mean(name, self.asked.iter().copied()) {
                hint if hint.is_empty() => message += &format!("; its keys are {}", self.asked.join(", ")),
                hint => message += &hint,
            }
            let path = labelled(self.place.key(&clean(name, 40)), self.label.as_deref());
            self.problems.add(&key.span(), path, message);
        }
    }

    /// The list of problems, for rules about several keys of the table.
    pub(super) fn problems(&mut self) -> &mut Problems {
        self.problems
    }
}

/// A path with the name people know the row by.
pub(super) fn labelled(path: String, label: Option<&str>) -> String {
    match label {
        Some(label) => format!("{path} ({})", clean(label, 40)),
        None => path,
    }
}

/// Text from the file as it may be printed: escaped, and cut to `limit` characters.
fn clean(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).flat_map(char::escape_debug).collect();
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    out
}

/// A value as the file shows it, shortened.
pub(super) fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) => format!("`\"{}\"`", clean(s, 60)),
        DeValue::Integer(i) => format!("`{}`", clean(&i.to_string(), 60)),
        DeValue::Float(x) => format!("`{}`", clean(x.as_str(), 60)),
        DeValue::Boolean(b) => format!("`{b}`"),
        DeValue::Datetime(d) => format!("`{d}`"),
        DeValue::Array(a) if a.is_empty() => "`[]`".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
