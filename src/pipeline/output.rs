//! The output thread: results to lines, statistics at their time, `bye` at the end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use super::counts::{Cause, Drops};
use super::reload::Face;
use super::window::Window;
use super::{Shared, Summary, health};
use crate::clock::Moment;
use crate::frame::PixelFormat;
use crate::sink::stream::{
    AwayLine, ByeLine, CameraLine, FrameLine, Hello, Names, StatsLine, StreamLines, StreamingLine,
};
use crate::source::camera::{Away, Granted};
use crate::source::{Context, Frame, Stamp};
use crate::watch::Watched;

/// Messages about an endless source are at least so far apart.
const BETWEEN_ERRORS: Duration = Duration::from_secs(1);

/// What the output says and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Time between two `stats` lines.
    pub stats_every: Duration,
    /// Leave out the lines of frames in which nothing was found.
    pub only_detections: bool,
}

/// What reaches the output.
#[allow(clippy::large_enum_variant, reason = "two of them exist; a box would take memory for each frame")]
pub(super) enum Event {
    Seen(Seen),
    /// Something that may happen with every frame.
    Trouble(String),
    Away(Away),
    /// Something that does not.
    Notice(String),
    /// From here on, frames were looked at by another.
    Adopted(Face),
    /// Inference is over, or takes too long for its last frame. Capture may still wait for a frame that nobody wants.
    End,
}

/// A frame that was looked at.
#[derive(Default)]
pub(super) struct Seen {
    pub seq: u64,
    pub captured: Moment,
    pub stamp: Stamp,
    pub camera: Option<Arc<Granted>>,
    pub path: Option<PathBuf>,
    pub format: Option<PixelFormat>,
    pub width: usize,
    pub height: usize,
    pub wait_ms: f64,
    pub decode_ms: f64,
    pub watched: Watched,
    pub finished: Moment,
    /// Frames dropped since the one before.
    pub missed: Drops,
}

impl Seen {
    /// Of a frame that is about to be looked at, with memory for what will be found.
    pub fn of(frame: &Frame, watched: Watched) -> Self {
        Self {
            seq: frame.seq,
            captured: frame.captured,
            stamp: frame.stamp,
            camera: frame.camera.clone(),
            path: frame.path.clone(),
            format: Some(frame.layout.format),
            watched,
            ..Self::default()
        }
    }

    /// Network input pixels per frame pixel.
    pub fn scale(&self) -> f64 {
        self.watched.detected.input.1 as f64 / self.width as f64
    }
}

/// The writer of the stream.
pub(super) struct Output {
    lines: StreamLines<Box<dyn Write + Send>>,
    names: Names,
    settings: Settings,
    shared: Arc<Shared>,
    /// Takes the memory of what was written.
    spent: Sender<Watched>,
    /// Stages of the frame at hand.
    stages: Vec<(&'static str, f64)>,
    frames: u64,
    gated: u64,
    /// Format, size and opening of the camera the reader knows of.
    known: Option<(Option<PixelFormat>, usize, usize)>,
    camera: Option<Arc<Granted>>,
    /// Frames dropped since the last `frame` line.
    missed: Drops,
    latencies: Window,
    last_stats: Last,
    last_error: Option<Moment>,
}

/// Counts at the time of the last `stats` line.
struct Last {
    at: Moment,
    captured: u64,
    frames: u64,
    gated: u64,
    dropped: Drops,
    times_corrected: u64,
}

impl Output {
    /// Says `hello`.
    pub fn new(
        out: Box<dyn Write + Send>,
        hello: &Hello,
        names: Names,
        settings: Settings,
        shared: Arc<Shared>,
        spent: Sender<Watched>,
    ) -> io::Result<Self> {
        let (mut lines, at) = (StreamLines::new(out), shared.clock.now());
        lines.hello(at, hello)?;
        Ok(Self {
            lines,
            names,
            settings,
            shared,
            spent,
            stages: Vec::with_capacity(16),
            frames: 0,
            gated: 0,
            known: None,
            camera: None,
            missed: Drops::default(),
            latencies: Window::new(),
            last_stats: Last { at, captured: 0, frames: 0, gated: 0, dropped: Drops::default(), times_corrected: 0 },
            last_error: None,
        })
    }

