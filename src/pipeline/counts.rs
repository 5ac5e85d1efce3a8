//! How many frames came, and why some were not looked at.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a frame was not looked at, or not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A newer one came while the detector was busy.
    Busy,
    /// It could not be read or decoded.
    Corrupt,
    /// The detector could not look at it.
    Failed,
    /// Whoever reads the output was too slow.
    Reader,
    /// It was still waiting when the run was stopped.
    Stop,
}

impl Cause {
    /// Names, in the order of the numbers.
    const NAMES: [&str; 5] = ["busy", "corrupt", "failed", "reader", "stop"];
}

/// Dropped frames by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; 5]);

impl Drops {
    /// Counts `n` more.
    pub fn add(&mut self, cause: Cause, n: u64) {
        self.0[cause as usize] += n;
    }

    /// Counts all of the other's.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, n)| *sum += n);
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - earlier.0[i]))
    }

    /// Over all causes.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How often for one cause.
    pub fn of(&self, cause: Cause) -> u64 {
        self.0[cause as usize]
    }

    /// All causes with their names.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        std::array::from_fn(|i| (Cause::NAMES[i], self.0[i]))
    }
}

/// The counts of a run, shared by its threads. One lock, so that no reader sees a frame twice or not at all.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<(u64, Drops)>);

impl Counts {
    /// A frame came.
    pub fn captured(&self) {
        self.lock().0 += 1;
    }

    /// Frames that came before were dropped.
    pub fn dropped(&self, cause: Cause, n: u64) {
        self.lock().1.add(cause, n);
    }

    /// A frame came and was of no use.
    pub fn corrupt(&self) {
        let mut counts = self.lock();
        counts.0 += 1;
        counts.1.add(Cause::Corrupt, 1);
    }

    /// Frames that came so far, and the dropped among them.
    pub fn read(&self) -> (u64, Drops) {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Drops)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
