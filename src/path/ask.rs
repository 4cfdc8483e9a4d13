//! Asking the tables about what the cache does not know.
//!
//! The second look asks for one address when it needs it. Of a table too large for the core's caches all addresses that
//! the first look has not found are asked for together, between the looks: so the core waits for memory once for many
//! packets, not once for each. What they said the second look finds here.

use core::net::Ipv4Addr;

use super::parse::is_forwardable;
use super::scout::Scouted;
use super::{Path, domain_of};
use crate::tables::{Domain, Packed};

/// Frames whose addresses are asked for together.
const GROUP: usize = 32;

/// Room for the answers about a burst, a power of two.
const ROOM: usize = 512;
/// Answers that are searched for one.
const REACH: usize = 32;

/// The last answers, in the order of the frames. The second look asks in that order, too, but not for all; and a packet
/// that the fast path has given up is asked about once more by the careful one.
#[derive(Debug)]
pub(super) struct Answers {
    ring: Box<[Answer; ROOM]>,
    /// Answers given so far, and those of them that were found, or passed over.
    given: usize,
    found: usize,
}

impl Default for Answers {
    fn default() -> Self {
        Self { ring: Box::new([Answer::default(); ROOM]), given: 0, found: 0 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// 0 for no answer: no version of the tables has that number.
    epoch: u32,
    addr: u32,
    domain: Domain,
    advice: Packed,
}

impl Answers {
    /// The answer, if it is among the last two that were found or the next ones.
    #[inline]
    fn find(&mut self, domain: Domain, addr: Ipv4Addr, epoch: u32) -> Option<Packed> {
        let first = self.found.saturating_sub(2);
        for n in first..self.given.min(first + REACH) {
            let answer = &self.ring[n % ROOM];
            if answer.addr == addr.to_bits() && answer.domain == domain && answer.epoch == epoch {
                self.found = self.found.max(n + 1);
                return Some(answer.advice);
            }
        }
        None
    }

    /// Keeps an answer for who asks once more, unless others are waiting to be found.
    #[inline]
    fn put_alone(&mut self, domain: Domain, addr: Ipv4Addr, epoch: u32, advice: Packed) {
        if self.found == self.given {
            self.put(domain, addr, epoch, advice);
            self.found = self.given;
        }
    }

    #[inline]
    fn put(&mut self, domain: Domain, addr: Ipv4Addr, epoch: u32, advice: Packed) {
        self.ring[self.given % ROOM] = Answer { epoch, addr: addr.to_bits(), domain, advice };
        self.given += 1;
    }
}

/// Addresses to ask for, and whose they are.
struct Questions {
    addrs: [Ipv4Addr; 2 * GROUP],
    domains: [Domain; 2 * GROUP],
    count: usize,
}

impl Questions {
    #[inline(always)]
    fn push(&mut self, domain: Domain, addr: Ipv4Addr) {
        let at = self.count % (2 * GROUP); // there is room for all of the group
        (self.addrs[at], self.domains[at]) = (addr, domain);
        self.count += 1;
    }
}

impl Path<'_> {
    /// Between the looks at plain frames. Frames that nobody asks for are decided the same.
    #[inline(always)]
    pub fn ask_outbound(&mut self, scouted: &[Scouted]) {
        if self.tables.is_large() {
            self.ask_all::<false>(scouted);
        }
    }

    /// Between the looks at VXLAN frames.
    #[inline(always)]
    pub fn ask_inbound(&mut self, scouted: &[Scouted]) {
        if self.tables.is_large() {
            self.ask_all::<true>(scouted);
        }
    }

    #[inline(never)]
    fn ask_all<const UNDERLAY: bool>(&mut self, scouted: &[Scouted]) {
        let epoch = self.tables.epoch();
        self.memory.answers.found = self.memory.answers.given; // of the burst before nobody will ask
        for group in scouted.chunks(GROUP) {
            let mut lacking = [0; GROUP];
            let mut count = 0;
            for (n, scouted) in group.iter().enumerate() {
                // whether a cache knows an address is a matter of chance, and no branch could guess it
                lacking[count % GROUP] = n;
                count += usize::from(scouted.lacks_any());
            }
            let mut questions =
                Questions { addrs: [Ipv4Addr::UNSPECIFIED; 2 * GROUP], domains: [Domain(0); 2 * GROUP], count: 0 };
            for n in &lacking[..count] {
                let scouted = &group[*n];
                let domain = if UNDERLAY { domain_of(scouted.overlay) } else { Domain(0) };
                for (addr, known) in scouted.addrs().into_iter().zip([scouted.src, scouted.dst]) {
                    // what still holds is renewed when its turn comes
                    if known.is_none() && is_forwardable(addr) && self.still_holds(domain, addr).is_none() {
                        questions.push(domain, addr);
                    }
                }
            }
            let mut told = [Packed::NONE; 2 * GROUP];
            let asked = &questions.addrs[..questions.count];
            self.tables.lookup_many(asked, &mut told);
            for ((domain, addr), advice) in questions.domains.iter().zip(asked).zip(told) {
                self.memory.answers.put(*domain, *addr, epoch, advice);
            }
        }
    }

    /// What the cache knows from an older version, which still counts if nothing that covers the address has changed.
    #[inline(always)]
    fn still_holds(&self, domain: Domain, addr: Ipv4Addr) -> Option<Packed> {
        let (advice, then) = self.memory.cache.older(domain, addr)?;
        self.tables.unchanged_since(domain, addr.into(), then).then_some(advice)
    }

    /// What the tables say of an address.
    pub(super) fn ask(&mut self, domain: Domain, addr: Ipv4Addr) -> Packed {
        let epoch = self.tables.epoch();
        if let Some(advice) = self.still_holds(domain, addr) {
            self.memory.cache.renew(domain, addr, epoch);
            return advice;
        }
        if let Some(advice) = self.memory.answers.find(domain, addr, epoch) {
            return advice;
        }
        let advice = self.tables.lookup(domain, addr.into()).into();
        self.memory.answers.put_alone(domain, addr, epoch, advice);
        advice
    }
}
