//! Selvedge: a user-space VXLAN overlay gateway. This page is the map of the house.
//!
//! Floors, top to bottom; a room imports only from rooms below it (`tests/house.rs` holds it to that):
//!
//! | floor | room | one question tells what belongs in it | may import |
//! |---|---|---|---|
//! | 7 | [`cli`] | does it speak to people? | everything below |
//! | 6 | [`telemetry`] | does it answer a program? | everything below |
//! | 5 | [`config`] | does it turn text into a type, or a type and a host into a plan? | `control`, `port`, `tables`, `wire` |
//! | 4 | [`control`] | does it wait for the world? | `tables`, `wire` |
//! | 4 | [`worker`] | does it loop, or read the clock? | `path`, `port`, `tables`, `drops`, `wire` |
//! | 3 | [`port`] | does it touch a ring, a descriptor or a pointer? (the only room with `unsafe`) | `wire` |
//! | 2 | [`path`] | does it decide about one packet? | `tables`, `drops`, `wire` |
//! | 1 | [`tables`] | does it remember? | `wire` |
//! | 1 | [`drops`] | does it name a refusal? | nothing |
//! | 0 | [`wire`] | does it name a byte offset? | nothing |
//!
//! Beside the house stands [`lab`], which builds networks out of namespaces for the demonstration and the tests; it
//! knows `wire` and nothing else of the product.

pub mod cli;
pub mod config;
pub mod control;
pub mod drops;
pub mod lab;
pub mod path;
pub mod port;
pub mod tables;
pub mod telemetry;
pub mod wire;
pub mod worker;
