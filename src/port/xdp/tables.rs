//! The program's maps, and what this process has put into them.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use aya::Ebpf;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, XskMap, lpm_trie};

use super::reason::{SteerCounters, SteerReason};
use super::steer::Roles;
use crate::wire::{Mac, Prefix, VlanTags};

/// `struct vtep_key`: an IPv6 or IPv4-mapped address, the port in network order, two zero bytes.
type VtepKey = [u8; 20];
/// `struct port_config`: the MAC, the roles as bits in host order.
type PortConfig = [u8; 8];

/// `struct vlan_config`: how many tags in host order, and the tags as they lie on the wire.
type VlanConfig = [u8; 12];

/// All maps of one instance. Errors leave what was done before them in force, and remembered.
pub(super) struct SteerTables {
    sockets: XskMap<MapData>,
    config: Array<MapData, PortConfig>,
    vlan: Array<MapData, VlanConfig>,
    vteps: HashMap<MapData, VtepKey, u8>,
    tries: Tries,
    generation: Array<MapData, u32>,
    counters: PerCpuArray<MapData, u64>,
    /// What `generation` holds.
    current: u32,
    loaded_vteps: HashSet<(IpAddr, u16)>,
    loaded_prefixes: HashSet<Prefix>,
    own: HashSet<Prefix>,
}

/// Values of the tries: what the longest match says of a packet.
const LEAVE: u8 = 0;
const TAKE: u8 = 1;

/// The prefixes of each family.
struct Tries {
    v4: LpmTrie<MapData, [u8; 4], u8>,
    v6: LpmTrie<MapData, [u8; 16], u8>,
}

impl Tries {
    fn insert(&mut self, prefix: Prefix, value: u8) -> io::Result<()> {
        let inserted = match prefix.addr() {
            IpAddr::V4(addr) => self.v4.insert(&key(prefix, addr.octets()), value, 0),
            IpAddr::V6(addr) => self.v6.insert(&key(prefix, addr.octets()), value, 0),
        };
        inserted.map_err(to_io)
    }

    fn remove(&mut self, prefix: Prefix) -> io::Result<()> {
        absent_is_fine(match prefix.addr() {
            IpAddr::V4(addr) => self.v4.remove(&key(prefix, addr.octets())),
            IpAddr::V6(addr) => self.v6.remove(&key(prefix, addr.octets())),
        })
    }
}

impl SteerTables {
    /// Takes the maps out of the loaded object.
    pub(super) fn new(program: &mut Ebpf) -> io::Result<Self> {
        Ok(Self {
            sockets: take(program, "xsks")?,
            config: take(program, "config")?,
            vlan: take(program, "vlan")?,
            vteps: take(program, "vteps")?,
            tries: Tries { v4: take(program, "prefixes4")?, v6: take(program, "prefixes6")? },
            generation: take(program, "generation")?,
            counters: take(program, "counters")?,
            current: 0,
            loaded_vteps: HashSet::new(),
            loaded_prefixes: HashSet::new(),
            own: HashSet::new(),
        })
    }

    /// The tags first: they count once the port is said to be a tagged one.
    pub(super) fn configure(&mut self, mac: Mac, roles: Roles) -> io::Result<()> {
        self.vlan.set(0, vlan_config(&roles.tags), 0).map_err(to_io)?;
        let flags = [roles.underlay, roles.access, roles.proxy, !roles.tags.is_empty()];
        let bits = flags.into_iter().zip(0..).fold(0, |bits, (flag, n)| bits | u16::from(flag) << n);
        let mut value = PortConfig::default();
        value[..6].copy_from_slice(&mac.0);
        value[6..].copy_from_slice(&bits.to_ne_bytes());
        self.config.set(0, value, 0).map_err(to_io)
    }

    pub(super) fn set_socket(&mut self, queue: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        self.sockets.set(queue, fd.as_raw_fd(), 0).map_err(to_io)
    }

    pub(super) fn add_vteps(&mut self, vteps: &[(IpAddr, u16)]) -> io::Result<()> {
        for vtep in vteps {
            if !self.loaded_vteps.contains(vtep) {
                self.vteps.insert(vtep_key(*vtep), 1, 0).map_err(to_io)?;
                self.loaded_vteps.insert(*vtep);
            }
        }
        Ok(())
    }

    pub(super) fn retain_vteps(&mut self, vteps: &[(IpAddr, u16)]) -> io::Result<()> {
        let keep: HashSet<&(IpAddr, u16)> = vteps.iter().collect();
        let gone: Vec<_> = self.loaded_vteps.iter().filter(|v| !keep.contains(v)).copied().collect();
        for vtep in gone {
            absent_is_fine(self.vteps.remove(&vtep_key(vtep)))?;
            self.loaded_vteps.remove(&vtep);
        }
        Ok(())
    }

    pub(super) fn add_prefixes(&mut self, prefixes: &[Prefix]) -> io::Result<()> {
        self.change(|tables| tables.insert_prefixes(prefixes))
    }

    pub(super) fn remove_prefixes(&mut self, prefixes: &[Prefix]) -> io::Result<()> {
        self.change(|tables| tables.delete_prefixes(prefixes))
    }

    /// Addresses of the host stand in the same tries as host prefixes that say "leave": the longest match wins.
    pub(super) fn set_own(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let own = addresses.iter().map(|a| Prefix::host(*a)).collect();
        self.change(|tables| tables.replace_own(own))
    }

