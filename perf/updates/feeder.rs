//! The control plane's thread: one for all rounds, as in the product, where what it allocates it frees itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use core_affinity::CoreId;
use selvedge::tables::handover::{self, Subscriber};

use super::churn::{Changed, Churn, Pace};
use super::pin;
use super::world::Control;

/// A thread that changes routes when it is told to.
pub(crate) struct Feeder {
    paces: Sender<Pace>,
    changed: Receiver<Changed>,
    running: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, usize)>,
}

impl Feeder {
    /// With all `pods` at home, on the second of these cores; and what a worker needs.
    pub(crate) fn start(pods: usize, seed: u64, cores: Vec<CoreId>) -> (Self, Subscriber) {
        let (running, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (paces, paced) = channel();
        let (done, changed) = channel();
        let (worker, subscriber) = channel();
        let (begin, end) = (running.clone(), stop.clone());
        let body = move || {
            pin(&cores, 1);
            let mut control = Control::with_routes(pods);
            let (publisher, mut subscribers) = handover::channel(1, control.publish());
            worker.send(subscribers.pop()).expect("somebody starts the worker");
            let mut churn = Churn::new(control, publisher, pods, seed);
            for pace in paced {
                done.send(churn.run(pace, &begin, &end)).expect("somebody waits for it");
            }
            churn.routes()
        };
        let thread = std::thread::spawn(body);
        let subscriber = subscriber.recv().ok().flatten().expect("one worker");
        (Self { paces, changed, running, stop, thread }, subscriber)
    }

    /// Does `work` on the calling thread while the other one changes routes.
    pub(crate) fn beside<T>(&self, pace: Pace, work: impl FnOnce() -> T) -> (T, Changed) {
        self.stop.store(false, Ordering::Relaxed);
        self.paces.send(pace).expect("the control plane does not panic");
        // this thread does not sleep: it must be there when the other one is
        while !self.running.swap(false, Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        let done = work();
        self.stop.store(true, Ordering::Relaxed);
        (done, self.changed.recv().expect("the control plane does not panic"))
    }

    /// Ends. Routes in the tables, and how many there should be.
    pub(crate) fn end(self) -> (usize, usize) {
        drop(self.paces);
        self.thread.join().expect("the control plane does not panic")
    }
}
