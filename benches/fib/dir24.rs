//! DIR-24-8: a direct table for the first 24 bits, and groups of 256 for the rest. Two loads at most; 64 MiB at least.

use std::net::IpAddr;

use selvedge::wire::Prefix;

use super::Table;

/// Marks a row of the first table that names a group.
const GROUP: u32 = 1 << 31;
const NONE: u32 = GROUP - 1;

pub(crate) struct Dir24 {
    first: Vec<u32>,
    groups: Vec<u32>,
}

fn bits(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(a) => a.to_bits(),
        IpAddr::V6(a) => unreachable!("{a} is asked of a table for IPv4"),
    }
}

impl Table for Dir24 {
    fn of(routes: &[(Prefix, u32)]) -> Self {
        let mut routes = routes.to_vec();
        routes.sort_by_key(|(prefix, _)| prefix.len());
        let mut table = Self { first: vec![NONE; 1 << 24], groups: Vec::new() };
        for (prefix, row) in routes {
            let (addr, len) = (bits(prefix.addr()), prefix.len());
            let slot = (addr >> 8) as usize;
            if len <= 24 {
                table.first[slot..slot + (1 << (24 - len))].fill(row);
                continue;
            }
            if table.first[slot] & GROUP == 0 {
                let group = (table.groups.len() / 256) as u32;
                table.groups.extend([table.first[slot]; 256]);
                table.first[slot] = GROUP | group;
            }
            let at = (table.first[slot] & !GROUP) as usize * 256 + (addr & 255) as usize;
            table.groups[at..at + (1 << (32 - len))].fill(row);
        }
        table.groups.shrink_to_fit();
        table
    }

    fn bytes(&self) -> usize {
        4 * (self.first.len() + self.groups.len())
    }

    #[inline]
    fn lookup(&self, addr: IpAddr) -> u32 {
        let addr = bits(addr);
        let mut found = self.first[(addr >> 8) as usize];
        if found & GROUP != 0 {
            found = self.groups[(found & !GROUP) as usize * 256 + (addr & 255) as usize];
        }
        if found == NONE { u32::MAX } else { found }
    }
}
