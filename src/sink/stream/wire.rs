//! The same lines as they stand in the stream: names, order and number of decimals.

use serde::{Serialize, Serializer};

use super::super::json::{DetectionLine, StageTimes, is_zero, rounded};
use super::lines::{CameraLine, FrameLine, Model, Names};
use crate::clock::Moment;
use crate::watch::BudgetState;

/// What every object starts with.
#[derive(Serialize)]
pub(super) struct Line<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    t: TimeOfDay,
    t_mono_us: u64,
    #[serde(flatten)]
    body: T,
}

impl<T> Line<T> {
    pub fn new(kind: &'static str, at: Moment, body: T) -> Self {
        Self { kind, t: TimeOfDay(at), t_mono_us: at.mono_us(), body }
    }
}

/// As [`Moment::rfc3339`], without memory of its own.
struct TimeOfDay(Moment);

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.display())
    }
}

#[derive(Serialize)]
pub(super) struct Schema<T> {
    pub schema: &'static str,
    #[serde(flatten)]
    pub rest: T,
}

#[derive(Serialize)]
pub(super) struct Streaming<'a> {
    pub camera: &'static str,
    pub width: usize,
    pub height: usize,
    pub format: &'a str,
    #[serde(flatten)]
    pub granted: Option<CameraLine<'a>>,
}

#[derive(Serialize)]
pub(super) struct NotThere<'a> {
    pub camera: &'static str,
    pub reason: &'a str,
    pub message: &'a str,
    pub retry_ms: u64,
}

#[derive(Serialize)]
pub(super) struct Reloaded<'a> {
    pub reloaded: bool,
    pub model: &'a Model,
    pub labels: &'a [String],
}

#[derive(Serialize)]
pub(super) struct FrameBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts_src: Option<&'a str>,
    pub seq: u64,
    pub frame: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<std::borrow::Cow<'a, str>>,
    pub latency_ms: f64,
    pub stage_ms: StageTimes<'a>,
    pub scale: f64,
    pub proposals: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetLine>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gated: bool,
    #[serde(skip_serializing_if = "Occurred::is_empty")]
    pub dropped: Occurred<'a>,
    pub detections: &'a Detections<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted: usize,
}

#[derive(Serialize)]
pub(in crate::sink) struct BudgetLine {
    pub ms: f64,
    pub step: usize,
    pub of: usize,
    pub reason: &'static str,
}

impl From<BudgetState> for BudgetLine {
    fn from(state: BudgetState) -> Self {
        let BudgetState { limit_ms, step, of, reason } = state;
        Self { ms: rounded(limit_ms, 2), step, of, reason: reason.name() }
    }
}

/// The list of detections, put together while it is written.
pub(super) struct Detections<'a> {
    pub frame: &'a FrameLine<'a>,
    pub most: usize,
}

impl Detections<'_> {
    /// The objects whose numbers are good.
    pub fn good(&self) -> impl Iterator<Item = TrackedLine<'_>> {
        let FrameLine { objects, names, width, height, .. } = *self.frame;
        objects.iter().filter_map(move |object| {
            let detection = DetectionLine::new(&names.found(object), width, height)?;
            let (track, age) = (object.track.map(|t| t.id), object.track.map(|t| t.age));
            Some(TrackedLine { detection, track, age, zones: ZoneNames { bits: object.zones, names } })
        })
    }
}

impl Serialize for Detections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.good().take(self.most))
    }
}

#[derive(Serialize)]
pub(super) struct TrackedLine<'a> {
    #[serde(flatten)]
    detection: DetectionLine<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    #[serde(skip_serializing_if = "ZoneNames::is_empty")]
    zones: ZoneNames<'a>,
}

/// The zones of an object by name.
struct ZoneNames<'a> {
    bits: u64,
    names: &'a Names,
}

impl ZoneNames<'_> {
    fn is_empty(&self) -> bool {
        self.bits == 0
    }
}

impl Serialize for ZoneNames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let zones = self.names.zones.iter().enumerate();
        serializer.collect_seq(zones.filter(|(i, _)| self.bits >> i & 1 == 1).map(|(_, name)| name))
    }
}

#[derive(Serialize)]
pub(super) struct StatsBody<'a> {
    pub window_ms: f64,
    pub captured: u64,
    pub frames: u64,
    #[serde(skip_serializing_if = "none")]
    pub gated: u64,
    pub fps: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<StageTimes<'a>>,
    pub dropped: Counted<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    pub times_corrected: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_c: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Trouble<'a> {
    pub message: &'a str,
}

#[derive(Serialize)]
pub(super) struct ByeBody<'a> {
    pub reason: &'a str,
    pub captured: u64,
    pub frames: u64,
    #[serde(skip_serializing_if = "none")]
    pub gated: u64,
    pub dropped: Counted<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    pub times_corrected: usize,
}

/// `serde` wants a reference here.
fn none(n: &u64) -> bool {
    *n == 0
}

/// Causes and how often, without those that did not occur.
pub(super) struct Occurred<'a>(pub &'a [(&'a str, u64)]);

impl Occurred<'_> {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, n)| *n == 0)
    }
}

impl Serialize for Occurred<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied().filter(|(_, n)| *n > 0))
    }
}

/// Causes and how often.
pub(in crate::sink) struct Counted<'a>(pub &'a [(&'a str, u64)]);

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}
