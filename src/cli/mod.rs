//! Room `cli`.

pub mod demo;
