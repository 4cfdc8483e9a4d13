//! Path MTU of peers: what routers between the VTEPs say of packets that were too big for them (RFC 1191, RFC 8201).
//!
//! The kernel of this host hears such messages, but it knows no socket that sent the packet and forgets them. Here they
//! are heard, judged, and remembered for a while: the MTU of a peer is the kernel's for the route, or less.
//!
//! | file | what it holds |
//! |---|---|
//! | `ears` | the sockets that hear ICMP and ICMPv6 |
//! | `judge` | is a message about a packet that we can have sent? (RFC 5927 §7, RFC 8899 §4.6.1: no proof, no effect) |
//! | `voice` | how often the log is told |
//! | here | [`PathMtus`]: what was learned, for how long; time is an argument, and there is no IO |
//!
//! What is learned belongs to a pair of VTEP addresses, ours and the peer's, since that is what a path is between: peers
//! of several overlays at one address share it, and neither a reload nor another set of overlays ends it.

mod ears;
mod judge;
#[cfg(test)]
mod tests;
mod voice;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::time::Instant;

use super::keeper::{Hop, HopKey, HopState};
use crate::wire::quote::TooBig;
pub use ears::Ears;
pub use judge::Ignored;
pub(super) use judge::{judge, path_of};
pub(super) use voice::Voice;

/// Lowest path MTU over IPv4. RFC 791 has every host take 576 bytes, and no link that carries VXLAN is narrower; what
/// claims to be is either forged or cannot carry a tunnel, and in both cases believing it helps nobody.
pub const FLOOR_V4: u16 = 576;
/// Lowest path MTU over IPv6: no link has less (RFC 8200 §5), and a message that says otherwise must be ignored
/// (RFC 8201 §4). Less the encapsulation 1,210 bytes are left for inner packets: too few for IPv6 inside (RFC 2473 §7.1
/// would have the *outer* packet fragmented then, which RFC 7348 §4.3 forbids), enough for IPv4 inside. A floor of
/// 1,280 plus the encapsulation would help no inner IPv6 packet either: it would leave, and be lost on that link.
pub const FLOOR_V6: u16 = 1280;

/// How often one path may be lowered at once, and how soon once more. What lowers a path becomes a new version of the
/// tables: nobody is to cause many of them. Honest routers need one each link that is narrower than the one before.
const AT_ONCE: u8 = 8;
const ONCE_MORE: Duration = Duration::from_secs(15);

/// How long what was learned counts. RFC 1191 §6.3 and RFC 8201 §4 recommend 10 minutes; it is the kernel's own setting
/// for the same purpose (`net.ipv4.route.mtu_expires`, `net.ipv6.route.mtu_expires`), whose default that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetimes {
    /// Of paths over IPv4.
    pub v4: Duration,
    /// Of paths over IPv6.
    pub v6: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { v4: Duration::from_secs(600), v6: Duration::from_secs(600) }
    }
}

impl Lifetimes {
    /// Those of the calling thread's network namespace, as far as the kernel tells.
    pub fn of_kernel() -> Self {
        let read = |path, default| match std::fs::read_to_string(path).map(|text| text.trim().parse()) {
            Ok(Ok(seconds)) => Duration::from_secs(seconds),
            _ => default,
        };
        let default = Self::default();
        Self {
            v4: read("/proc/sys/net/ipv4/route/mtu_expires", default.v4),
            v6: read("/proc/sys/net/ipv6/route/mtu_expires", default.v6),
        }
    }
}

/// A path that is narrower than the kernel knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Narrow {
    /// The peer's VTEP address.
    pub vtep: IpAddr,
    /// Ours.
    pub local: IpAddr,
    /// Largest outer IP packet, in bytes.
    pub mtu: u16,
    /// How much longer this counts.
    pub left: Duration,
}

/// How many messages became what.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Heard {
    /// They lowered a path, or said once more what it was lowered to.
    pub accepted: u64,
    /// Those that changed nothing, in the order of [`Ignored::ALL`].
    ignored: [u64; Ignored::ALL.len()],
}

impl Heard {
    /// Every reason for which messages were ignored, with their number.
    pub fn ignored(&self) -> impl Iterator<Item = (Ignored, u64)> + '_ {
        Ignored::ALL.into_iter().zip(self.ignored)
    }
}

/// A path and its history.
#[derive(Clone, Copy, Debug)]
struct Path {
    mtu: u16,
    until: Instant,
    /// How often it may be lowered yet, and since when that is counted.
    tokens: u8,
    since: Instant,
}

