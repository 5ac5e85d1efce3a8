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
//! The loop of each thread is a file: `capture.rs`, `inference.rs`, `output.rs`. Beside them, `pulse.rs` tells work from
//! hanging, `reload.rs` exchanges detector and settings between two frames, `album.rs` keeps pictures of events.

mod album;
mod capture;
mod counts;
mod health;
mod inference;
mod output;
mod pulse;
mod reload;
mod ring;
mod window;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::clock::Clock;
use crate::service::Notifier;
use crate::sink::preview::{Listener, Preview};
use crate::sink::stream::{Hello, Names};
use crate::source::{Source, SourceError, Stop};
use crate::watch::Watcher;

pub use album::Snapshots;
pub use counts::{Cause, Drops};
pub use output::{Settings, stopped_early};
pub use reload::{Face, Fresh, Reload};
pub use ring::{Ring, Taken};

use album::Album;
use counts::Counts;
use output::{Event, Output};
use pulse::{Pulse, Watchdog};
use reload::{Reloader, Waiting};

/// Results on their way to the output. More would only make them older.
const RESULTS: usize = 2;

/// How long inference may take for its last frame after a signal.
const LAST_FRAME: Duration = Duration::from_millis(1000);

/// How long the output may take for its last lines after a signal. A reader that does not read must not keep us.
const GRACE: Duration = Duration::from_millis(1500);

/// What a run is made of.
pub struct Parts {
    /// Gives frames.
    pub source: Box<dyn Source>,
    /// Looks at them.
    pub watcher: Watcher,
    /// Takes the lines; should not buffer.
    pub out: Box<dyn Write + Send>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Set by signals.
    pub stop: Stop,
    /// What is not needed to run.
    pub extras: Extras,
}

/// What a run can do without.
#[derive(Default)]
pub struct Extras {
    /// Hears how it goes.
    pub notifier: Notifier,
    /// How to read the configuration again.
    pub reload: Option<Reload>,
    /// Where pictures of events go.
    pub snapshots: Option<Snapshots>,
    /// Where people may look.
    pub preview: Option<Listener>,
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
    /// May wait for ever without being stuck.
    patient: bool,
    pulse: Pulse,
    fresh: Waiting,
    notifier: Notifier,
    preview: Option<Preview>,
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

    /// Tells the service manager that the end has begun, and when that was.
    fn stopping(&self) -> Instant {
        self.notifier.stopping();
        Instant::now()
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs until the source ends, somebody asks to stop, or the reader goes away.
pub fn run(parts: Parts, hello: Hello, settings: Settings) -> Result<Summary, RunError> {
    let Parts { source, watcher, out, clock, stop, extras } = parts;
    let (live, endless, patient) = (source.live(), source.endless(), source.patient());
    let (ring, notifier) = (Ring::new(live), extras.notifier);
    let names = Names { labels: hello.labels.clone(), zones: watcher.zone_names() };
    let show = |listener| Preview::start(listener, &hello, names.clone(), Arc::clone(&clock)).map_err(RunError::Thread);
    let preview = extras.preview.map(show).transpose()?;
    let (counts, pulse, fresh, failure) = Default::default();
    let shared = Shared { ring, counts, clock, stop, live, endless, patient, pulse, fresh, notifier, preview, failure };
    let shared = Arc::new(shared);

    let (events, results) = bounded(RESULTS);
    let (give_back, spent) = bounded(RESULTS + 2);
    let (finished, end) = bounded(1);
    let album = extras.snapshots.map(|wanted| Album::start(wanted, names.clone(), &events)).transpose()?;
    let mut output = Output::new(out, &hello, names, settings, Arc::clone(&shared), give_back)?;
    shared.notifier.ready(&format!("waiting for {}", hello.source));

    let (to_output, last_word, impatient) = (events.clone(), events.clone(), events.clone());
    spawn("capture", &shared, |shared| shared.ring.end(), move |shared| capture::run(shared, source, &to_output))?;
    let over = move |shared: &Shared| {
        shared.ring.close();
        let _ = last_word.send(Event::End);
    };
    spawn("inference", &shared, over, move |shared| inference::run(shared, watcher, album, &events, &spent))?;
    spawn("output", &shared, |shared| shared.ring.close(), move |_| drop(finished.send(output.run(&results))))?;
    let summary = wait(&shared, &end, &impatient, &Reloader::new(extras.reload));
    // Capture may still hold what is shared.
    shared.preview.iter().for_each(Preview::close);
    let summary = summary?;
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

/// Waits for the output to end; the threads are left behind if they do not end in time after a signal. Meanwhile looks
/// for signs of life, and for the wish to reload.
fn wait(
    shared: &Arc<Shared>,
    end: &Receiver<io::Result<Summary>>,
    events: &Sender<Event>,
    reloader: &Reloader,
) -> Result<Summary, RunError> {
    let mut asked: Option<Instant> = None;
    let mut watchdog = Watchdog::new(shared.notifier.clone(), Instant::now());
    loop {
        match end.recv_timeout(Duration::from_millis(20)) {
            Ok(result) => return Ok(result?),
            Err(RecvTimeoutError::Disconnected) => {
                let early = || RunError::Failed("the output thread ended early".into());
                return Err(shared.failure().map_or_else(early, RunError::from));
            }
            Err(RecvTimeoutError::Timeout) if shared.stop.is_set() => {
                shared.ring.close();
                let waited = asked.get_or_insert_with(|| shared.stopping()).elapsed();
                if waited > GRACE {
                    return Err(RunError::Stuck);
                }
                if waited > LAST_FRAME {
                    let _ = events.try_send(Event::End);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                watchdog.look(&shared.pulse, shared.stop.ticks(), shared.patient, Instant::now());
                reloader.look(shared, events);
            }
        }
    }
}

#[cfg(test)]
mod tests;
