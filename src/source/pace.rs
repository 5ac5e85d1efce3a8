//! Frames at a given rate.

use std::time::Duration;

use super::{Context, SourceError};

/// Lets a frame through each period.
pub struct Pace {
    period: Duration,
    due: Option<Duration>,
    context: Context,
}

impl Pace {
    /// So many frames a second; `None`: as fast as they are taken.
    pub fn new(fps: Option<f64>, context: &Context) -> Result<Self, SourceError> {
        let period = match fps {
            None => Duration::ZERO,
            Some(fps) if (0.001..=10_000.0).contains(&fps) => Duration::from_secs_f64(1.0 / fps),
            Some(fps) => {
                let reason = "must be 0.001 to 10000 frames a second";
                return Err(SourceError::Setting { name: "fps", value: fps.to_string(), reason });
            }
        };
        Ok(Self { period, due: None, context: context.clone() })
    }

    /// Waits until the next frame is due; false if somebody asked to stop.
    ///
    /// Dues are counted on from the first frame, so that the rate is kept although each wait is a little late. After a
    /// delay of more than one period they start anew instead of coming in a burst.
    pub fn wait(&mut self) -> bool {
        let Context { clock, stop } = &self.context;
        let now = clock.now().mono;
        let due = self.due.filter(|&due| due + self.period >= now).unwrap_or(now);
        self.due = Some(due + self.period);
        stop.wait(due.saturating_sub(now), clock.as_ref())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::Stop;
    use super::*;
    use crate::clock::{Clock, Moment};

    /// Time passes only by waiting.
    struct Simulated(Mutex<Duration>);

    impl Clock for Simulated {
        fn now(&self) -> Moment {
            Moment { mono: *self.0.lock().unwrap(), ..Moment::default() }
        }
        fn sleep(&self, time: Duration) {
            *self.0.lock().unwrap() += time;
        }
    }

    fn context() -> Context {
        Context { clock: Arc::new(Simulated(Mutex::new(Duration::from_secs(9)))), stop: Stop::default() }
    }

    #[test]
    fn frames_come_at_the_rate_asked_for_and_a_late_one_brings_no_burst() {
        let context = context();
        let mut pace = Pace::new(Some(4.0), &context).unwrap();
        let mut at = || {
            assert!(pace.wait());
            context.clock.now().mono.as_millis()
        };
        assert_eq!([at(), at(), at()], [9000, 9250, 9500]);
        context.clock.sleep(Duration::from_millis(100));
        assert_eq!(at(), 9750);
        context.clock.sleep(Duration::from_millis(2100));
        assert_eq!([at(), at()], [11_850, 12_100]);
    }

    #[test]
    fn a_wait_ends_when_somebody_asks_to_stop() {
        let context = context();
        let mut pace = Pace::new(Some(0.001), &context).unwrap();
        assert!(pace.wait());
        context.stop.set(15);
        assert!(!pace.wait());
        assert!(context.clock.now().mono < Duration::from_secs(10));
    }

    #[test]
    fn impossible_rates_are_refused() {
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Pace::new(Some(fps), &context()).is_err(), "{fps}");
        }
    }
}
