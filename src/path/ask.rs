//! Asking the tables about what the cache does not know.

use core::net::Ipv4Addr;

use super::Path;
use crate::tables::{Domain, Packed};

/// The last answers: a packet that the fast path has given up is asked about once more by the careful one.
#[derive(Debug, Default)]
pub(super) struct Answers {
    last: [Answer; 2],
    next: usize,
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
    #[inline]
    fn find(&self, domain: Domain, addr: Ipv4Addr, epoch: u32) -> Option<Packed> {
        let same = |a: &&Answer| a.addr == addr.to_bits() && a.domain == domain && a.epoch == epoch;
        self.last.iter().find(same).map(|a| a.advice)
    }

    #[inline]
    fn put(&mut self, domain: Domain, addr: Ipv4Addr, epoch: u32, advice: Packed) {
        self.last[self.next & 1] = Answer { epoch, addr: addr.to_bits(), domain, advice };
        self.next ^= 1;
    }
}

impl Path<'_> {
    /// What the tables say of an address. What the cache knows from an older version still counts if nothing that
    /// covers the address has changed since.
    pub(super) fn ask(&mut self, domain: Domain, addr: Ipv4Addr) -> Packed {
        let (tables, memory, epoch) = (self.tables, &mut *self.memory, self.tables.epoch());
        if let Some((advice, then)) = memory.cache.older(domain, addr)
            && tables.unchanged_since(domain, addr.into(), then)
        {
            memory.cache.renew(domain, addr, epoch);
            return advice;
        }
        if let Some(advice) = memory.answers.find(domain, addr, epoch) {
            return advice;
        }
        let advice = tables.lookup(domain, addr.into()).into();
        memory.answers.put(domain, addr, epoch, advice);
        advice
    }
}
