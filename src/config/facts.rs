//! What is to be known of a host before it can be told whether it can do what a config asks. Plain data: the probe that
//! fills it in reads `/proc`, `/sys`, rtnetlink and ethtool; tests write it down.

use core::net::IpAddr;

use crate::port::host::{Capabilities, VlanDevice};
use crate::wire::Mac;

/// The host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostFacts {
    /// Kernel version: major, minor.
    pub kernel: (u32, u32),
    /// What this process may do.
    pub caps: Capabilities,
    /// Bytes this process may lock in memory (RLIMIT_MEMLOCK); `None` for no limit.
    pub memlock: Option<u64>,
    /// Hugepages of 2 MiB nobody uses.
    pub hugepages_free: u32,
    /// Hugepages of 2 MiB in all (`vm.nr_hugepages`).
    pub hugepages_total: u32,
    /// Cores that are online, ascending.
    pub cores_online: Vec<u16>,
    /// Cores this process may run on (affinity mask, cpuset), ascending.
    pub cores_allowed: Vec<u16>,
    /// Interfaces of this network namespace.
    pub interfaces: Vec<InterfaceFacts>,
}

/// One interface. `None` means that the probe could not tell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InterfaceFacts {
    /// Kernel name.
    pub name: String,
    /// Kernel index.
    pub ifindex: u32,
    /// Address; zero when it is not an Ethernet interface.
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Driver, such as `veth` or `ixgbe`; empty when unknown.
    pub driver: String,
    /// RX queues in use.
    pub rx_queues: u16,
    /// TX queues in use.
    pub tx_queues: u16,
    /// The driver has native XDP.
    pub xdp_native: Option<bool>,
    /// The driver has zero-copy AF_XDP.
    pub xsk_zero_copy: Option<bool>,
    /// The driver receives packets in several buffers for XDP.
    pub xdp_sg: Option<bool>,
    /// The most buffers of a packet that a zero-copy socket sends.
    pub zero_copy_segments: Option<u32>,
    /// Large receive offload is on.
    pub lro: Option<bool>,
    /// Generic receive offload is on.
    pub gro: Option<bool>,
    /// Received VLAN tags are taken off and kept beside the frame (802.1Q).
    pub rx_vlan: Option<bool>,
    /// Checksums of sent packets are left to the device.
    pub tx_checksum: Option<bool>,
    /// So may zero-copy sockets leave them.
    pub xsk_tx_checksum: Option<bool>,
    /// Receive checksum offload is on.
    pub rx_checksum: Option<bool>,
    /// Which VLAN of which other interface it is, if it is one.
    pub vlan: Option<VlanDevice>,
    /// Addresses of the interface.
    pub addresses: Vec<IpAddr>,
}
