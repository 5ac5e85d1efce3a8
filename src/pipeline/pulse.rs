//! Signs of life: what inference is doing, and whether the run as a whole goes on.
//!
//! A sign of life is real progress: inference has entered another stage since the last look, or waits for a frame while
//! its source gives signs of life of its own. A timer that says "alive" would say so of a program that hangs.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::service::Notifier;

/// Without a watchdog, inference may be so long in one stage before it is mentioned in the log.
const LONG: Duration = Duration::from_secs(10);

/// What inference is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// For a frame.
    Wait,
    /// To RGB.
    Decode,
    /// All that [`Watcher`](crate::watch::Watcher) does.
    Detect,
    /// To the output, which may wait for its reader.
    Deliver,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Wait => "waiting for a frame",
            Self::Decode => "decoding",
            Self::Detect => "detecting",
            Self::Deliver => "handing its result on",
        }
    }
}

/// Where inference is.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<(Stage, u64, u64)>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Mutex::new((Stage::Wait, 0, 0)))
    }
}

impl Pulse {
    /// Inference begins with a stage of the frame with this number.
    pub fn enter(&self, stage: Stage, seq: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (stage, seq, state.2 + 1);
    }

    /// Stage, number of the frame, and how many stages were entered so far.
    fn read(&self) -> (Stage, u64, u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pings the service manager while there are signs of life, and says in the log where they ended.
#[derive(Debug)]
pub(super) struct Watchdog {
    notifier: Notifier,
    /// Silence that is mentioned: half of the time after which the service manager loses its patience.
    long: Duration,
    /// Time between two pings, at least. Its patience is counted from the last ping and not from the last sign of life, so
    /// with few pings a frame that takes little more than half of that time would be the end of the process.
    between: Duration,
    pinged: Instant,
    /// Counts at the last sign of life, and when that was.
    last: (u64, u64),
    alive: Instant,
    told: bool,
}

impl Watchdog {
    pub fn new(notifier: Notifier, now: Instant) -> Self {
        let long = notifier.watchdog().map_or(LONG, |time| time / 2);
        Self { notifier, long, between: long / 4, pinged: now, last: (0, 0), alive: now, told: false }
    }

    /// To be called often. `ticks` counts the source's signs of life; a `patient` source may wait for ever.
    pub fn look(&mut self, pulse: &Pulse, ticks: u64, patient: bool, now: Instant) {
        let (stage, seq, entered) = pulse.read();
        let counts = (entered, ticks);
        let alive = match stage {
            Stage::Wait => counts != self.last || patient,
            // A reader may take its time; those of live sources are not waited for.
            Stage::Deliver => true,
            Stage::Decode | Stage::Detect => entered != self.last.0,
        };
        if alive {
            (self.last, self.alive, self.told) = (counts, now, false);
        }
        let silent = now.duration_since(self.alive);
        if alive && now.duration_since(self.pinged) >= self.between {
            self.pinged = now;
            self.notifier.alive();
        } else if silent >= self.long && !self.told {
            self.told = true;
            let (doing, ms) = (stage.name(), silent.as_millis());
            log::error!("no sign of life for {ms} ms: the inference thread hangs while {doing} (frame {seq})");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    struct Bench {
        socket: UnixDatagram,
        watchdog: Watchdog,
        pulse: Pulse,
        now: Instant,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            let now = Instant::now();
            let watchdog = Watchdog::new(Notifier::to(path.as_os_str(), Some(Duration::from_secs(30))), now);
            Self { socket, watchdog, pulse: Pulse::default(), now, _dir: dir }
        }

        /// Pings in so many seconds, looked at twice a second, with something done before each look.
        fn pings(&mut self, seconds: u32, patient: bool, mut before: impl FnMut(&Pulse) -> u64) -> usize {
            let (mut pings, mut buffer) = (0, [0; 64]);
            for _ in 0..2 * seconds {
                self.now += Duration::from_millis(500);
                let ticks = before(&self.pulse);
                self.watchdog.look(&self.pulse, ticks, patient, self.now);
                // A socket that nobody reads holds ten.
                pings += std::iter::from_fn(|| self.socket.recv(&mut buffer).ok()).count();
            }
            pings
        }
    }

    #[test]
    fn frames_that_go_on_ping_some_times_in_the_watchdogs_time() {
        let mut bench = Bench::new();
        let mut seq = 0;
        let pings = bench.pings(120, false, |pulse| {
            seq += 1;
            pulse.enter(Stage::Detect, seq);
            0
        });
        // Every 3.75 s, looked at each half second.
        assert_eq!(pings, 30);
    }

    #[test]
    fn a_slow_frame_has_most_of_the_watchdogs_time_whenever_it_comes() {
        let mut bench = Bench::new();
        let mut seq = 0;
        for fast in 1..40 {
            bench.pings(fast, false, |pulse| {
                seq += 1;
                pulse.enter(Stage::Detect, seq);
                0
            });
            // From here it takes 25 seconds.
            bench.pings(25, false, |_| 0);
            let since = bench.now.duration_since(bench.watchdog.pinged);
            assert!(since < Duration::from_secs(30), "{since:?} without a ping after {fast} s of frames");
        }
    }

    #[test]
    fn a_hanging_detector_ends_the_pings_although_the_camera_goes_on() {
        let mut bench = Bench::new();
        bench.pulse.enter(Stage::Detect, 57);
        let mut ticks = 0;
        assert_eq!(
            bench.pings(120, true, |_| {
                ticks += 1;
                ticks
            }),
            0
        );
        assert!(bench.watchdog.told);
    }

    #[test]
    fn an_absent_camera_is_no_fault_while_its_source_goes_on_trying() {
        let mut bench = Bench::new();
        bench.pulse.enter(Stage::Wait, 0);
        let mut ticks = 0;
        assert_eq!(
            bench.pings(60, false, |_| {
                ticks += 1;
                ticks
            }),
            15
        );
        // A source that hangs is one.
        assert_eq!(bench.pings(60, false, |_| ticks), 0);
        // A pipe into which nobody writes is none.
        assert_eq!(bench.pings(60, true, |_| ticks), 15);
    }
}
