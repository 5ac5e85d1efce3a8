//! The figures beside the picture, as one JSON object.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `version`, `source`, `model`, `kernels`, `threads` | | as in `hello` |
//! | `up_s` | number | seconds since the start |
//! | `camera` | string | `starting` (no frame yet), `streaming`, `lost`, `waiting`, as in `status` |
//! | `message` | string, optional | why it is lost or waited for |
//! | `width`, `height` | integer | of the last frame, in pixels |
//! | `age_ms` | number, optional | time since the last frame was captured |
//! | `captured` | integer | frames that came so far |
//! | `dropped` | object | those not looked at so far, by cause |
//! | `fps` | number | frames looked at a second, over the last ten seconds |
//! | `latency_ms` | object, optional | `p50`, `p95`, `p99` from capture to the end of detection, over the last ten seconds |
//! | `budget`, `scale`, `proposals`, `gated` | | of the last frame, as in `frame` |
//! | `seen` | list | objects in the newest picture: `label`, `score`, `colour` (`#rrggbb`), `track` |
//! | `viewers` | integer | who look at the stream of pictures |

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::desk::Print;
use crate::clock::Moment;
use crate::sink::json::{StageTimes, rounded};
use crate::sink::palette::of_class;
use crate::sink::percentiles::percentiles;
use crate::sink::stream::{BudgetLine, Counted, Hello};
use crate::watch::BudgetState;

/// Figures are those of the last while.
const WINDOW: Duration = Duration::from_secs(10);

/// So many frames are remembered.
const MOST: usize = 1024;

/// A frame that was looked at.
pub struct Frame<'a> {
    /// When it was captured.
    pub captured: Moment,
    /// When the detector was done with it.
    pub finished: Moment,
    /// Its size in pixels.
    pub size: (usize, usize),
    /// Network input pixels per frame pixel.
    pub scale: f64,
    /// Regions the head looked at.
    pub proposals: usize,
    /// How closely was looked.
    pub budget: Option<BudgetState>,
    /// Nothing has moved, so the detector did not look.
    pub gated: bool,
    /// Frames that came so far.
    pub total: u64,
    /// Those dropped so far, by cause.
    pub dropped: &'a [(&'static str, u64)],
}

/// What is known at a moment. Its memory is taken once.
pub(super) struct Figures {
    hello: About,
    started: Moment,
    camera: &'static str,
    message: String,
    /// End of detection on the monotonic scale, and latency in milliseconds.
    times: VecDeque<(Duration, f64)>,
    last: Last,
    dropped: Vec<(&'static str, u64)>,
}

#[derive(Serialize)]
struct About {
    version: &'static str,
    source: String,
    model: String,
    kernels: &'static str,
    threads: usize,
}

#[derive(Default)]
struct Last {
    captured: Option<Moment>,
    size: (usize, usize),
    scale: f64,
    proposals: usize,
    budget: Option<BudgetState>,
    gated: bool,
    total: u64,
}

impl Figures {
    pub fn new(hello: &Hello, started: Moment) -> Self {
        let Hello { version, model, source, kernels, threads, .. } = hello;
        let (source, model) = (source.clone(), model.name.clone());
        Self {
            hello: About { version, source, model, kernels, threads: *threads },
            started,
            camera: "starting",
            message: String::new(),
            times: VecDeque::with_capacity(MOST),
            last: Last::default(),
            dropped: Vec::with_capacity(16),
        }
    }

    pub fn frame(&mut self, frame: &Frame<'_>) {
        let &Frame { captured, finished, size, scale, proposals, budget, gated, total, dropped } = frame;
        if self.times.len() == MOST {
            self.times.pop_front();
        }
        self.times.push_back((finished.mono, finished.ms_since(captured)));
        self.last = Last { captured: Some(captured), size, scale, proposals, budget, gated, total };
        self.dropped.clear();
        self.dropped.extend_from_slice(dropped);
        self.camera = "streaming";
        self.message.clear();
    }

    pub fn away(&mut self, lost: bool, message: &str) {
        self.camera = if lost { "lost" } else { "waiting" };
        self.message.clear();
        self.message.push_str(message);
    }

    pub fn rename(&mut self, model: &str, kernels: &'static str) {
        self.hello.model.clear();
        self.hello.model.push_str(model);
        self.hello.kernels = kernels;
    }