/// What was learned of paths.
#[derive(Debug, Default)]
pub struct PathMtus {
    lifetimes: Lifetimes,
    paths: HashMap<HopKey, Path>,
    heard: Heard,
}

impl PathMtus {
    /// Nothing is known yet, and what will be is for so long.
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..Self::default() }
    }

    /// A next hop as the kernel has it, but for the MTU of its path if that is known to be less.
    pub fn narrowed(&self, key: &HopKey, state: HopState) -> HopState {
        let mtu = self.paths.get(key).map_or(u32::MAX, |path| path.mtu.into());
        state.map(|hop| Hop { mtu: hop.mtu.min(mtu), ..hop })
    }

    /// A message that could be read says that a packet on the path `key`, which our own knowledge does not contradict, was
    /// too big. `known` is the MTU that counts now. True if the path is lowered.
    ///
    /// # Errors
    /// Why it changes nothing.
    pub(super) fn learn(&mut self, key: HopKey, known: u32, said: &TooBig<'_>, now: Instant) -> Result<bool, Ignored> {
        let mtu = claim(said)?;
        let lifetime = if said.quote.dst.is_ipv4() { self.lifetimes.v4 } else { self.lifetimes.v6 };
        let until = now + lifetime;
        match self.paths.get_mut(&key) {
            Some(path) if path.mtu == mtu => {
                path.until = until;
                Ok(false)
            }
            _ if u32::from(mtu) >= known => Err(Ignored::NotLower),
            Some(path) => {
                if !path.may_be_lowered(now) {
                    return Err(Ignored::Rate);
                }
                (path.mtu, path.until) = (mtu, until);
                Ok(true)
            }
            None => {
                self.paths.insert(key, Path { mtu, until, tokens: AT_ONCE - 1, since: now });
                Ok(true)
            }
        }
    }

    /// Counts what became of a message.
    pub(super) fn count<T>(&mut self, outcome: &Result<T, Ignored>) {
        match outcome {
            Ok(_) => self.heard.accepted += 1,
            Err(why) => self.heard.ignored[*why as usize] += 1,
        }
    }

    /// Forgets what is too old, and says of which paths.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<HopKey> {
        self.paths.extract_if(|_, path| path.until <= now).map(|(key, _)| key).collect()
    }

    /// Forgets paths that lead to no peer any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&HopKey) -> bool) {
        self.paths.retain(|key, _| wanted(key));
    }

    /// What became of messages so far.
    pub fn heard(&self) -> Heard {
        self.heard
    }

    /// All paths that are narrower than the kernel knows, sorted.
    pub fn narrow(&self, now: Instant) -> Vec<Narrow> {
        let narrow = |(key, path): (&HopKey, &Path)| match *key {
            HopKey::Routed { dst, from } => {
                let left = path.until.saturating_duration_since(now);
                Some(Narrow { vtep: dst, local: from, mtu: path.mtu, left })
            }
            HopKey::Attached { .. } => None,
        };
        let mut all: Vec<Narrow> = self.paths.iter().filter_map(narrow).collect();
        all.sort_unstable_by_key(|n| (n.vtep, n.local));
        all
    }
}

impl Path {
    fn may_be_lowered(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since).as_secs() / ONCE_MORE.as_secs();
        if earned > 0 {
            self.tokens = u8::try_from(earned).unwrap_or(u8::MAX).saturating_add(self.tokens).min(AT_ONCE);
            self.since = now;
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// The MTU that a message claims, if a packet can have been too big for it.
fn claim(said: &TooBig<'_>) -> Result<u16, Ignored> {
    let (v4, total_len) = (said.quote.dst.is_ipv4(), said.quote.total_len);
    let floor = if v4 { FLOOR_V4 } else { FLOOR_V6 };
    let mtu = match said.mtu {
        0 if v4 => plateau(total_len).max(floor.into()),
        mtu => mtu,
    };
    // what fits cannot have been too big
    if total_len <= mtu {
        return Err(Ignored::Fits);
    }
    u16::try_from(mtu).ok().filter(|mtu| *mtu >= floor).ok_or(Ignored::BelowMinimum)
}

/// The guess of RFC 1191 §7.1 where a router tells no MTU: the next common one (§5) below the packet's length.
fn plateau(total_len: u32) -> u32 {
    const PLATEAUS: [u32; 10] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
    PLATEAUS.into_iter().find(|mtu| *mtu < total_len).unwrap_or(68)
}
