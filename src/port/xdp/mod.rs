//! Ports on real interfaces: AF_XDP sockets, the XDP program that steers packets to them, and waiting for both.
//!
//! Order of construction, which is also what the kernel wants: [`XdpPort::open_all`] makes the sockets and fills
//! their fill rings, then [`Steering::attach`] puts them into the program's map and attaches it. All of it happens
//! in the network namespace of the calling thread, which must be the interfaces' one.

mod catch;
mod error;
mod open;
mod reason;
mod socket;
mod steer;
mod sys;
mod tables;
mod wait;

pub use catch::{CatchCounters, Catching};
pub use error::PortError;
pub use open::{Finishing, Options, QueueSpec, RingSizes, ZeroCopy};
pub use reason::{SteerCounters, SteerReason};
pub use socket::XdpPort;
pub use steer::{AttachMode, Roles, SteerCapacity, Steering};
pub use wait::{MAX_PORTS, Waiter, Waker, Woken};
