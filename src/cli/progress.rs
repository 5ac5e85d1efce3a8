//! Progress of long work: a bar when standard error is a terminal, a plain log line every few seconds when not.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Runs `f` while no bar is on the terminal.
pub fn without_bar<T>(f: impl FnOnce() -> T) -> T {
    BARS.suspend(f)
}

/// How far a piece of work has come.
pub struct Progress {
    what: String,
    total: u64,
    done: u64,
    started: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts at none of `total`; `what` names the work, as in "detecting".
    pub fn new(what: impl Into<String>, total: usize) -> Self {
        let what = what.into();
        let bar = stderr().is_terminal().then(|| {
            let bar = BARS.add(ProgressBar::new(total as u64));
            // The template is a constant; the default bar is what remains if it were ever wrong.
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {rate} {eta} left") {
                let rate = |state: &ProgressState, out: &mut dyn Write| {
                    // A terminal that cannot be written to is nothing to fail for.
                    let _ = write!(out, "{:.1}/s", state.per_sec());
                };
                bar.set_style(style.with_key("rate", rate));
            }
            bar.set_message(what.clone());
            bar
        });
        let now = Instant::now();
        Self { what, total: total as u64, done: 0, started: now, said: now, bar }
    }

    /// One more is done.
    pub fn step(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.said.elapsed() >= PLAIN_EVERY && self.done < self.total => {
                self.said = Instant::now();
                log::info!("{}", self.plain());
            }
            None => {}
        }
    }

    fn plain(&self) -> String {
        let rate = self.done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(1e-9);
        format!("{}: {} of {}, {rate:.1} per second, {left:.0} s left", self.what, self.done, self.total)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }
}
