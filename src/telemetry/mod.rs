//! Floor 6: speaks to programs.

pub mod families;
pub mod http;
pub mod metrics;
pub mod quantiles;
