//! A camera that may be unplugged, replugged, stalled or busy at any time, as a source that goes on.
//!
//! ```text
//!          ┌──────────── opened ────────────┐
//! waiting ─┤                                ├─► streaming ─── error, or no good frame in time ──► lost
//!    ▲     └─ cannot be opened: wait longer ┘                                                      │
//!    └──────────── everything closed; wait 1, 2, 4, … 30 seconds ◄─────────────────────────────────┘
//! ```
//!
//! * A loss closes everything: buffers, file, format. The next opening starts from the name, so that a link of
//!   `/dev/v4l/by-id` finds the camera under another number.
//! * Every change of state is told once, as a `status` line and in the log; a reason that stays the same is not repeated.
//! * Waits grow until the camera has streamed for a while, so that one which fails at once each time costs nothing.
//!
//! The device is behind two small traits ([`Driver`], [`Device`]), the time behind [`crate::clock::Clock`]: tests unplug
//! cameras and let months pass in seconds. The real driver is in `v4l2/`.

mod check;
pub mod choose;
mod device;
pub(super) mod times;
mod trouble;
#[cfg(feature = "camera")]
pub mod v4l2;

use std::sync::Arc;
use std::time::Duration;

pub use device::{Device, Driver, Filled, FourCc, Granted, Wanted};
pub use trouble::Trouble;

use super::{Context, Frame, Next, Source, SourceError};
use check::Sequence;
use times::Times;

/// Wait after the first loss; doubled after each attempt that fails.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A camera that streamed for so long is taken for well again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// The wish to stop is looked at so often while no frame comes.
const SLICE: Duration = Duration::from_millis(200);

/// Pause after a frame was announced and not there. Some drivers do that for ever when they break down.
const FALSE_ALARM: Duration = Duration::from_millis(5);

/// What to do when the camera goes away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraOptions {
    /// Without a good frame for so long, the camera is taken for lost.
    pub timeout: Duration,
    /// A loss ends the run.
    pub exit_on_lost: bool,
}

impl Default for CameraOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), exit_on_lost: false }
    }
}

/// The camera has gone, or still cannot be opened, for another reason than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// It had streamed since the last change.
    pub lost: bool,
    /// Why.
    pub trouble: Trouble,
    /// When it will be tried again.
    pub retry: Duration,
}

/// A source of camera frames.
pub struct Camera {
    name: String,
    wanted: Wanted,
    driver: Box<dyn Driver>,
    options: CameraOptions,
    context: Context,
    state: State,
    times: Times,
    /// Wait before the next attempt.
    wait: Duration,
    /// What was told last.
    told: Option<Trouble>,
}

enum State {
    /// To be opened at this time of the monotonic clock.
    Closed(Duration),
    Open(Open),
}

/// An open camera.
struct Open {
    device: Box<dyn Device>,
    granted: Arc<Granted>,
    sequence: Sequence,
    /// When the first good frame came.
    first_frame: Option<Duration>,
    /// When the last good frame came, or the camera was opened.
    alive: Duration,
}

impl Camera {
    /// A camera that will be opened when the first frame is asked for.
    pub fn new(wanted: Wanted, driver: Box<dyn Driver>, options: CameraOptions, context: Context) -> Self {
        Self {
            name: wanted.path.display().to_string(),
            wanted,
            driver,
            options,
            context,
            state: State::Closed(Duration::ZERO),
            times: Times::default(),
            wait: FIRST_WAIT,
            told: None,
        }
    }

    /// Opens it and closes it again; for those who do not want to start without a camera. Left open, its first frames
    /// would wait until somebody looks at them.
    pub fn require(&mut self) -> Result<(), SourceError> {
        self.open().map(drop).map_err(SourceError::Camera)
    }

    fn open(&mut self) -> Result<Open, Trouble> {
        let device = self.driver.open(&self.wanted)?;
        let granted = Arc::new(device.granted().clone());
        let alive = self.context.clock.now().mono;
        Ok(Open { device, granted, sequence: Sequence::default(), first_frame: None, alive })
    }

