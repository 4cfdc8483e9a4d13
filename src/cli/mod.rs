//! Floor 7: speaks to people.

pub mod args;
pub mod check;
