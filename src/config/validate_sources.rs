//! Sources against overlays, and against each other.

use std::collections::HashMap;

use super::SourceConfig;
use super::errors::Problems;
use super::raw::Raw;
use super::raw_sources::RawSource;
use super::reader::{At, Field, Place, labelled};
use super::suggest::did_you_mean;
use super::validate::{at_most, unique};
use crate::control::learnt::Rules;
use crate::tables::OverlayId;
use crate::wire::Prefix;

/// Sources are counted in a byte, and one of them is the file.
const MAX_SOURCES: usize = 255;

/// Checks the sources and makes them what they stand for.
pub(super) fn sources(raw: &Raw, problems: &mut Problems) -> Vec<SourceConfig> {
    at_most("source", raw.sources.len(), MAX_SOURCES, &(0..0), problems);
    let names = raw.sources.iter().enumerate().filter_map(|(i, s)| Some((i, s.name.as_ref()?)));
    unique("source", "name", names, problems, |name| format!("source `{name}` is given twice"));
    let rows = raw.sources.iter().enumerate();
    rows.filter_map(|(row, source)| settled(raw, source, overlay(raw, row, source, problems)?)).collect()
}

fn overlay(raw: &Raw, row: usize, source: &RawSource, problems: &mut Problems) -> Option<usize> {
    let named = source.overlay.as_ref()?;
    let names = raw.overlays.iter().enumerate();
    let names: HashMap<&str, usize> = names.filter_map(|(i, o)| Some((o.name.as_ref()?.value.as_str(), i))).collect();
    let found = names.get(named.value.as_str()).copied();
    if found.is_none() && !names.is_empty() {
        let key = labelled(Place::Row("source", row).key("overlay"), source.name.as_ref().map(|n| n.value.as_str()));
        let hint = did_you_mean(&named.value, names.keys().copied());
        let shown: String = named.value.chars().take(60).flat_map(char::escape_debug).collect();
        problems.add(&named.span, key, format!("`{shown}` is not the name of an overlay of this file{hint}"));
    }
    found
}

fn settled(raw: &Raw, source: &RawSource, overlay: usize) -> Option<SourceConfig> {
    let kind = source.kind.clone()?;
    let rules = Rules {
        overlay: OverlayId(u16::try_from(overlay).ok()?),
        local: raw.overlays.get(overlay)?.local.as_ref()?.value,
        allow: prefixes(&source.allow),
        vteps: prefixes(&source.vteps),
        max_prefixes: source.max_prefixes.as_ref()?.value as usize,
        nested: kind.nests(),
        withdraw_at_most: source.withdraw_at_most.as_ref()?.value,
    };
    let name = source.name.as_ref()?.value.clone();
    let advertise = source.advertise.known().map(|at| at.value.clone());
    let deregister = source.deregister.known().is_none_or(|at| at.value);
    Some(SourceConfig { name, preference: source.preference.as_ref()?.value, rules, kind, advertise, deregister })
}

fn prefixes(field: &Field<Vec<Option<At<Prefix>>>>) -> Vec<Prefix> {
    let known = field.known().map_or(&[][..], |list| &list.value);
    known.iter().flatten().map(|at| at.value).collect()
}
