//! Several equal ways to a prefix, among which flows are spread (ECMP, RFC 2992).
//!
//! Flows are in buckets, and each bucket has the member that wins a draw made of the bucket and of what the member is
//! (rendezvous hashing, also known as highest random weight). So a member that goes takes only its own flows along, one that
//! comes takes its share from all others alike, and the same members have the same flows after a restart, too.

use core::fmt;
use std::sync::Arc;

use super::{Action, Packed};
use crate::wire::flow::{BUCKETS, Flow};

/// Members that a group may have: a bucket names one in one byte. Of more the first ones count.
pub const MOST_MEMBERS: usize = 1 << u8::BITS;

/// One way of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Encapsulate or deliver.
    pub action: Action,
    /// What the way is, in a number: the same for the same way whenever a group is made.
    pub identity: u64,
    /// Can packets be sent by it at present?
    pub ready: bool,
}

/// A group: who is in it, and to whom each flow goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Group(Arc<Spread>);

#[derive(PartialEq, Eq)]
struct Spread {
    members: Box<[Packed]>,
    /// Which member has each bucket.
    buckets: [u8; BUCKETS],
}

impl Group {
    /// A group of one member or more. A member that is not ready gets no flows as long as another one is.
    pub fn new(members: &[Member]) -> Self {
        let members = &members[..members.len().min(MOST_MEMBERS)];
        let any_ready = members.iter().any(|member| member.ready);
        let mut buckets = [0; BUCKETS];
        for (bucket, has) in (0u64..).zip(&mut buckets) {
            let numbered = (0..=u8::MAX).zip(members).filter(|(_, member)| member.ready || !any_ready);
            let winner = numbered.max_by_key(|(_, member)| (draw(member.identity, bucket), member.identity));
            *has = winner.map_or(0, |(number, _)| number);
        }
        let members = members.iter().map(|member| Some(member.action).into()).collect();
        Self(Arc::new(Spread { members, buckets }))
    }

    /// The member that a flow goes to.
    #[inline]
    pub fn choose(&self, flow: Flow) -> Packed {
        let Spread { members, buckets } = &*self.0;
        members.get(usize::from(buckets[flow.bucket()])).copied().unwrap_or_default()
    }

    /// All members, ready or not.
    #[inline]
    pub fn members(&self) -> &[Packed] {
        &self.0.members
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.0.members).finish()
    }
}

/// What a member draws for a bucket: the mixer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
const fn draw(identity: u64, bucket: u64) -> u64 {
    let mut z = identity.wrapping_add((bucket + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::super::PeerId;
    use super::*;
    use crate::tables::hash::Keyed;
    use proptest::prelude::*;

    fn member(n: u32, ready: bool) -> Member {
        let identity = Keyed::new(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345).hash(u64::from(n));
        Member { action: Action::Encap(PeerId(n)), identity, ready }
    }

    fn group(members: &[(u32, bool)]) -> Group {
        Group::new(&members.iter().map(|(n, ready)| member(*n, *ready)).collect::<Vec<_>>())
    }

    /// Whom each bucket goes to.
    fn spread(group: &Group) -> Vec<u32> {
        (0..BUCKETS as u64).map(|bucket| group.choose(Flow::new(bucket << 14)).peer().unwrap().0).collect()
    }

    fn shares(of: &[u32], member: u32) -> usize {
        of.iter().filter(|n| **n == member).count()
    }

    #[test]
    fn members_have_about_equal_shares() {
        for count in [2, 3, 4, 8, 16] {
            let all: Vec<_> = (0..count).map(|n| (n, true)).collect();
            let spread = spread(&group(&all));
            // five standard deviations of a binomial distribution
            let p = 1.0 / f64::from(count);
            let (mean, bound) = (BUCKETS as f64 * p, 5.0 * (BUCKETS as f64 * p * (1.0 - p)).sqrt());
            for n in 0..count {
                assert!((shares(&spread, n) as f64 - mean).abs() < bound, "{n} of {count}: {}", shares(&spread, n));
            }
        }
    }

    #[test]
    fn who_is_not_ready_gets_nothing_unless_nobody_is() {
        let ready = spread(&group(&[(0, true), (1, false), (2, true)]));
        assert_eq!((shares(&ready, 1), ready == spread(&group(&[(0, true), (2, true)]))), (0, true));
        assert_eq!(spread(&group(&[(0, false), (1, false)])), spread(&group(&[(0, true), (1, true)])));
        assert_eq!(group(&[(7, false), (9, true)]).members().len(), 2, "who is not ready is a member");
    }

    #[test]
    fn more_members_than_a_byte_can_name_are_left_out() {
        let all: Vec<_> = (0..300).map(|n| (n, true)).collect();
        let group = group(&all);
        assert_eq!(group.members().len(), MOST_MEMBERS);
        assert!(spread(&group).iter().all(|n| *n < 256));
    }

    proptest! {
        /// Whoever goes, and in whatever order the members stand, only the flows of who goes move; and who comes back has
        /// the same flows again.
        #[test]
        fn only_the_flows_of_who_goes_move(all in prop::collection::btree_set(0u32..1000, 2..12), gone in any::<prop::sample::Index>()) {
            let all: Vec<u32> = all.into_iter().collect();
            let gone = all[gone.index(all.len())];
            let before = spread(&group(&all.iter().map(|n| (*n, true)).collect::<Vec<_>>()));
            let without: Vec<_> = all.iter().rev().filter(|n| **n != gone).map(|n| (*n, true)).collect();
            let dead = spread(&group(&all.iter().map(|n| (*n, *n != gone)).collect::<Vec<_>>()));
            let after = spread(&group(&without));
            prop_assert_eq!(&after, &dead, "to be gone and not to be ready is the same to flows");
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(before == after || *before == gone, "{before} {after} {gone}");
                prop_assert!(*after != gone);
            }
        }
    }
}