    /// Writes until inference is over.
    pub fn run(&mut self, results: &Receiver<Event>) -> io::Result<Summary> {
        loop {
            match results.recv_timeout(self.until_stats()) {
                Ok(Event::Seen(seen)) => {
                    self.seen(&seen)?;
                    let _ = self.spent.try_send(seen.watched);
                }
                Ok(Event::Trouble(message)) => self.trouble(&message)?,
                Ok(Event::Away(away)) => self.away(&away)?,
                Ok(Event::Notice(message)) => self.error(&message)?,
                Ok(Event::Adopted(face)) => self.adopt(face)?,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return self.bye(),
            }
            if self.until_stats().is_zero() {
                self.stats()?;
            }
        }
    }

    fn until_stats(&self) -> Duration {
        let due = self.last_stats.at.mono + self.settings.stats_every;
        due.saturating_sub(self.shared.clock.now().mono)
    }

    fn seen(&mut self, seen: &Seen) -> io::Result<()> {
        let now = self.shared.clock.now();
        let (watched, latency_ms) = (&seen.watched, now.ms_since(seen.captured));
        self.frames += 1;
        self.gated += u64::from(watched.gated);
        self.latencies.add(latency_ms);
        self.missed.merge(&seen.missed);
        let known = Some((seen.format, seen.width, seen.height));
        if self.known != known || !same_opening(self.camera.as_ref(), seen.camera.as_ref()) {
            (self.known, self.camera) = (known, seen.camera.clone());
            self.streaming(now, seen)?;
        }
        if self.settings.only_detections && watched.objects.is_empty() {
            return Ok(());
        }
        self.stages.clear();
        self.stages.extend([("wait", seen.wait_ms), ("decode", seen.decode_ms)]);
        if !watched.gated {
            self.stages.extend(watched.detected.timings.named());
        }
        self.stages.push(("emit", now.ms_since(seen.finished)));
        let dropped = std::mem::take(&mut self.missed).named();
        self.lines.frame(&FrameLine {
            captured: seen.captured,
            ts_src: matches!(seen.stamp, Stamp::Dequeue | Stamp::Corrected).then_some("dequeue"),
            seq: seen.seq,
            frame: self.frames,
            path: seen.path.as_deref(),
            width: seen.width,
            height: seen.height,
            latency_ms,
            stage_ms: &self.stages,
            scale: seen.scale(),
            proposals: watched.detected.proposals,
            budget: watched.budget,
            gated: watched.gated,
            dropped: &dropped,
            objects: &watched.objects,
            names: &self.names,
            omitted: watched.detected.non_finite,
        })
    }

    fn streaming(&mut self, now: Moment, seen: &Seen) -> io::Result<()> {
        let device = seen.camera.as_ref().map(|granted| granted.device.display().to_string());
        let camera = seen.camera.as_ref().zip(device.as_ref()).map(|(granted, device)| CameraLine {
            device,
            card: &granted.card,
            fourcc: granted.fourcc.to_string(),
            stride: granted.layout.stride,
            fps: granted.fps,
        });
        let (width, height, format) = (seen.width, seen.height, seen.format.map_or("", PixelFormat::name));
        self.lines.streaming(now, &StreamingLine { width, height, format, camera })
    }

    fn away(&mut self, away: &Away) -> io::Result<()> {
        let Away { lost, trouble, retry } = away;
        let (reason, message) = (trouble.reason.as_str(), trouble.message.as_str());
        self.lines.away(self.shared.clock.now(), &AwayLine { lost: *lost, reason, message, retry: *retry })
    }

