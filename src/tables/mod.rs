//! Floor 1: what the data path knows.

pub mod ids;
pub mod overlay;

pub use ids::{HopId, OverlayId, PeerId, PortId};
pub use overlay::{Dscp, Overlay};
