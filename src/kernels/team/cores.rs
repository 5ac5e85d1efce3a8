//! Which core a thread runs on.

use std::io;

use rustix::process::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};
use rustix::thread::gettid;

/// The cores that this thread may run on, in their order.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Keeps this thread on one core.
pub fn stay_on(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// A thread that goes to sleep.
#[derive(Debug)]
pub struct Sleeper {
    thread: Pid,
    cores: CpuSet,
    moved: bool,
}

impl Sleeper {
    /// This thread.
    pub fn here() -> io::Result<Self> {
        Ok(Self { thread: gettid(), cores: sched_getaffinity(None)?, moved: false })
    }

    /// Whether it is this thread.
    pub fn is_here(&self) -> bool {
        self.thread == gettid()
    }

    /// Has it wake on any of its cores but the one that this is called on, if it has others. Systems like to wake a thread where
    /// its waker runs, although another core is free: there it waits until the next tick, up to ten milliseconds.
    pub fn wake_elsewhere(&mut self) {
        let (mut others, here) = (self.cores, sched_getcpu());
        others.unset(here);
        if self.cores.is_set(here) && others.count() > 0 {
            // Where that is not allowed, it wakes where the system likes.
            self.moved |= sched_setaffinity(Some(self.thread), &others).is_ok();
        }
    }

    /// Lets this thread, which has woken, run where it ran before.
    pub fn run_anywhere(self) {
        if self.moved
            && let Err(e) = sched_setaffinity(None, &self.cores)
        {
            log::debug!("a thread stays off a core: {e}");
        }
    }
}
