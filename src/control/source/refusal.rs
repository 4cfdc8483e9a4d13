//! Why something that a source says is not taken. Each reason has one name, for people and metrics.

use core::fmt;

/// Why something that a source says is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// It cannot be read: what is missing or of the wrong form.
    Malformed,
    /// The node uses another backend than VXLAN.
    NotVxlan,
    /// The node's VNI or UDP port is not the overlay's.
    OtherSegment,
    /// The node has no address, or no prefix, of the family that the overlay needs.
    NoFamily,
    /// A prefix outside those that this source may speak of.
    ForeignPrefix,
    /// A VTEP address outside the allowed ranges, or one that is nobody's: loopback, multicast, our own.
    ForeignVtep,
    /// A prefix that another object of the same source has, or that overlaps one.
    Taken,
    /// A prefix that overlaps one of another overlay.
    OverlapsOverlay,
    /// More prefixes than this source may have.
    TooMany,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Refusal; 9] = [
        Refusal::Malformed,
        Refusal::NotVxlan,
        Refusal::OtherSegment,
        Refusal::NoFamily,
        Refusal::ForeignPrefix,
        Refusal::ForeignVtep,
        Refusal::Taken,
        Refusal::OverlapsOverlay,
        Refusal::TooMany,
    ];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotVxlan => "not_vxlan",
            Self::OtherSegment => "other_segment",
            Self::NoFamily => "no_family",
            Self::ForeignPrefix => "foreign_prefix",
            Self::ForeignVtep => "foreign_vtep",
            Self::Taken => "taken",
            Self::OverlapsOverlay => "overlaps_overlay",
            Self::TooMany => "too_many",
        }
    }
}

/// One thing that was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Why.
    pub refusal: Refusal,
    /// What, and what would be right: a sentence without the object's name.
    pub what: String,
}

impl Fault {
    /// A fault.
    pub fn new(refusal: Refusal, what: impl Into<String>) -> Self {
        Self { refusal, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.refusal.label(), self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_listed_in_order_and_has_a_name_of_its_own() {
        for (place, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, place);
        }
        let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        assert_eq!(Fault::new(Refusal::TooMany, "11 of 10").to_string(), "too_many: 11 of 10");
    }
}
