//! How many frames came, and why some were not looked at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::source::Flaw;

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
    /// The camera's driver lost it: the bus or the system was too slow.
    Driver,
    /// The camera gave no bytes.
    Empty,
    /// The camera gave fewer bytes than size and format ask for.
    Size,
    /// The camera should have given a JPEG.
    NotJpeg,
    /// The camera gave a JPEG that breaks off.
    CutOff,
}

impl From<Flaw> for Cause {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Unreadable | Flaw::Damaged => Self::Corrupt,
            Flaw::Empty => Self::Empty,
            Flaw::Size => Self::Size,
            Flaw::NotJpeg => Self::NotJpeg,
            Flaw::CutOff => Self::CutOff,
        }
    }
}

/// How many causes there are.
const CAUSES: usize = 10;

impl Cause {
    /// Names, in the order of the numbers.
    const NAMES: [&str; CAUSES] =
        ["busy", "corrupt", "failed", "reader", "stop", "driver", "empty", "size", "not_jpeg", "cut_off"];
}

/// Dropped frames by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; CAUSES]);

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
    pub fn named(&self) -> [(&'static str, u64); CAUSES] {
        std::array::from_fn(|i| (Cause::NAMES[i], self.0[i]))
    }
}

/// The counts of a run, shared by its threads. One lock, so that no reader sees a frame twice or not at all.
#[derive(Debug, Default)]
pub(super) struct Counts {
    frames: Mutex<(u64, Drops)>,
    /// Frames whose time of capture the driver had wrong.
    pub times_corrected: AtomicU64,
}

impl Counts {
    /// A frame came.
    pub fn captured(&self) {
        self.lock().0 += 1;
    }

    /// Frames that came before were dropped.
    pub fn dropped(&self, cause: Cause, n: u64) {
        self.lock().1.add(cause, n);
    }

    /// Frames came, or would have come, and were of no use.
    pub fn useless(&self, cause: Cause, n: u64) {
        let mut counts = self.lock();
        counts.0 += n;
        counts.1.add(cause, n);
    }

    /// A frame came with an impossible time of capture.
    pub fn time_corrected(&self) {
        self.times_corrected.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames that came so far, and the dropped among them.
    pub fn read(&self) -> (u64, Drops) {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Drops)> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
