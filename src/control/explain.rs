//! Where packets to an address go, and which source said so.

use core::fmt::{self, Write as _};
use core::net::IpAddr;

use super::Target;
use super::learnt::Learnt;
use super::rib::{Candidate, Rib};
use super::source::file::FILE;
use crate::tables::Overlay;
use crate::wire::Prefix;

/// Everything that is said of an address, a line each: prefixes that hold it, from the longest to the shortest, and of
/// each what its sources say, what is in force first.
pub(super) fn explain(address: IpAddr, rib: &Rib, learnt: &Learnt, overlays: &[Overlay]) -> String {
    let (mut text, mut decided) = (String::new(), false);
    if let Some(own) = overlays.iter().find(|o| o.addresses.iter().any(|a| a == address)) {
        let _ = writeln!(text, "{address} is the gateway's own address in overlay `{}`", own.name);
        decided = true;
    }
    for said in rib.explain(address) {
        let all = core::iter::once(said.in_force).chain(said.behind.iter().copied());
        for (rank, candidate) in all.enumerate() {
            let why = match (decided, rank) {
                _ if !said.has_in_force(candidate) => "a better source has this prefix",
                (true, _) => "a longer prefix decides",
                (false, 0) => "decides",
                (false, _) => "decides, too: flows are spread over equal ways",
            };
            let who = Who { learnt, prefix: &said.prefix, candidate };
            let ways = Ways { candidate, overlays };
            let preference = candidate.preference.0;
            // writing to a String cannot fail
            let _ = writeln!(text, "{}  {ways}  said by {who}, preference {preference}: {why}", said.prefix);
        }
        decided = true;
    }
    if text.is_empty() {
        text = format!("{address}: no source has a prefix that holds it; packets to it are dropped as no_route\n");
    }
    text
}

struct Who<'a> {
    learnt: &'a Learnt,
    prefix: &'a Prefix,
    candidate: &'a Candidate,
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.candidate.source;
        match self.learnt.object(source, self.prefix) {
            Some((name, object)) => write!(f, "{name} ({object})"),
            None if source == FILE => f.write_str("the config file"),
            None => write!(f, "source {}", source.0),
        }
    }
}

struct Ways<'a> {
    candidate: &'a Candidate,
    overlays: &'a [Overlay],
}

impl fmt::Display for Ways<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, target) in self.candidate.targets.all().iter().enumerate() {
            if place > 0 {
                f.write_str(" or ")?;
            }
            match target {
                Target::Vtep { overlay, vtep, mac, .. } => {
                    let name = self.overlays.get(usize::from(overlay.0)).map_or("?", |o| &o.name);
                    write!(f, "overlay `{name}`, node {vtep} ({mac})")?;
                }
                Target::Native { port, next_hop } => write!(f, "native, next hop {next_hop} on port {}", port.0)?,
            }
        }
        Ok(())
    }
}
