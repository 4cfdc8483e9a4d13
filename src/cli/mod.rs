//! Floor 7: speaks to people.

pub mod args;
pub mod ask;
pub mod check;
pub mod demo;
pub mod health;
pub mod pktgen;
pub mod run;
mod screen;
mod stop;
