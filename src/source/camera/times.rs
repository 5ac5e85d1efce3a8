//! When a frame was captured, although drivers' clocks are what they are.
//!
//! A driver's time is taken if it counts as `CLOCK_MONOTONIC` does, runs forward, is not in the future and is not older
//! than any queue could make it. Otherwise the time at which the frame was taken from the queue stands for it. What comes
//! out never runs backward, and steps of the time of day leave it alone.

use std::time::Duration;

use crate::clock::Moment;

/// Older frames do not exist: the queue of buffers holds a second or two at the slowest rates.
const OLDEST: Duration = Duration::from_secs(10);

/// Where the time of capture is from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamp {
    /// There is no device behind the frame: it was complete in memory at this time.
    #[default]
    Own,
    /// The driver.
    Driver,
    /// The driver's clock is another; the frame was taken from its queue at this time.
    Dequeue,
    /// The driver's time was impossible and has been replaced by that of taking the frame from its queue.
    Corrected,
}

/// Judges the times of one camera.
#[derive(Debug, Default)]
pub struct Times {
    /// What came out last.
    last: Duration,
}

impl Times {
    /// The moment of capture of a frame that was taken from the queue at `now`.
    pub fn of(&mut self, stamp: Option<Duration>, now: Moment) -> (Moment, Stamp) {
        let (mono, from) = match stamp {
            None => (now.mono, Stamp::Dequeue),
            Some(t) if t > self.last && t <= now.mono && now.mono - t <= OLDEST => (t, Stamp::Driver),
            Some(_) => (now.mono, Stamp::Corrected),
        };
        // The monotonic clock itself cannot run backward, but it may stand for a microsecond.
        let mono = mono.max(self.last);
        self.last = mono;
        // A time of day before 1970 is a clock that was never set.
        let wall = now.wall.checked_sub(now.mono.saturating_sub(mono)).unwrap_or(now.wall);
        (Moment { wall, mono }, from)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn at(wall_s: u64, mono_ms: u64) -> Moment {
        Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall_s), mono: Duration::from_millis(mono_ms) }
    }

    fn ms(n: u64) -> Option<Duration> {
        Some(Duration::from_millis(n))
    }

    /// USERS case 10.
    #[test]
    fn case_10_equal_backward_future_and_ancient_driver_times_are_replaced() {
        let mut times = Times::default();
        let mut of = |stamp, now| {
            let (moment, from) = times.of(stamp, at(9000, now));
            (moment.mono.as_millis(), from)
        };
        assert_eq!(of(ms(60_000), 60_010), (60_000, Stamp::Driver));
        assert_eq!(of(ms(60_000), 60_043), (60_043, Stamp::Corrected), "equal");
        assert_eq!(of(ms(60_066), 60_076), (60_066, Stamp::Driver));
        assert_eq!(of(ms(59_000), 60_110), (60_110, Stamp::Corrected), "backward");
        assert_eq!(of(ms(61_000), 60_143), (60_143, Stamp::Corrected), "future");
        assert_eq!(of(ms(1), 80_000), (80_000, Stamp::Corrected), "ancient");
        assert_eq!(of(None, 80_033), (80_033, Stamp::Dequeue));
        assert_eq!(of(ms(80_060), 80_066), (80_060, Stamp::Driver));
    }

    /// USERS case 10.
    #[test]
    fn case_10_steps_of_the_time_of_day_change_nothing_but_the_time_of_day() {
        let mut times = Times::default();
        let (before, _) = times.of(ms(60_000), at(1_000_000, 60_010));
        for (wall, n) in [(1_003_600, 1), (996_400, 2)] {
            let now = at(wall, 60_010 + 100 * n);
            let (moment, from) = times.of(ms(60_000 + 100 * n), now);
            assert_eq!((moment.ms_since(before), from), (100.0 * n as f64, Stamp::Driver));
            assert_eq!(now.wall.duration_since(moment.wall).ok(), ms(10));
        }
    }

    proptest::proptest! {
        #[test]
        fn case_10_times_never_run_backward(steps in proptest::collection::vec((0u64..200, 0u64..100_000), 1..200)) {
            let (mut times, mut now, mut last) = (Times::default(), 20_000, Duration::ZERO);
            for (step, stamp) in steps {
                now += step;
                let (moment, _) = times.of(ms(stamp), at(9000, now));
                proptest::prop_assert!(moment.mono >= last && moment.mono <= Duration::from_millis(now));
                last = moment.mono;
            }
        }
    }
}
