//! Interfaces by ioctl: netdevice(7) and `SIOCETHTOOL` (linux/ethtool.h).

use std::ffi::c_void;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::wire::Mac;

const GET_DRIVER: u32 = 0x03;
const GET_RX_CHECKSUM: u32 = 0x14;
const GET_TX_CHECKSUM: u32 = 0x16;
const GET_TSO: u32 = 0x1e;
const GET_GSO: u32 = 0x23;
const GET_FLAGS: u32 = 0x25;
const GET_GRO: u32 = 0x2b;
const GET_RX_RINGS: u32 = 0x2d;
const GET_CHANNELS: u32 = 0x3c;
/// `ETH_FLAG_RXVLAN` of `ETHTOOL_GFLAGS`.
const FLAG_RX_VLAN: u32 = 1 << 8;
/// `ETH_FLAG_LRO` of the same.
const FLAG_LRO: u32 = 1 << 15;

/// An interface as this network namespace sees it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Kernel name.
    pub name: String,
    /// Index, unique within the namespace.
    pub index: u32,
    /// Hardware address.
    pub mac: Mac,
    /// MTU in bytes.
    pub mtu: u32,
    /// Set up by the administrator (IFF_UP).
    pub up: bool,
    /// With a carrier (IFF_RUNNING).
    pub running: bool,
    /// The driver's name, such as `veth` or `ixgbe`; empty where it has none.
    pub driver: String,
    /// Queues, where the driver tells.
    pub channels: Option<Channels>,
    /// Offloads in force.
    pub offloads: Offloads,
}

/// Queues in use (`ETHTOOL_GCHANNELS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Channels {
    /// Queues that only receive.
    pub rx: u32,
    /// Queues that only send.
    pub tx: u32,
    /// Queues that do both.
    pub combined: u32,
}

impl Channels {
    /// Queues that receive: each needs a socket.
    pub fn rx_queues(&self) -> u32 {
        (self.rx + self.combined).max(1)
    }

    /// Queues that send.
    pub fn tx_queues(&self) -> u32 {
        (self.tx + self.combined).max(1)
    }
}

/// Offloads that matter to a gateway; one the driver does not know of is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Checksums of received packets are verified.
    pub rx_checksum: bool,
    /// Local senders leave checksums to the device: on virtual devices they stay unfinished.
    pub tx_checksum: bool,
    /// TCP segmentation.
    pub tso: bool,
    /// Generic segmentation.
    pub gso: bool,
    /// Generic receive offload.
    pub gro: bool,
    /// Large receive offload, which XDP does not go with.
    pub lro: bool,
    /// VLAN tags (IEEE 802.1Q) are taken off received frames, and stand beside them.
    pub rx_vlan: bool,
}

impl Interface {
    /// Asks the kernel about the interface `name`.
    ///
    /// # Errors
    /// ENODEV when there is none of this name; what ioctl(2) said otherwise.
    pub fn query(name: &str) -> io::Result<Self> {
        let asker = Asker::new(name)?;
        let channels = asker.channels();
        let flags = asker.flags()?;
        Ok(Self {
            name: name.to_owned(),
            index: asker.index()?,
            mac: asker.mac()?,
            mtu: asker.mtu()?,
            up: flags & libc::IFF_UP != 0,
            running: flags & libc::IFF_RUNNING != 0,
            driver: asker.driver(),
            channels,
            offloads: asker.offloads(),
        })
    }

    /// RX queues; 1 where the driver does not tell.
    pub fn rx_queues(&self) -> u32 {
        self.channels.map_or(1, |c| c.rx_queues())
    }
}

/// The index of the interface `name`.
///
/// # Errors
/// ENODEV when there is none.
pub fn interface_index(name: &str) -> io::Result<u32> {
    Asker::new(name)?.index()
}

/// The name of the interface `index`.
///
/// # Errors
/// ENODEV when there is none.
pub fn interface_name(index: u32) -> io::Result<String> {
    let asker = Asker::new("")?;
    let mut request = asker.request;
    request.ifr_ifru.ifru_ifindex = index as libc::c_int;
    asker.ask(libc::SIOCGIFNAME, &mut request)?;
    Ok(text(&request.ifr_name))
}

struct Asker {
    socket: OwnedFd,
    request: libc::ifreq,
}

