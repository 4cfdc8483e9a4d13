//! What is told about sources of the map: to programs as metrics, to people as lines.

use std::fmt::Write as _;

use super::families::Families;
use crate::control::learnt::{Condition, SourceStatus};
use crate::control::source::Refusal;

/// The metrics.
pub(super) fn measure(f: &mut Families, sources: &[SourceStatus]) {
    for s in sources {
        let labels = [("source", s.name.as_str()), ("overlay", s.overlay.as_str())];
        let help = "1 while all is as the source says; 0 while it lists, or cannot be heard.";
        f.gauge("selvedge_source_in_step", help, &labels, f64::from(u8::from(s.condition == Condition::InStep)));
        if let Some(age) = s.age {
            let help =
                "How old what is in force may be: since when the source was not heard. Absent until it was heard once.";
            f.gauge("selvedge_source_age_seconds", help, &labels, age.as_secs_f64());
        }
        f.gauge("selvedge_source_objects", "Objects a source told of: nodes, keys, routes.", &labels, s.objects as f64);
        f.gauge("selvedge_source_prefixes", "Prefixes of a source in force.", &labels, s.prefixes as f64);
        let help = "Objects that are gone and whose prefixes the guard against mass withdrawal keeps in force.";
        f.gauge("selvedge_source_held", help, &labels, s.held as f64);
        f.counter("selvedge_source_lists_total", "Complete lists a source told.", &labels, s.lists);
        f.counter("selvedge_source_losses_total", "Times a source could not be heard any more.", &labels, s.losses);
        for refusal in Refusal::ALL {
            let labels = [("source", s.name.as_str()), ("reason", refusal.label())];
            let count = s.refusals.get(&refusal).copied().unwrap_or(0);
            f.gauge(
                "selvedge_source_refused",
                "What a source says and is not taken, by reason.",
                &labels,
                count as f64,
            );
        }
    }
}

/// Some lines a source.
pub(super) fn describe(sources: &[SourceStatus]) -> String {
    let mut text = String::new();
    // writing to a String cannot fail
    for s in sources {
        let age = match s.age {
            Some(age) => format!("heard {:.0} s ago", age.as_secs_f64()),
            None => "not heard since the start; what is in force is of a snapshot".to_owned(),
        };
        let lasts = s.lasts.as_secs();
        let _ = writeln!(text, "{} (overlay {}): {} for {lasts} s, {age}", s.name, s.overlay, s.condition.label());
        let _ = writeln!(text, "  {}", s.origin);
        if let Condition::Lost(why) = &s.condition {
            let _ = writeln!(text, "  cannot be heard: {why}");
        }
        let _ = writeln!(text, "  {} objects, {} prefixes in force", s.objects, s.prefixes);
        if s.held > 0 {
            let held = s.held;
            let _ =
                writeln!(text, "  {held} objects are gone and held back; if that is meant: selvedge accept {}", s.name);
        }
        let refused: usize = s.refusals.values().sum();
        if refused > 0 {
            let _ = writeln!(text, "  {refused} not taken:");
        }
        for r in &s.refused {
            let _ = writeln!(text, "    {}: {}: {}", r.object, r.refusal.label(), r.what);
        }
    }
    if text.is_empty() {
        text.push_str("the config file is the only source\n");
    }
    text
}
