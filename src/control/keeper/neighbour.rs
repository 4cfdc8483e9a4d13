//! One neighbour's life: what the kernel has, what we make of it, and when to poke the kernel again. No clock, no IO.

use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;

use crate::wire::Mac;

/// How often an unresolved neighbour is asked for.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How often, at most, a stale entry is confirmed.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Deleting an entry by hand announces it FAILED first and gone right after (`neigh_delete`): a FAILED this much older
/// than the deletion was no part of it.
pub(super) const DELETION: Duration = Duration::from_millis(100);

/// Names a neighbour entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct NeighbourKey {
    pub(super) ifindex: u32,
    pub(super) addr: IpAddr,
}

/// Neighbour unreachability detection states, as in linux/neighbour.h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nud {
    None,
    Incomplete,
    Reachable,
    Stale,
    Delay,
    Probe,
    Failed,
    NoArp,
    Permanent,
}

impl Nud {
    /// NUD_VALID: the entry's MAC address may be used.
    fn is_valid(self) -> bool {
        !matches!(self, Self::None | Self::Incomplete | Self::Failed)
    }
}

/// A neighbour entry as the kernel has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) nud: Nud,
    /// Never zero.
    pub(super) mac: Option<Mac>,
    /// The kernel keeps it resolved by itself (NTF_EXT_MANAGED).
    pub(super) managed: bool,
    /// Some daemon put it there (NTF_EXT_LEARNED).
    pub(super) learned: bool,
}

/// How to poke the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Poke {
    /// There is no entry that we know of: create one and resolve it; if there is one after all, leave it alone.
    Create,
    /// There is one: use it.
    Use {
        /// It carries NTF_EXT_LEARNED, which must be repeated.
        learned: bool,
    },
}

/// What we make of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Verdict {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// This is its MAC address, or was until something newer is known.
    Known(Mac),
    /// It does not answer.
    Failed,
}

/// A neighbour and its history.
#[derive(Clone, Default, Debug)]
pub(super) struct Neighbour {
    entry: Option<Entry>,
    verdict: Verdict,
    poked: Option<Instant>,
    /// The MAC address a possible deletion would leave in force, and when the entry turned FAILED.
    failed_from: Option<(Mac, Instant)>,
}

impl Neighbour {
    /// What we make of it.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// True when the kernel has an entry.
    pub(super) fn is_in_kernel(&self) -> bool {
        self.entry.is_some()
    }

    /// The kernel's entry is `entry` now.
    pub(super) fn entry_is(&mut self, entry: Entry, now: Instant) {
        let before = self.entry.replace(entry);
        match (entry.nud, entry.mac) {
            (Nud::Failed, _) => {
                // The kernel itself gives up only after probing; a leap from any other valid state is someone's deed.
                let leapt = before.is_none_or(|e| e.nud.is_valid() && e.nud != Nud::Probe);
                self.failed_from = match self.verdict {
                    Verdict::Known(mac) if leapt => Some((mac, now)),
                    _ => None,
                };
                self.verdict = Verdict::Failed;
            }
            (nud, Some(mac)) if nud.is_valid() => {
                self.verdict = Verdict::Known(mac);
                self.failed_from = None;
            }
            // Unresolved again (or for the first time): what was known stays in force until the kernel gives up.
            _ => {}
        }
    }

    /// The kernel deleted its entry: flushed, collected or by hand. The last MAC address stays in force.
    pub(super) fn entry_gone(&mut self, now: Instant) {
        self.entry = None;
        self.poked = None;
        if let Some((mac, at)) = self.failed_from.take()
            && now.saturating_duration_since(at) <= DELETION
        {
            self.verdict = Verdict::Known(mac);
        }
    }

    /// Forgets when it was last poked, so that it is due at once.
    pub(super) fn hurry(&mut self) {
        self.poked = None;
    }

    /// When to poke the kernel next, and how; `None` when the entry keeps itself.
    pub(super) fn due(&self) -> Option<(Option<Instant>, Poke)> {
        let (interval, poke) = match self.entry {
            None => (RETRY, Poke::Create),
            Some(entry) if entry.managed => return None,
            Some(Entry { nud: Nud::None | Nud::Incomplete | Nud::Failed, learned, .. }) => {
                (RETRY, Poke::Use { learned })
            }
            Some(Entry { nud: Nud::Stale, learned, .. }) => (KEEP_ALIVE, Poke::Use { learned }),
            Some(_) => return None,
        };
        Some((self.poked.map(|at| at + interval), poke))
    }

    /// The kernel is being poked.
    pub(super) fn poked(&mut self, now: Instant) {
        self.poked = Some(now);
    }
}
