//! What the parts of the path are worth: the same packets without each.

use super::cases::{Distance, Expect, path};
use super::options::Options;
use super::rounds::{Bar, Case};
use super::traffic::{Journey, Traffic};
use super::world::{self, Size};
use std::rc::Rc;

/// The path as it is; with both looks at each frame in turn, which is a burst of one; and with a cache too small to hold
/// anything, so that each address is looked up.
pub(crate) fn cases(options: &Options) -> Vec<Case> {
    let tables = Rc::new(world::writer(options.nodes as usize).publish());
    let with = |change: fn(&mut Options)| {
        let mut changed = options.clone();
        change(&mut changed);
        changed
    };
    let variants =
        [("whole", options.clone()), ("one-look", with(|o| o.burst = 1)), ("no-cache", with(|o| o.cache = 4))];
    let mut cases = Vec::new();
    for (label, flows, pods) in [("1k", 1_000, 1_000), ("64k", 65_536, 10_000)] {
        let size = Size { nodes: options.nodes as usize, pods, flows };
        for journey in Journey::ALL {
            let traffic = Rc::new(Traffic::flows(journey, size, options.payload.into(), options.seed));
            for (variant, options) in &variants {
                let name = format!("ablation/{}/{label}/{variant}", journey.name());
                let how = (Distance::Far, Expect::Sent);
                cases.push(path(name, Bar::None, options, &tables, traffic.clone(), how));
            }
        }
    }
    cases
}
