//! What is done around the detector with each frame of a stream, on one screen ([`Watcher::watch`]).
//!
//! ```text
//! Picture ─► motion gate ─► detector ─► rules ─► tracker ─► Watched
//!            (still: the    at the      thresholds, numbers
//!            last objects)  budget's    zones
//!                           step
//! ```

pub mod budget;
pub mod ladder;
mod motion;
mod rules;
mod track;
mod zones;

pub use budget::{Budget, BudgetState};
pub use ladder::{Rung, Step};
pub use motion::MotionGate;
pub use rules::{ClassRule, RuleBook, RuleError, Rules};
pub use track::{Track, Tracker};
pub use zones::{MAX_ZONES, Mode, Test, Zone};

use crate::detector::{Detected, Detection, Detector, DetectorError};
use crate::frame::{Picture, Scaling};

/// What finds objects: a [`Detector`], or a stand-in for tests.
pub trait Look: Send {
    /// Looks at one picture, into memory used before.
    fn look(&mut self, picture: &Picture, found: &mut Detected) -> Result<(), DetectorError>;
    /// Looks as closely as this from the next picture on.
    fn set_step(&mut self, _: Step) {}
}

impl Look for Detector {
    fn look(&mut self, picture: &Picture, found: &mut Detected) -> Result<(), DetectorError> {
        self.detect_into(picture, found)
    }

    fn set_step(&mut self, step: Step) {
        let long_max = self.scaling().long_max.max(step.short_side);
        self.set_scaling(Scaling { short: step.short_side, long_max });
        self.set_proposals(step.proposals);
    }
}

/// An object to report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Class, score and place.
    pub detection: Detection,
    /// Zones it is in: bit i for the i-th.
    pub zones: u64,
    /// Its number, if numbers are given.
    pub track: Option<Track>,
}

/// What came of watching a frame. Kept from frame to frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// Best score first.
    pub objects: Vec<Object>,
    /// The detector's part; without times and proposals if it did not look.
    pub detected: Detected,
    /// Nothing has moved, and the objects are those of the last frame that was looked at.
    pub gated: bool,
    /// The step it was looked at with.
    pub budget: Option<BudgetState>,
}

/// A detector with what is around it. All of it can be exchanged between two frames.
pub struct Watcher {
    /// Finds objects.
    pub look: Box<dyn Look>,
    /// Which of them are reported; all if absent.
    pub rules: Option<Rules>,
    /// Spares still scenes.
    pub gate: Option<MotionGate>,
    /// Chooses how closely to look.
    pub budget: Option<Budget>,
    /// Numbers the objects.
    pub tracker: Option<Tracker>,
    last: Watched,
    /// The last number an object got before this watcher took over.
    given: u64,
}

impl Watcher {
    /// Only looks; everything else can be added.
    pub fn new(look: Box<dyn Look>) -> Self {
        Self { look, rules: None, gate: None, budget: None, tracker: None, last: Watched::default(), given: 0 }
    }

    /// Names of the zones, in the order of the bits of [`Object::zones`].
    pub fn zone_names(&self) -> Vec<String> {
        self.rules.iter().flat_map(Rules::zone_names).map(str::to_owned).collect()
    }

    /// Watches one frame.
    pub fn watch(&mut self, picture: &Picture, watched: &mut Watched) -> Result<(), DetectorError> {
        watched.budget = self.budget.as_ref().map(Budget::state);
        watched.gated = self.gate.as_mut().is_some_and(|gate| gate.is_still(picture));
        if watched.gated {
            watched.objects.clone_from(&self.last.objects);
            watched.detected.clear();
            watched.detected.input = self.last.detected.input;
            return Ok(());
        }
        let looked = self.look.look(picture, &mut watched.detected);
        if let (Err(_), Some(gate)) = (&looked, &mut self.gate) {
            gate.forget();
        }
        looked?;
        let found = &watched.detected.detections;
        match &self.rules {
            Some(rules) => rules.apply(found, picture.width, picture.height, &mut watched.objects),
            None => {
                watched.objects.clear();
                watched.objects.extend(found.iter().map(|d| Object { detection: *d, zones: 0, track: None }));
            }
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.update(&mut watched.objects);
        }
        if self.gate.is_some() {
            self.last.objects.clone_from(&watched.objects);
            self.last.detected.input = watched.detected.input;
        }
        Ok(())
    }

    /// Lets another take over; its objects' numbers go on after ours.
    pub fn replace(&mut self, mut by: Self) {
        by.given = self.tracker.as_ref().map_or(self.given, Tracker::last_id);
        if let Some(tracker) = &mut by.tracker {
            *tracker = Tracker::after(by.given);
        }
        *self = by;
    }

    /// Takes note of how long a frame took that was looked at; true if the next is looked at with another step.
    pub fn took(&mut self, ms: f64) -> bool {
        let step = self.budget.as_mut().and_then(|budget| budget.observe(ms));
        step.inspect(|step| self.look.set_step(*step)).is_some()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A clock that goes when it is told to.

    use std::sync::Mutex;
    use std::time::{Duration, SystemTime};

    use crate::clock::{Clock, Moment};

    #[derive(Debug, Default)]
    pub struct SimClock(Mutex<Duration>);

    impl SimClock {
        pub fn advance(&self, ms: f64) {
            *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += Duration::from_secs_f64(ms / 1e3);
        }
    }

    impl Clock for SimClock {
        fn now(&self) -> Moment {
            let mono = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Moment { wall: SystemTime::UNIX_EPOCH + mono, mono }
        }

        fn sleep(&self, time: Duration) {
            self.advance(time.as_secs_f64() * 1e3);
        }
    }
}