    /// Changes the tries, then makes the program forget what it remembers of them, however much of the change was done.
    fn change(&mut self, how: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let outcome = how(self);
        self.current = self.current.wrapping_add(2); // its lowest bit is the program's
        self.generation.set(0, self.current, 0).map_err(to_io)?;
        outcome
    }

    fn insert_prefixes(&mut self, prefixes: &[Prefix]) -> io::Result<()> {
        for prefix in prefixes {
            if !self.loaded_prefixes.contains(prefix) {
                if !self.own.contains(prefix) {
                    self.tries.insert(*prefix, TAKE)?;
                }
                self.loaded_prefixes.insert(*prefix);
            }
        }
        Ok(())
    }

    fn delete_prefixes(&mut self, prefixes: &[Prefix]) -> io::Result<()> {
        for prefix in prefixes {
            if self.loaded_prefixes.contains(prefix) {
                if !self.own.contains(prefix) {
                    self.tries.remove(*prefix)?;
                }
                self.loaded_prefixes.remove(prefix);
            }
        }
        Ok(())
    }

    pub(super) fn retain_prefixes(&mut self, prefixes: &[Prefix]) -> io::Result<()> {
        let keep: HashSet<&Prefix> = prefixes.iter().collect();
        let gone: Vec<Prefix> = self.loaded_prefixes.iter().filter(|p| !keep.contains(p)).copied().collect();
        self.remove_prefixes(&gone)
    }

    fn replace_own(&mut self, own: HashSet<Prefix>) -> io::Result<()> {
        for prefix in self.own.difference(&own) {
            match self.loaded_prefixes.contains(prefix) {
                true => self.tries.insert(*prefix, TAKE)?,
                false => self.tries.remove(*prefix)?,
            }
        }
        for prefix in own.difference(&self.own) {
            self.tries.insert(*prefix, LEAVE)?;
        }
        self.own = own;
        Ok(())
    }

    pub(super) fn loaded(&self) -> (usize, usize) {
        (self.loaded_vteps.len(), self.loaded_prefixes.len())
    }

    pub(super) fn counters(&self) -> io::Result<SteerCounters> {
        let mut counts = [0; SteerReason::ALL.len()];
        for (i, count) in counts.iter_mut().enumerate() {
            let by_cpu = self.counters.get(&(i as u32), 0).map_err(to_io)?;
            *count = by_cpu.iter().copied().fold(0, u64::wrapping_add);
        }
        Ok(SteerCounters::new(counts))
    }
}

fn take<M: TryFrom<Map, Error = MapError>>(program: &mut Ebpf, name: &str) -> io::Result<M> {
    let map = program.take_map(name).ok_or_else(|| io::Error::other(format!("the object has no map {name}")))?;
    M::try_from(map).map_err(to_io)
}

fn vlan_config(tags: &VlanTags) -> VlanConfig {
    let mut value = VlanConfig::default();
    value[..4].copy_from_slice(&(tags.count() as u32).to_ne_bytes());
    value[4..].copy_from_slice(tags.bytes());
    value
}

fn vtep_key((address, port): (IpAddr, u16)) -> VtepKey {
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut key = VtepKey::default();
    key[..16].copy_from_slice(&address.octets());
    key[16..18].copy_from_slice(&port.to_be_bytes());
    key
}

/// The key of a prefix in the trie of its family, `N` octets wide.
fn key<const N: usize>(prefix: Prefix, octets: [u8; N]) -> lpm_trie::Key<[u8; N]> {
    lpm_trie::Key::new(u32::from(prefix.len()), octets)
}

/// What is to be removed and is not there is as gone as it should be.
fn absent_is_fine(removed: Result<(), MapError>) -> io::Result<()> {
    match removed.map_err(to_io) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}

/// aya's errors as what the kernel said, where that tells all, or else with all their words (the verifier's, say).
pub(super) fn to_io(e: impl Error + Send + Sync + 'static) -> io::Error {
    let mut words = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        match cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            Some(errno) if errno == libc::EPERM || !words.contains("erifier") => {
                return io::Error::from_raw_os_error(errno);
            }
            _ => {}
        }
        words = format!("{words}: {cause}");
        next = cause.source();
    }
    io::Error::other(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::eth;
    use crate::wire::vlan::Tag;

    #[test]
    fn keys_lie_as_the_program_reads_them() {
        let mut want = [0; 20];
        want[10..18].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1, 0x12, 0xb5]);
        assert_eq!(vtep_key(("192.0.2.1".parse().unwrap(), 4789)), want);
        want = [0; 20];
        want[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        want[15..18].copy_from_slice(&[7, 0x12, 0xb5]);
        assert_eq!(vtep_key(("2001:db8::7".parse().unwrap(), 4789)), want);
        let tags = [(eth::QINQ, 100), (eth::VLAN, 7)].map(|(tpid, vid)| Tag::new(tpid, vid).unwrap());
        let value = vlan_config(&VlanTags::new(&tags).unwrap());
        assert_eq!(value[..4], 2u32.to_ne_bytes());
        assert_eq!(value[4..], [0x88, 0xa8, 0, 100, 0x81, 0, 0, 7]);
        let key = key("10.244.0.0/16".parse().unwrap(), [10, 244, 0, 0]);
        assert_eq!((key.prefix_len(), key.data()), (16, [10, 244, 0, 0]));
    }
}
