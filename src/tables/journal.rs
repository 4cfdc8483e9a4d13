//! What changed version by version, so that a flow cache strikes out that and keeps the rest as it is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::wire::Prefix;

/// Versions that are kept: so many a worker may be behind, or have skipped.
const PAGES: usize = 8;
/// Entries to be struck out at once, at most. Each takes a worker some nanoseconds, all while packets wait.
const MOST: usize = 2_048;

/// Addresses that have so many entries in a cache of tables with this many [domains](super::Domain).
const fn most(domains: usize) -> usize {
    MOST / domains
}

/// The addresses whose answers may differ between one version of the tables and the one before.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Page {
    /// IPv4 addresses. One that changed twice may be here twice.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
}

/// The pages of the last versions. They are shared by versions and never change.
#[derive(Clone, Default, Debug)]
pub struct Journal {
    /// The newest first. There is none of a version that changed more than a page holds.
    pages: [Option<Arc<Page>>; PAGES],
}

impl Journal {
    /// Puts the page of the next version on top.
    pub fn push(&mut self, page: Option<Page>) {
        self.pages.rotate_right(1);
        self.pages[0] = page.map(Arc::new);
    }

    /// What the last `versions` versions of tables with so many domains changed; `None` if that is too much, or if it is not
    /// known of all of them.
    pub fn last(&self, versions: u32, domains: usize) -> Option<impl Iterator<Item = &Page>> {
        let pages = self.pages.get(..versions as usize)?;
        let addresses = pages.iter().try_fold(0, |sum, page| Some(sum + page.as_ref()?.len()))?;
        (addresses <= most(domains)).then(|| pages.iter().flatten().map(Arc::as_ref))
    }
}

/// The page that is being written.
#[derive(Debug)]
pub struct Draft {
    /// `None` once there is too much to say.
    page: Option<Page>,
    /// Addresses that it holds at most.
    most: usize,
}

impl Draft {
    /// Of the first version of tables with so many domains, of which nothing can be said but that all is new.
    pub const fn everything(domains: usize) -> Self {
        Self { page: None, most: most(domains) }
    }

    /// Says that all may have changed.
    pub fn note_everything(&mut self) {
        self.page = None;
    }

    /// Says that a route for this prefix came, changed or went.
    pub fn note(&mut self, prefix: &Prefix) {
        let Some(page) = &mut self.page else { return };
        let bits = if prefix.addr().is_ipv4() { 32 } else { 128 };
        let room = self.most.saturating_sub(page.len());
        match 1usize.checked_shl(bits - u32::from(prefix.len())) {
            Some(addresses) if addresses <= room => page.put(prefix.addr(), addresses),
            _ => self.page = None,
        }
    }

    /// Ends the page, and begins the next.
    pub fn turn(&mut self) -> Option<Page> {
        self.page.replace(Page::default())
    }
}

impl Page {
    /// How many addresses are here.
    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Adds `count` addresses from this one on.
    fn put(&mut self, first: IpAddr, count: usize) {
        match first {
            IpAddr::V4(first) => self.v4.extend((0..count as u32).map(|n| Ipv4Addr::from_bits(first.to_bits() | n))),
            IpAddr::V6(first) => self.v6.extend((0..count as u128).map(|n| Ipv6Addr::from_bits(first.to_bits() | n))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(domains: usize, prefixes: &[&str]) -> Option<Page> {
        let mut draft = Draft::everything(domains);
        assert_eq!(draft.turn(), None, "all is new in the first version");
        prefixes.iter().for_each(|prefix| draft.note(&prefix.parse().unwrap()));
        let page = draft.turn();
        assert_eq!(draft.turn(), Some(Page::default()), "nothing is said twice");
        page
    }

    #[test]
    fn a_page_holds_each_address_of_what_changed() {
        let found = page(2, &["10.1.1.9/32", "10.1.2.252/30", "2001:db8::7/128", "2001:db8::a/127"]).unwrap();
        let v4 = [[10, 1, 1, 9], [10, 1, 2, 252], [10, 1, 2, 253], [10, 1, 2, 254], [10, 1, 2, 255]];
        assert_eq!(found.v4, v4.map(Ipv4Addr::from));
        assert_eq!(found.v6, ["2001:db8::7", "2001:db8::a", "2001:db8::b"].map(|a| a.parse::<Ipv6Addr>().unwrap()));
    }

    #[test]
    fn more_than_a_page_holds_is_everything() {
        assert_eq!(page(2, &["10.1.0.0/22"]).map(|page| page.v4.len()), Some(1024));
        for prefixes in [&["10.1.0.0/21"][..], &["10.1.0.0/22", "10.9.9.9/32"], &["::/0"], &["::/64"], &["0.0.0.0/0"]] {
            assert_eq!(page(2, prefixes), None, "{prefixes:?}");
        }
        assert_eq!(page(3, &["10.1.0.0/22"]), None, "each domain has entries of its own");
        assert_eq!(page(MOST + 1, &["10.1.1.9/32"]), None);
        let mut draft = Draft::everything(1);
        draft.turn();
        draft.note_everything();
        draft.note(&"10.1.1.9/32".parse().unwrap());
        assert_eq!(draft.turn(), None);
    }

    #[test]
    fn the_last_pages_are_there_unless_one_of_them_is_missing() {
        let one = |n: u8| Some(Page { v4: vec![[10, 0, 0, n].into()], v6: vec![] });
        let told = |journal: &Journal, versions| {
            journal.last(versions, 1).map(|pages| pages.map(|page| page.v4[0].octets()[3]).collect::<Vec<_>>())
        };
        let mut journal = Journal::default();
        assert_eq!((told(&journal, 0), told(&journal, 1)), (Some(vec![]), None));
        (1..=5).for_each(|n| journal.push(one(n)));
        assert_eq!(
            (told(&journal, 3), told(&journal, 5), told(&journal, 6)),
            (Some(vec![5, 4, 3]), Some(vec![5, 4, 3, 2, 1]), None)
        );
        journal.push(None);
        (7..=20).for_each(|n| {
            journal.push(one(n));
            assert_eq!(told(&journal, 1), Some(vec![n]));
            let known = told(&journal, PAGES as u32).is_some();
            assert_eq!(known, n >= 6 + PAGES as u8, "{n}");
        });
        assert_eq!((told(&journal, PAGES as u32 + 1), told(&journal, u32::MAX)), (None, None));
        let of_all = |domains| journal.last(PAGES as u32, domains).is_some();
        assert!(of_all(MOST / PAGES) && !of_all(MOST / PAGES + 1), "each alone is little, all together are too much");
    }
}
