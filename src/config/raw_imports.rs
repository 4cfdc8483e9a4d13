//! The shape of `import`: what the access ports, or an overlay, may reach.

use toml::de::DeValue;

use super::kinds;
use super::reader::{At, Field, Reading, Section};
use crate::wire::Prefix;

const IMPORTS: &str = "an array of at least one of \"all\", \"native\", names of overlays and prefixes";

/// One thing that may be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Import {
    All,
    /// What is behind next hops on access ports.
    Native,
    /// What is behind nodes of the overlay of this name.
    Overlay(String),
    Prefix(Prefix),
}

/// What may be reached; wrong ones stand as `None`.
pub(super) type RawImports = Field<Vec<Option<At<Import>>>>;

/// Reads `import` of a table.
pub(super) fn imports(s: &mut Section<'_, '_>) -> RawImports {
    s.list("import", IMPORTS, import)
}

fn import(value: &DeValue<'_>) -> Reading<Import> {
    match value.as_str() {
        Some("all") => Ok(Import::All),
        Some("native") => Ok(Import::Native),
        Some(prefix) if prefix.contains('/') => kinds::prefix(value).map(Import::Prefix),
        Some(name) => Ok(Import::Overlay(name.to_owned())),
        None => Err("\"all\", \"native\", the name of an overlay, or a prefix".into()),
    }
}
