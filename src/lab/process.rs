//! A child process that does not outlive its handle.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A child, mostly one inside a namespace. Dropping it kills and reaps the child.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Takes a child over.
    pub fn new(child: Child) -> Self {
        Self { child }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The standard handles of the child, for those who asked for pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The exit status, if the child has ended.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal to the child.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // Until it is reaped, and only this handle reaps it, the id cannot belong to anybody else.
        let pid = Pid::from_child(&self.child);
        Ok(kill_process(pid, signal)?)
    }

    /// Asks the child to end (SIGTERM), waits up to `patience`, then kills it. Returns how it ended.
    pub fn stop(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        if self.exited()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
