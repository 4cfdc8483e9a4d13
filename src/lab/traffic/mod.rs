//! Traffic through a network, and a verdict on what arrived.

mod load;
mod payload;
mod ping;
mod sweep;
mod tcp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use load::{LoadCounts, LoadOptions, UdpLoad};
pub use ping::{PingReport, ping};
pub use sweep::{SweepReport, udp_sweep};
pub use tcp::{Transfer, tcp_transfer};

/// Whatever address the kernel chooses for what is sent to `dst`.
fn unspecified(dst: IpAddr) -> IpAddr {
    match dst {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
