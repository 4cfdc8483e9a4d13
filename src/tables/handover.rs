//! How a new version of the tables reaches the workers, without a lock and without a worker ever freeing one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam::queue::ArrayQueue;

use super::Tables;

#[derive(Debug)]
struct Lane {
    /// The newest version not yet taken; an older one is displaced by a newer.
    inbox: ArrayQueue<Arc<Tables>>,
    /// Versions a worker is done with, on their way back to be freed.
    outbox: ArrayQueue<Arc<Tables>>,
    /// Epoch of the version in use.
    adopted: AtomicU32,
}

/// The control plane's end.
#[derive(Debug)]
pub struct Publisher {
    lanes: Vec<Arc<Lane>>,
}

/// A worker's end: the version in use.
#[derive(Debug)]
pub struct Subscriber {
    lane: Arc<Lane>,
    current: Arc<Tables>,
}

/// Connects one publisher with `workers` subscribers, which begin with `tables`.
pub fn channel(workers: usize, tables: Tables) -> (Publisher, Vec<Subscriber>) {
    let first = Arc::new(tables);
    let lane = |_| {
        Arc::new(Lane { inbox: ArrayQueue::new(1), outbox: ArrayQueue::new(4), adopted: AtomicU32::new(first.epoch()) })
    };
    let lanes: Vec<_> = (0..workers).map(lane).collect();
    let subscriber = |lane: &Arc<Lane>| Subscriber { lane: lane.clone(), current: first.clone() };
    let subscribers = lanes.iter().map(subscriber).collect();
    (Publisher { lanes }, subscribers)
}

impl Publisher {
    /// Offers a version to every worker, and frees those they are done with.
    pub fn publish(&mut self, tables: Tables) {
        let next = Arc::new(tables);
        for lane in &self.lanes {
            drop(lane.inbox.force_push(next.clone()));
        }
        self.collect();
    }

    /// Frees the versions that workers are done with.
    pub fn collect(&mut self) {
        for lane in &self.lanes {
            while lane.outbox.pop().is_some() {}
        }
    }

    /// The oldest epoch still in use by a worker.
    pub fn adopted(&self) -> u32 {
        self.lanes.iter().map(|l| l.adopted.load(Ordering::Acquire)).min().unwrap_or(0)
    }
}

impl Subscriber {
    /// The version in use.
    #[inline]
    pub fn tables(&self) -> &Tables {
        &self.current
    }

    /// Takes the newest version if there is one. Costs a few plain loads when there is none; never allocates, frees
    /// or waits. When the publisher has not collected for a while the old version stays in use a little longer.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        if self.lane.inbox.is_empty() || self.lane.outbox.is_full() {
            return false;
        }
        self.adopt()
    }

    #[cold]
    fn adopt(&mut self) -> bool {
        let Some(next) = self.lane.inbox.pop() else { return false };
        let old = core::mem::replace(&mut self.current, next);
        self.lane.adopted.store(self.current.epoch(), Ordering::Release);
        // only this worker fills the outbox and it was not full: nothing is dropped here
        let _ = self.lane.outbox.push(old);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::TablesWriter;

    #[test]
    fn the_newest_version_arrives_and_the_old_one_goes_back() {
        let mut w = TablesWriter::new(vec![], vec![]);
        let (mut publisher, mut subs) = channel(2, w.publish());
        let first = Arc::downgrade(&subs[0].current);
        assert!(!subs[0].refresh());
        publisher.publish(w.publish());
        publisher.publish(w.publish());
        assert_eq!((publisher.adopted(), subs[0].tables().epoch()), (1, 1));
        assert!(subs[0].refresh() && !subs[0].refresh());
        assert_eq!(subs[0].tables().epoch(), 3);
        assert_eq!(publisher.adopted(), 1, "the other worker still has the first");
        assert!(subs[1].refresh());
        assert_eq!(publisher.adopted(), 3);
        assert!(first.upgrade().is_some(), "workers do not free it");
        publisher.collect();
        assert!(first.upgrade().is_none(), "the publisher does");
    }

    #[test]
    fn a_lazy_publisher_makes_no_worker_free_anything() {
        let mut w = TablesWriter::new(vec![], vec![]);
        let (publisher, mut subs) = channel(1, w.publish());
        for _ in 0..9 {
            let _ = publisher.lanes[0].inbox.force_push(Arc::new(w.publish()));
            subs[0].refresh();
        }
        assert_eq!(subs[0].tables().epoch(), 5, "four went back, then the worker kept what it had");
    }
}