    /// Waits until the next attempt is due, and makes it.
    fn try_again(&mut self, due: Duration) -> Option<Away> {
        let left = due.saturating_sub(self.context.clock.now().mono);
        if !self.context.stop.wait(left, self.context.clock.as_ref()) {
            return None;
        }
        match self.open() {
            Ok(open) => {
                self.state = State::Open(open);
                None
            }
            Err(trouble) => self.away(trouble, false),
        }
    }

    /// Closes everything, sets the time of the next attempt, and says what is new about it.
    fn away(&mut self, trouble: Trouble, lost: bool) -> Option<Away> {
        let retry = self.wait;
        self.state = State::Closed(self.context.clock.now().mono + retry);
        self.wait = (2 * self.wait).min(LONGEST_WAIT);
        let news = lost || self.told.as_ref().is_none_or(|told| told.reason != trouble.reason);
        if !news {
            return None;
        }
        log::warn!("{trouble}; trying again until it is back");
        self.told = Some(trouble.clone());
        Some(Away { lost, trouble, retry })
    }

    /// Waits a while for a frame of the open camera.
    fn step(&mut self, frame: &mut Frame) -> Result<Option<Next>, Trouble> {
        let State::Open(open) = &mut self.state else { return Ok(None) };
        let clock = &self.context.clock;
        let filled = match open.device.next(SLICE.min(self.options.timeout)) {
            Ok(Some(filled)) => filled,
            Ok(None) => return open.still_alive(clock.now().mono, &self.options, &self.name).map(|()| None),
            Err(e) if trouble::is_harmless(&e) => {
                clock.sleep(FALSE_ALARM);
                return open.still_alive(clock.now().mono, &self.options, &self.name).map(|()| None);
            }
            Err(e) => return Err(Trouble::streaming(&self.name, &e)),
        };
        let now = clock.now();
        (frame.captured, frame.stamp) = self.times.of(filled.stamp, now);
        (frame.seq, frame.lost_before) = open.sequence.next(filled.sequence);
        frame.path = None;
        if let Err((flaw, why)) = check::fill(&filled, open.granted.layout, frame) {
            open.still_alive(now.mono, &self.options, &self.name)?;
            return Ok(Some(Next::Skipped(flaw, format!("{}: frame {}: {why}", self.name, frame.seq))));
        }
        frame.camera = Some(Arc::clone(&open.granted));
        open.alive = now.mono;
        let first = *open.first_frame.get_or_insert(now.mono);
        if first == now.mono {
            log::info!("{}: streaming {}", self.name, open.granted);
            self.told = None;
        }
        if now.mono.saturating_sub(first) >= WELL_AFTER {
            self.wait = FIRST_WAIT;
        }
        Ok(Some(Next::Frame))
    }
}

impl Open {
    /// An error if no good frame has come for too long.
    fn still_alive(&self, now: Duration, options: &CameraOptions, name: &str) -> Result<(), Trouble> {
        let silent = now.saturating_sub(self.alive);
        if silent < options.timeout { Ok(()) } else { Err(Trouble::silent(name, options.timeout)) }
    }
}

impl Source for Camera {
    fn name(&self) -> &str {
        &self.name
    }

    fn live(&self) -> bool {
        true
    }

    fn next(&mut self, frame: &mut Frame) -> Result<Next, SourceError> {
        while !self.context.stop.is_set() {
            // However long the camera is away, this goes on; it is what a watchdog wants to know.
            self.context.stop.tick();
            let news = match &self.state {
                State::Closed(due) => self.try_again(*due),
                State::Open(open) => {
                    let streamed = open.first_frame.is_some();
                    match self.step(frame) {
                        Ok(Some(next)) => return Ok(next),
                        Ok(None) => None,
                        Err(trouble) if streamed && self.options.exit_on_lost => {
                            self.state = State::Closed(Duration::ZERO);
                            return Err(SourceError::Camera(trouble));
                        }
                        Err(trouble) => self.away(trouble, streamed),
                    }
                }
            };
            if let Some(away) = news {
                return Ok(Next::Away(away));
            }
        }
        Ok(Next::End)
    }
}
