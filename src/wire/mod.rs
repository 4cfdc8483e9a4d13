//! Floor 0: how headers lie on the wire, checksums, addresses. No IO and no state.

pub mod addr;
pub mod arp;
pub mod checksum;
pub mod ecn;
pub mod eth;
pub mod flow;
pub mod fragment;
pub mod icmp;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod nd;
pub mod outer;
pub mod outer6;
pub mod packet;
pub mod quote;
pub mod stack;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;

pub use addr::{AddrError, Mac, Mtu, Prefix, Vni};
pub use eth::Ethernet;
pub use icmp::Icmp;
pub use icmpv6::Icmpv6;
pub use ip::IpHeader;
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use outer::OuterV4;
pub use outer6::OuterV6;
pub use packet::{NoHeadroom, NoTailroom, Packet, Span, TooShort};
pub use stack::{Pattern, StackV4};
pub use udp::Udp;
pub use vlan::VlanTags;
pub use vxlan::Vxlan;
