//! Small indices by which rows of the tables name each other.

/// Index of a port (an interface the gateway works on), in the order of the config file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PortId(pub u8);

/// Index of an overlay.
#[derive(Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct OverlayId(pub u16);

/// Index of a peer: one remote VTEP of one overlay with one inner MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerId(pub u32);

/// Index of a native next hop: one neighbour on one access port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HopId(pub u32);

/// Index of a group: several equal ways.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GroupId(pub u32);