    /// Frames after this were looked at by another.
    fn adopt(&mut self, face: Face) -> io::Result<()> {
        let Face { model, kernels, names, settings } = face;
        log::info!("looking with {} on {kernels} kernels from here on", model.name);
        self.lines.reloaded(self.shared.clock.now(), &model, &names.labels)?;
        (self.names, self.settings) = (names, settings);
        Ok(())
    }

    fn trouble(&mut self, message: &str) -> io::Result<()> {
        let now = self.shared.clock.now();
        let soon = self.last_error.is_some_and(|last| now.mono.saturating_sub(last.mono) < BETWEEN_ERRORS);
        if self.shared.endless && soon {
            return Ok(());
        }
        self.last_error = Some(now);
        self.error(message)
    }

    fn error(&mut self, message: &str) -> io::Result<()> {
        log::error!("{message}");
        self.lines.error(self.shared.clock.now(), message)
    }

    fn stats(&mut self) -> io::Result<()> {
        let (at, (captured, dropped)) = (self.shared.clock.now(), self.shared.counts.read());
        let (frames, gated) = (self.frames, self.gated);
        let times_corrected = self.shared.counts.times_corrected.load(Ordering::Relaxed);
        let now = Last { at, captured, frames, gated, dropped, times_corrected };
        let last = std::mem::replace(&mut self.last_stats, now);
        let stats = StatsLine {
            window_ms: at.ms_since(last.at),
            captured: captured - last.captured,
            frames: frames - last.frames,
            gated: gated - last.gated,
            latency_ms: self.latencies.close(),
            dropped: &dropped.since(&last.dropped).named(),
            times_corrected: times_corrected - last.times_corrected,
            rss_mb: health::rss_mb(),
            temp_c: health::temp_c(),
        };
        let p95 = stats.latency_ms.map_or(String::new(), |p| format!(", p95 {:.0} ms", p[1].1));
        self.shared.notifier.status(&format!("{:.1} frames a second{p95}, {frames} so far", stats.fps()));
        self.lines.stats(at, &stats)
    }

    fn bye(&mut self) -> io::Result<Summary> {
        let failure = self.shared.failure();
        if let Some(failure) = &failure {
            self.lines.error(self.shared.clock.now(), &failure.why)?;
        }
        let reason = match (failure, self.shared.stop.signal()) {
            (Some(_), _) => "error",
            (None, Some(signal)) => signal_name(signal),
            (None, None) => "end",
        };
        let (captured, mut dropped) = self.shared.counts.read();
        if self.shared.stop.is_set() {
            // A frame that inference did not finish in time, and those that waited behind it.
            dropped.add(Cause::Stop, captured.saturating_sub(self.frames + dropped.total()));
        }
        let times_corrected = self.shared.counts.times_corrected.load(Ordering::Relaxed);
        let (frames, gated) = (self.frames, self.gated);
        let bye = ByeLine { reason, captured, frames, gated, dropped: &dropped.named(), times_corrected };
        self.lines.bye(self.shared.clock.now(), &bye)?;
        Ok(Summary { captured, frames: self.frames, dropped })
    }
}

/// The stream of a run that was stopped before it could begin: `bye`.
pub fn stopped_early(out: impl Write, context: &Context) -> io::Result<()> {
    let (reason, dropped) = (context.stop.signal().map_or("end", signal_name), Drops::default().named());
    let bye = ByeLine { reason, captured: 0, frames: 0, gated: 0, dropped: &dropped, times_corrected: 0 };
    StreamLines::new(out).bye(context.clock.now(), &bye)
}

/// True for the same opening of the same camera, and for no camera at all.
fn same_opening(a: Option<&Arc<Granted>>, b: Option<&Arc<Granted>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// The numbers are the same on every Linux.
fn signal_name(signal: usize) -> &'static str {
    match signal {
        2 => "sigint",
        15 => "sigterm",
        _ => "signal",
    }
}
