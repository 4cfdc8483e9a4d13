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
//! | 1 | [`lab`] | does it build a network to try things in? (for the demonstration and the tests) | `wire` |
//! | 0 | [`drops`] | does it name a refusal? | nothing |
//! | 0 | [`wire`] | does it name a byte offset? | nothing |
//!
//! # Reading order
//!
//! Start with [`wire::Packet`] (a view whose head moves) and [`wire::OuterV4`] (64 bytes of headers, prebuilt once and
//! stamped per packet). Then follow one packet: [`worker::Worker::turn`] takes a burst, [`path::Path::inbound`] or
//! [`path::Path::outbound`] decides, and what is left leaves by a [`port::Port`]. Then follow one route: a source tells
//! [`control::source::News`], of which [`control::learnt::Learnt`] believes what it may say. Such a
//! [`control::source::Event`] enters the [`control::rib::Rib`], what changes in force goes through
//! [`control::compile::Compiler`] together with the kernel's next hops from [`control::keeper::Keeper`] into
//! [`tables::TablesWriter`], and reaches workers by [`tables::handover`]. [`cli::run`] ties it all together.
//!
//! # Promises
//!
//! * A chunk of packet memory is in exactly one place: a [`port::Frame`] is its only token.
//! * A packet leaves by exactly one door: forwarded, answered, or dropped for one [`drops::DropReason`].
//! * Data-path code does not panic, allocate, lock or log, and works on one immutable version of the tables a burst.
//! * What the kernel knows (addresses, routes, neighbours) the kernel is asked for; nothing is configured twice.

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
