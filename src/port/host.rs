//! What this host can do: interfaces and their drivers, capabilities, kernel, hugepages.
//!
//! Interfaces are those of the calling thread's network namespace; they are asked by ioctl, since sysfs shows those
//! of the namespace it was mounted in. Nothing here changes anything.

mod ioctl;
mod netlink;
mod process;
mod vlan;
mod xdp_features;

pub use ioctl::{Channels, Interface, Offloads, interface_index, interface_name};
pub use process::{Capabilities, become_ordinary, become_realtime, free_hugepages, kernel_release, release_memory};
pub use vlan::{VlanDevice, vlan_device};
pub use xdp_features::{XdpFeatures, xdp_features};
