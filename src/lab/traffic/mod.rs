//! Traffic through a network, and a verdict on what arrived.

mod load;
mod payload;
mod ping;
mod sweep;
mod tcp;

pub use load::{LoadCounts, LoadOptions, UdpLoad};
pub use ping::{PingReport, ping};
pub use sweep::{SweepReport, udp_sweep};
pub use tcp::{Transfer, tcp_transfer};
