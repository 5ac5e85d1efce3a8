//! The wish to stop, as a flag that a signal handler can set and every wait of ours looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// No wait leaves the flag unread for longer.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Set once, to the number of a signal.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
    asked: Arc<AtomicBool>,
    ticks: Arc<AtomicU64>,
}

impl Stop {
    /// For signal handlers: they store their number here.
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.signal)
    }

    /// For signal handlers: set by the first signal, so that a second one can be taken for impatience.
    pub fn again(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Asks everybody to stop, in the name of a signal.
    pub fn set(&self, signal: usize) {
        self.signal.store(signal, Ordering::Relaxed);
    }

    /// The signal that asked to stop.
    pub fn signal(&self) -> Option<usize> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }

    /// True if somebody asked to stop.
    pub fn is_set(&self) -> bool {
        self.signal().is_some()
    }

    /// A sign of life from a source that waits: a watchdog ends a program that gives none. Every wait of
    /// [`wait`](Self::wait) is one.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Signs of life so far.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Waits for so long; false if somebody asked to stop meanwhile.
    pub fn wait(&self, time: Duration, clock: &dyn Clock) -> bool {
        let end = clock.now().mono + time;
        loop {
            let left = end.saturating_sub(clock.now().mono);
            if self.is_set() || left.is_zero() {
                return !self.is_set();
            }
            self.tick();
            clock.sleep(left.min(LONGEST_WAIT));
        }
    }
}
