//! Sleeping until a port has something, or until another thread says so.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, write};

/// The most ports a worker can have: those one [`Waiter`] looks at without allocating. A port it did not look at could
/// not wake the worker.
pub const MAX_PORTS: usize = 64;

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// Somebody called [`Waker::wake`]; ports may be ready as well.
    Waker,
    /// A port is ready.
    Port,
    /// The time is over, or a signal came.
    Timeout,
}

/// Where a worker sleeps: poll(2) on its ports and on an eventfd. poll(2) also tells drivers of the ports' rings.
#[derive(Debug)]
pub struct Waiter {
    event: Arc<OwnedFd>,
}

/// Wakes the [`Waiter`] it came from, from any thread, also if it sleeps only later.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

impl Waiter {
    /// # Errors
    /// What eventfd(2) said: descriptors or memory are short.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event: Arc::new(event) })
    }

    /// One to wake it by.
    pub fn waker(&self) -> Waker {
        Waker { event: self.event.clone() }
    }

    /// Sleeps until one of `ports` (the first [`MAX_PORTS`]) can be read from, a [`Waker`] calls, or `timeout` is over (`None`:
    /// never). Allocates nothing.
    ///
    /// # Errors
    /// What poll(2) said: memory is short.
    pub fn wait<'a>(
        &mut self,
        ports: impl IntoIterator<Item = BorrowedFd<'a>>,
        timeout: Option<Duration>,
    ) -> io::Result<Woken> {
        let event = self.event.as_fd();
        let mut fds: [PollFd<'_>; MAX_PORTS + 1] =
            std::array::from_fn(|_| PollFd::from_borrowed_fd(event, PollFlags::IN));
        let mut used = 1;
        for (slot, port) in fds[1..].iter_mut().zip(ports) {
            *slot = PollFd::from_borrowed_fd(port, PollFlags::IN);
            used += 1;
        }
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        match poll(&mut fds[..used], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(Woken::Timeout),
            Ok(_) if !fds[0].revents().is_empty() => {
                let _ = read(event, &mut [0; 8]); // sets the eventfd back; it is ready, so this cannot fail
                Ok(Woken::Waker)
            }
            Ok(_) => Ok(Woken::Port),
            Err(e) => Err(e.into()),
        }
    }
}

impl Waker {
    /// Wakes the waiter.
    pub fn wake(&self) {
        let _ = write(&*self.event, &1u64.to_ne_bytes()); // full means that it is awake anyway
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_are_remembered_once_and_timeouts_end() {
        let mut waiter = Waiter::new().unwrap();
        let waker = waiter.waker();
        waker.wake();
        waker.clone().wake();
        assert_eq!(waiter.wait([], None).unwrap(), Woken::Waker);
        assert_eq!(waiter.wait([], Some(Duration::from_millis(1))).unwrap(), Woken::Timeout);
        let late = std::thread::spawn(move || waker.wake());
        assert_eq!(waiter.wait([], None).unwrap(), Woken::Waker);
        late.join().unwrap();
    }

    #[test]
    fn a_ready_descriptor_ends_the_wait() {
        let ready = eventfd(1, EventfdFlags::empty()).unwrap();
        let mut waiter = Waiter::new().unwrap();
        assert_eq!(waiter.wait([ready.as_fd()], None).unwrap(), Woken::Port);
        let idle = eventfd(0, EventfdFlags::empty()).unwrap();
        let last = std::iter::repeat_n(idle.as_fd(), MAX_PORTS - 1).chain([ready.as_fd()]);
        assert_eq!(waiter.wait(last, None).unwrap(), Woken::Port);
    }
}