    /// As JSON, with what is seen in the newest picture.
    pub fn json(&self, now: Moment, print: &Print, viewers: usize) -> Vec<u8> {
        let recent = || self.times.iter().filter(|(end, _)| now.mono.saturating_sub(*end) <= WINDOW);
        let mut latencies: Vec<f64> = recent().map(|(_, ms)| *ms).collect();
        let span = recent().next_back().zip(recent().next()).map(|(last, first)| last.0.saturating_sub(first.0));
        let fps =
            span.filter(|span| !span.is_zero()).map_or(0.0, |span| (latencies.len() - 1) as f64 / span.as_secs_f64());
        let latency_ms = percentiles(&mut latencies);
        let Last { captured, size: (width, height), scale, proposals, budget, gated, total } = self.last;
        let seen = print.seen.iter().map(|sight| {
            let [r, g, b] = of_class(sight.class_id);
            let score = rounded(f64::from(sight.score), 3);
            Seen { label: &sight.label, score, colour: format!("#{r:02x}{g:02x}{b:02x}"), track: sight.track }
        });
        let body = Body {
            about: &self.hello,
            up_s: rounded(now.ms_since(self.started) / 1e3, 1),
            camera: self.camera,
            message: Some(self.message.as_str()).filter(|text| !text.is_empty()),
            width,
            height,
            age_ms: captured.map(|captured| rounded(now.ms_since(captured), 1)),
            captured: total,
            dropped: Counted(&self.dropped),
            fps: rounded(fps, 2),
            latency_ms: latency_ms.as_ref().map(|p| StageTimes(p)),
            budget: budget.map(BudgetLine::from),
            scale: rounded(scale, 4),
            proposals,
            gated,
            seen: seen.collect(),
            viewers,
        };
        // Strings and numbers only; the writer is memory.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    about: &'a About,
    up_s: f64,
    camera: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    width: usize,
    height: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<f64>,
    captured: u64,
    dropped: Counted<'a>,
    fps: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<StageTimes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<BudgetLine>,
    scale: f64,
    proposals: usize,
    gated: bool,
    seen: Vec<Seen<'a>>,
    viewers: usize,
}

#[derive(Serialize)]
struct Seen<'a> {
    label: &'a str,
    score: f64,
    colour: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<u64>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sink::stream::Model;
    use serde_json::Value;

    fn at(ms: u64) -> Moment {
        let mono = Duration::from_millis(ms);
        Moment { wall: std::time::SystemTime::UNIX_EPOCH + mono, mono }
    }

    fn figures() -> Figures {
        let model = Model { name: "zf".into(), architecture: "zf".into(), sha256: String::new() };
        let (run, source) = (String::new(), "synthetic".into());
        let hello = Hello {
            version: "1",
            run,
            model,
            labels: vec![],
            source,
            live: true,
            kernels: "avx2",
            threads: 2,
            preview: None,
        };
        Figures::new(&hello, at(0))
    }

    fn json(figures: &Figures, now: u64) -> Value {
        serde_json::from_slice(&figures.json(at(now), &Print::default(), 0)).unwrap()
    }

    fn frame(captured: u64, took: u64) -> Frame<'static> {
        let (captured, finished) = (at(captured), at(captured + took));
        let dropped = &[("busy", 3)];
        Frame {
            captured,
            finished,
            size: (64, 48),
            scale: 2.0,
            proposals: 9,
            budget: None,
            gated: false,
            total: 7,
            dropped,
        }
    }

    #[test]
    fn rate_and_latencies_are_those_of_the_last_ten_seconds() {
        let mut figures = figures();
        let nothing = json(&figures, 5);
        assert_eq!(
            (&nothing["camera"], &nothing["fps"], nothing.get("latency_ms")),
            (&"starting".into(), &0.0.into(), None)
        );
        (0..20).for_each(|i| figures.frame(&frame(i * 100, 900)));
        (0..101).for_each(|i| figures.frame(&frame(20_000 + i * 40, 30)));
        let now = json(&figures, 24_100);
        assert_eq!(
            (&now["fps"], &now["latency_ms"]["p99"], &now["age_ms"]),
            (&25.0.into(), &30.0.into(), &100.0.into())
        );
        assert_eq!(
            (&now["camera"], &now["dropped"]["busy"], &now["captured"]),
            (&"streaming".into(), &3.into(), &7.into())
        );
        // When frames stay away, nothing is left of them but their numbers.
        let later = json(&figures, 60_000);
        assert_eq!((&later["fps"], later.get("latency_ms"), &later["width"]), (&0.0.into(), None, &64.into()));
    }

    #[test]
    fn a_camera_that_is_away_is_said_with_the_reason_until_the_next_frame() {
        let mut figures = figures();
        figures.away(true, "/dev/video0: no more frames");
        let lost = json(&figures, 1);
        assert_eq!((&lost["camera"], &lost["message"]), (&"lost".into(), &"/dev/video0: no more frames".into()));
        figures.frame(&frame(10, 1));
        let back = json(&figures, 12);
        assert_eq!((&back["camera"], back.get("message")), (&"streaming".into(), None));
    }

    #[test]
    fn a_long_run_takes_no_more_memory() {
        let mut figures = figures();
        let before = figures.times.capacity();
        (0..5000).for_each(|i| figures.frame(&frame(i, 1)));
        assert_eq!((figures.times.capacity(), figures.times.len()), (before, MOST));
    }
}
