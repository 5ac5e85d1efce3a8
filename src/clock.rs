//! Time, passed in: sources and pipeline take a [`Clock`], so that tests run on a time of their own.
//!
//! Two times belong to each moment. The monotonic one never jumps and is what durations are made of; the time of day is
//! for people, and may be set at any moment.

use std::fmt;
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// A point in time, on both scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Time of day.
    pub wall: SystemTime,
    /// Since the system's start, as `CLOCK_MONOTONIC` counts.
    pub mono: Duration,
}

impl Moment {
    /// Milliseconds since an earlier moment, on the monotonic scale; 0 if that one is not earlier.
    pub fn ms_since(&self, earlier: Moment) -> f64 {
        self.mono.saturating_sub(earlier.mono).as_secs_f64() * 1e3
    }

    /// The time of day as RFC 3339 in UTC with milliseconds: `2026-01-05T10:00:00.120Z`.
    pub fn rfc3339(&self) -> String {
        self.display().to_string()
    }

    /// The same, to be written without memory of its own.
    pub fn display(&self) -> impl fmt::Display {
        // A time of day before 9999 always fits; a broken clock shows as 1970 instead of ending the program.
        Milliseconds(Timestamp::try_from(self.wall).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The monotonic scale in microseconds.
    pub fn mono_us(&self) -> u64 {
        u64::try_from(self.mono.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self { wall: SystemTime::UNIX_EPOCH, mono: Duration::ZERO }
    }
}

/// A time of day with milliseconds.
struct Milliseconds(Timestamp);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// Tells the time and waits.
pub trait Clock: Send + Sync {
    /// This moment.
    fn now(&self) -> Moment;
    /// Waits for so long.
    fn sleep(&self, time: Duration);
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // Both parts are positive on this clock.
        let seconds = u64::try_from(mono.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(mono.tv_nsec).unwrap_or(0);
        Moment { wall: SystemTime::now(), mono: Duration::new(seconds, nanos) }
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_with_milliseconds_in_utc() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_607_200_120_400);
        assert_eq!(Moment { wall, mono: Duration::ZERO }.rfc3339(), "2026-01-05T10:00:00.120Z");
        assert_eq!(Moment::default().rfc3339(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_wall_clock_set_back_does_not_change_durations() {
        let before = Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(7200), mono: Duration::from_secs(5) };
        let after = Moment { wall: SystemTime::UNIX_EPOCH, mono: Duration::from_millis(5250) };
        assert_eq!(after.ms_since(before), 250.0);
        assert_eq!(before.ms_since(after), 0.0);
    }

    #[test]
    fn the_system_clock_runs_forward() {
        let (a, b) = (SystemClock.now(), SystemClock.now());
        assert!(b.mono >= a.mono && a.mono > Duration::ZERO);
    }
}