impl Asker {
    fn new(name: &str) -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a C struct of integers and pointers: zero is a value.
        let mut request: libc::ifreq = unsafe { zeroed() };
        if name.len() >= request.ifr_name.len() || name.bytes().any(|b| b == 0) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        Ok(Self { socket, request })
    }

    fn ask(&self, what: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: `request` is a valid ifreq; for SIOCETHTOOL its pointer is valid for what the command writes (`get`).
        let answer = unsafe { libc::ioctl(self.socket.as_raw_fd(), what as _, std::ptr::from_mut(request)) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn index(&self) -> io::Result<u32> {
        let mut request = self.request;
        self.ask(libc::SIOCGIFINDEX, &mut request)?;
        // SAFETY: SIOCGIFINDEX filled in this member.
        Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32)
    }

    fn mtu(&self) -> io::Result<u32> {
        let mut request = self.request;
        self.ask(libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: SIOCGIFMTU filled in this member.
        Ok(unsafe { request.ifr_ifru.ifru_mtu } as u32)
    }

    fn flags(&self) -> io::Result<libc::c_int> {
        let mut request = self.request;
        self.ask(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: SIOCGIFFLAGS filled in this member.
        Ok(libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    fn mac(&self) -> io::Result<Mac> {
        let mut request = self.request;
        self.ask(libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: SIOCGIFHWADDR filled in this member.
        let data = unsafe { request.ifr_ifru.ifru_hwaddr }.sa_data;
        Ok(Mac(std::array::from_fn(|i| data[i] as u8)))
    }

    /// Asks ethtool for `words` of 32 bits, the first of which names the command.
    fn get<const N: usize>(&self, command: u32) -> io::Result<[u32; N]> {
        let mut words = [0u32; N];
        words[0] = command;
        let mut request = self.request;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast::<c_void>().cast();
        self.ask(libc::SIOCETHTOOL, &mut request)?;
        Ok(words)
    }

    /// `struct ethtool_drvinfo`: 49 words, the driver's name from the second on.
    fn driver(&self) -> String {
        let words: [u32; 49] = self.get(GET_DRIVER).unwrap_or([0; 49]);
        let bytes: Vec<libc::c_char> = words[1..9].iter().flat_map(|w| w.to_ne_bytes()).map(|b| b as _).collect();
        text(&bytes)
    }

    /// `struct ethtool_channels`: command, four maxima, then rx, tx, other, combined. Drivers without it may still
    /// count their RX rings (`struct ethtool_rxnfc`: 48 words, the count in the third and fourth).
    fn channels(&self) -> Option<Channels> {
        if let Ok(words) = self.get::<9>(GET_CHANNELS) {
            return Some(Channels { rx: words[5], tx: words[6], combined: words[8] });
        }
        let words = self.get::<48>(GET_RX_RINGS).ok()?;
        Some(Channels { combined: words[2], ..Channels::default() })
    }

    fn offloads(&self) -> Offloads {
        let flags = self.get::<2>(GET_FLAGS).map_or(0, |words| words[1]);
        let value = |command| self.get::<2>(command).map_or(0, |words| words[1]);
        Offloads {
            rx_checksum: value(GET_RX_CHECKSUM) != 0,
            tx_checksum: value(GET_TX_CHECKSUM) != 0,
            tso: value(GET_TSO) != 0,
            gso: value(GET_GSO) != 0,
            gro: value(GET_GRO) != 0,
            lro: flags & FLAG_LRO != 0,
            rx_vlan: flags & FLAG_RX_VLAN != 0,
        }
    }
}

fn text(chars: &[libc::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_and_the_unknown_is_not() {
        let lo = Interface::query("lo").unwrap();
        assert_eq!((lo.mac, lo.name.as_str()), (Mac::ZERO, "lo"));
        assert_eq!(interface_name(lo.index).unwrap(), "lo");
        assert_eq!(interface_index("lo").unwrap(), lo.index);
        assert!(lo.rx_queues() >= 1);
        for name in ["selv-none", "", "a-name-longer-than-16-bytes", "l\0"] {
            assert_eq!(Interface::query(name).unwrap_err().raw_os_error(), Some(libc::ENODEV), "{name}");
        }
        assert!(interface_name(u32::MAX >> 1).is_err());
    }
}
