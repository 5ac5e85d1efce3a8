//! Source to lines of JSON: three threads and what joins them.
//!
//! ```text
//! capture ──► ring of frame buffers ──► inference ──► bounded channel ──► output
//! ```
//!
//! * Towards inference, a live source's newest frame wins; any other source waits ([`Ring`]).
//! * Towards output, a live source drops frames that the reader has no time for; any other source waits.
//! * Every frame that was captured is reported or counted as dropped, by cause: `captured = frames + dropped`.
//! * When somebody asks to stop, inference finishes its frame, if that takes no longer than a second, and output says
//!   `bye`. Nobody waits for capture, which may be held by a pipe into which nobody writes.
//!
//! The loop of each thread is a file: `capture.rs`, `inference.rs`, `output.rs`.

mod capture;
mod counts;
mod health;
mod inference;
mod output;
mod ring;
mod window;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::clock::Clock;
use crate::detector::{Detected, Detector, DetectorError};
use crate::frame::Picture;
use crate::sink::stream::Hello;
use crate::source::{Source, SourceError, Stop};

pub use counts::{Cause, Drops};
pub use output::Settings;
pub use ring::{Ring, Taken};

use counts::Counts;
use output::Event;

/// Results on their way to the output. More would only make them older.
const RESULTS: usize = 2;

/// How long inference may take for its last frame after a signal.
const LAST_FRAME: Duration = Duration::from_millis(1000);

/// How long the output may take for its last lines after a signal. A reader that does not read must not keep us.
const GRACE: Duration = Duration::from_millis(1500);

/// What finds objects: a [`Detector`], or a stand-in for tests.
pub trait Look: Send {
    /// Looks at one picture.
    fn look(&mut self, picture: &Picture) -> Result<Detected, DetectorError>;
}

impl Look for Detector {
    fn look(&mut self, picture: &Picture) -> Result<Detected, DetectorError> {
        self.detect(picture)
    }
}

/// What a run is made of.
pub struct Parts {
    /// Gives frames.
    pub source: Box<dyn Source>,
    /// Looks at them.
    pub look: Box<dyn Look>,
    /// Takes the lines; should not buffer.
    pub out: Box<dyn Write + Send>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Set by signals.
    pub stop: Stop,
}

/// How a run ended and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Frames the source gave.
    pub captured: u64,
    /// Those that were looked at and handed to the output.
    pub frames: u64,
    /// The others.
    pub dropped: Drops,
}

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Writing failed; a reader that went away is [`io::ErrorKind::BrokenPipe`].
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// The source or the detector cannot go on.
    #[error("{0}")]
    Failed(String),
    /// The camera has gone, and the run was not to go on without it.
    #[error("{0}")]
    Unavailable(String),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}; is the system's limit of threads reached (ulimit -u)?")]
    Thread(io::Error),
    /// The reader of the output did not read when we were asked to stop.
    #[error("ended without the last lines: whoever reads the output did not read for {} ms", GRACE.as_millis())]
    Stuck,
}

/// What the threads share.
struct Shared {
    ring: Ring,
    counts: Counts,
    clock: Arc<dyn Clock>,
    stop: Stop,
    /// Live sources never wait for anybody.
    live: bool,
    /// Says little about each single frame.
    endless: bool,
    failure: Mutex<Option<Failure>>,
}

/// Why a run cannot go on.
#[derive(Debug, Clone)]
struct Failure {
    why: String,
    /// There is no camera.
    unavailable: bool,
}

impl From<Failure> for RunError {
    fn from(Failure { why, unavailable }: Failure) -> Self {
        if unavailable { Self::Unavailable(why) } else { Self::Failed(why) }
    }
}

impl Shared {
    /// The source cannot go on.
    fn fail(&self, error: &SourceError) {
        self.note(Failure { why: error.to_string(), unavailable: error.is_unavailable() });
    }

    /// Notes why the run cannot go on; the first reason counts.
    fn note(&self, failure: Failure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs until the source ends, somebody asks to stop, or the reader goes away.
pub fn run(parts: Parts, hello: Hello, settings: Settings) -> Result<Summary, RunError> {
    let Parts { source, mut look, out, clock, stop } = parts;
    let (live, endless) = (source.live(), source.endless());
    let ring = Ring::new(live);
    let shared = Shared { ring, counts: Counts::default(), clock, stop, live, endless, failure: Mutex::default() };
    let shared = Arc::new(shared);
    let mut output = output::Output::new(out, hello, settings, Arc::clone(&shared))?;

    let (events, results) = bounded(RESULTS);
    let (finished, end) = bounded(1);
    let (to_output, last_word, impatient) = (events.clone(), events.clone(), events.clone());
    spawn("capture", &shared, |shared| shared.ring.end(), move |shared| capture::run(shared, source, &to_output))?;
    let over = move |shared: &Shared| {
        shared.ring.close();
        let _ = last_word.send(Event::End);
    };
    spawn("inference", &shared, over, move |shared| inference::run(shared, look.as_mut(), &events))?;
    spawn("output", &shared, |shared| shared.ring.close(), move |_| drop(finished.send(output.run(&results))))?;
    let summary = wait(&shared, &end, &impatient)?;
    shared.failure().map_or(Ok(summary), |failure| Err(failure.into()))
}

/// Starts a thread; `then` tells the others when it ends, also when it breaks down.
fn spawn(
    name: &'static str,
    shared: &Arc<Shared>,
    then: impl FnOnce(&Shared) + Send + 'static,
    body: impl FnOnce(&Shared) + Send + 'static,
) -> Result<(), RunError> {
    let shared = Arc::clone(shared);
    let run = move || {
        if catch_unwind(AssertUnwindSafe(|| body(&shared))).is_err() {
            let why = format!("the {name} thread broke down; please report the message above");
            shared.note(Failure { why, unavailable: false });
        }
        then(&shared);
    };
    thread::Builder::new().name(name.into()).spawn(run).map(drop).map_err(RunError::Thread)
}

/// Waits for the output to end; the threads are left behind if they do not end in time after a signal.
fn wait(shared: &Shared, end: &Receiver<io::Result<Summary>>, events: &Sender<Event>) -> Result<Summary, RunError> {
    let mut asked: Option<Instant> = None;
    loop {
        match end.recv_timeout(Duration::from_millis(20)) {
            Ok(result) => return Ok(result?),
            Err(RecvTimeoutError::Disconnected) => {
                let early = || RunError::Failed("the output thread ended early".into());
                return Err(shared.failure().map_or_else(early, RunError::from));
            }
            Err(RecvTimeoutError::Timeout) if shared.stop.is_set() => {
                shared.ring.close();
                let waited = asked.get_or_insert_with(Instant::now).elapsed();
                if waited > GRACE {
                    return Err(RunError::Stuck);
                }
                if waited > LAST_FRAME {
                    let _ = events.try_send(Event::End);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests;
