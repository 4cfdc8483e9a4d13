//! Asking the tables about what the cache does not know.
//!
//! The second look asks for one address when it needs it. Of a table too large for a core's own caches, all that a burst
//! needs is asked for together, between the looks: so the core waits for memory once for many packets, not once for each.

use core::array;
use core::net::Ipv4Addr;

use zerocopy::FromBytes;

use super::fast::GROWTH;
use super::parse::is_forwardable_v4;
use super::scout::{REACH, Scouted};
use super::{Path, domain_of};
use crate::tables::{Domain, Packed, Seat};
use crate::wire::{Packet, StackV4};

/// Room for the answers about a burst, a power of two.
const ROOM: usize = 512;
/// Answers that are searched for one.
const NEAR: usize = 32;
/// Addresses that the tables are asked for at once.
const GROUP: usize = 32;

/// What the tables say of an address, and where the cache would remember it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub advice: Packed,
    pub seat: Seat,
}

/// Answers to what was noted, in the order of the frames. The second look asks in that order, too, but not for all; and a
/// packet that the fast path has given up is asked about once more by the careful one.
#[derive(Debug)]
pub(super) struct Answers {
    ring: Box<[Answer; ROOM]>,
    /// Answers given or noted to be given, so far.
    given: usize,
    /// Those of them that were found, or passed over.
    found: usize,
}

impl Default for Answers {
    fn default() -> Self {
        Self { ring: Box::new([Answer::default(); ROOM]), given: 0, found: 0 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// 0 for no answer yet: no version of the tables has that number.
    epoch: u32,
    addr: u32,
    domain: Domain,
    advice: Packed,
}

impl Answers {
    /// True if there may be some that nobody has found yet.
    #[inline(always)]
    fn are_waiting(&self) -> bool {
        self.found != self.given
    }

    /// The answer, if it is among the last two that were found or the next ones.
    #[inline]
    fn find(&mut self, domain: Domain, addr: Ipv4Addr, epoch: u32) -> Option<Packed> {
        let first = self.found.wrapping_sub(2); // places in the ring that nobody wrote have no epoch
        for n in (0..NEAR.min(self.given - self.found) + 2).map(|n| first.wrapping_add(n)) {
            let answer = &self.ring[n % ROOM];
            if answer.addr == addr.to_bits() && answer.domain == domain && answer.epoch == epoch {
                self.found = self.found.max(n.wrapping_add(1));
                return Some(answer.advice);
            }
        }
        None
    }

    #[inline]
    fn note(&mut self, answer: Answer) {
        self.ring[self.given % ROOM] = answer;
        self.given += 1;
    }
}

impl Path<'_> {
    /// Is it worth noting, between the looks, what the first one has not found? Begins a new list if so.
    #[inline]
    pub fn takes_notes(&mut self) -> bool {
        let takes = self.tables.is_large();
        if takes {
            self.memory.answers.found = self.memory.answers.given;
        }
        takes
    }

    /// Notes the addresses of a plain frame that the cache does not know.
    #[inline]
    pub fn note_outbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) {
        if !scouted.is_known() && scouted.shape.is_plain() {
            self.note(Domain(0), pkt.reach_all::<REACH>(GROWTH), scouted);
        }
    }

    /// The same for a VXLAN frame.
    #[inline]
    pub fn note_inbound(&mut self, pkt: &mut Packet<'_>, scouted: Scouted) {
        if !scouted.is_known() && scouted.shape.is_plain() {
            self.note(domain_of(scouted.shape.overlay()), pkt.reach_all::<REACH>(0), scouted);
        }
    }

    #[inline]
    fn note(&mut self, domain: Domain, room: Option<&mut [u8]>, scouted: Scouted) {
        let Some(Ok((frame, _))) = room.map(|room| StackV4::ref_from_prefix(room)) else { return };
        let ip = frame.ip.words();
        for (addr, known) in [(ip.source(), scouted.src()), (ip.destination(), scouted.dst())] {
            // what still holds from an older version is renewed when its turn comes
            if known.is_none()
                && is_forwardable_v4(addr)
                && self.still_holds(domain, addr, self.seat(domain, addr).1).is_none()
            {
                self.memory.answers.note(Answer { epoch: 0, addr: addr.to_bits(), domain, advice: Packed::NONE });
            }
        }
    }

    /// Asks the tables for all that was noted. Frames for which this is not done are decided the same, only slower.
    pub fn ask_noted(&mut self) {
        let (tables, answers) = (self.tables, &mut self.memory.answers);
        let first = answers.found.max(answers.given.saturating_sub(ROOM));
        for from in (first..answers.given).step_by(GROUP) {
            let count = GROUP.min(answers.given - from);
            let asked: [_; GROUP] = array::from_fn(|n| Ipv4Addr::from_bits(answers.ring[(from + n) % ROOM].addr));
            let mut told = [Packed::NONE; GROUP];
            tables.lookup_many(&asked[..count], &mut told);
            for (n, advice) in told[..count].iter().enumerate() {
                let answer = &mut answers.ring[(from + n) % ROOM];
                (answer.advice, answer.epoch) = (*advice, tables.epoch());
            }
        }
        if tables.has_borders() {
            self.bar_noted(first);
        }
    }

    /// Takes back what was answered, from the first of these on, to those who do not import it.
    #[cold]
    #[inline(never)]
    fn bar_noted(&mut self, first: usize) {
        let answers = &mut self.memory.answers;
        for n in first..answers.given {
            let answer = &mut answers.ring[n % ROOM];
            let addr = Ipv4Addr::from_bits(answer.addr).into();
            answer.advice = self.tables.imported(answer.domain, addr, answer.advice);
        }
    }

    #[inline(always)]
    fn seat(&self, domain: Domain, addr: Ipv4Addr) -> (Seat, Option<(Packed, u32)>) {
        self.memory.cache.seat(domain, addr)
    }

    /// What the cache knows from an older version, which still counts if nothing that covers the address has changed.
    #[inline]
    fn still_holds(&self, domain: Domain, addr: Ipv4Addr, older: Option<(Packed, u32)>) -> Option<Packed> {
        let (advice, then) = older?;
        self.tables.unchanged_since(domain, addr.into(), then).then_some(advice)
    }

    /// What the tables say of an address.
    #[inline(never)]
    pub(super) fn ask(&mut self, domain: Domain, addr: Ipv4Addr) -> Told {
        let (seat, older) = self.seat(domain, addr);
        if (older.is_some() || self.memory.answers.are_waiting())
            && let Some(advice) = self.recall(domain, addr, seat, older)
        {
            return Told { advice, seat };
        }
        Told { advice: self.tables.lookup_v4(domain, addr), seat }
    }

    /// What they say, if that is known from an older version or was asked between the looks.
    #[inline(never)]
    fn recall(&mut self, domain: Domain, addr: Ipv4Addr, seat: Seat, older: Option<(Packed, u32)>) -> Option<Packed> {
        let held = self.still_holds(domain, addr, older);
        if held.is_some() {
            self.memory.cache.renew(seat);
            return held;
        }
        self.memory.answers.find(domain, addr, self.tables.epoch())
    }
}
