//! Floor 6: speaks to programs.

pub mod ask;
pub mod families;
pub mod health;
pub mod http;
pub mod metrics;
pub mod quantiles;
pub mod service;
mod sources;
