//! What is said, line by line, with the values as the program has them. [`super`] says what each means.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::json::Found;
use crate::clock::Moment;
use crate::watch::{BudgetState, Object};

/// Who speaks.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct Hello {
    pub version: &'static str,
    pub run: String,
    pub model: Model,
    pub labels: Vec<String>,
    pub source: String,
    pub live: bool,
    pub kernels: &'static str,
    pub threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

/// What the numbers in detections are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Of classes; that of `class_id` 1 comes first.
    pub labels: Vec<String>,
    /// Of zones, in the order of the bits of [`Object::zones`].
    pub zones: Vec<String>,
}

impl Names {
    /// An object with the name of its class; none for a class the model does not have.
    pub fn found(&self, object: &Object) -> Found<'_> {
        let d = &object.detection;
        let label = d.class_id.checked_sub(1).and_then(|i| self.labels.get(i)).map_or("", String::as_str);
        Found { label, class_id: d.class_id, score: d.score, rect: d.rect }
    }
}

/// Which model.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct Model {
    pub name: String,
    pub architecture: String,
    pub sha256: String,
}

/// The source gives frames.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct StreamingLine<'a> {
    pub width: usize,
    pub height: usize,
    pub format: &'a str,
    pub camera: Option<CameraLine<'a>>,
}

/// What a camera's driver has granted.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct CameraLine<'a> {
    pub device: &'a str,
    pub card: &'a str,
    pub fourcc: String,
    pub stride: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
}

/// The camera is not there.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct AwayLine<'a> {
    pub lost: bool,
    pub reason: &'a str,
    pub message: &'a str,
    pub retry: Duration,
}

/// A frame that was looked at.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct FrameLine<'a> {
    pub captured: Moment,
    pub ts_src: Option<&'a str>,
    pub seq: u64,
    pub frame: u64,
    pub path: Option<&'a Path>,
    pub width: usize,
    pub height: usize,
    pub latency_ms: f64,
    pub stage_ms: &'a [(&'a str, f64)],
    pub scale: f64,
    pub proposals: usize,
    pub budget: Option<BudgetState>,
    pub gated: bool,
    pub dropped: &'a [(&'a str, u64)],
    pub objects: &'a [Object],
    pub names: &'a Names,
    pub omitted: usize,
}

/// How it went for a while.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct StatsLine<'a> {
    pub window_ms: f64,
    pub captured: u64,
    pub frames: u64,
    pub gated: u64,
    pub latency_ms: Option<[(&'static str, f64); 3]>,
    pub dropped: &'a [(&'a str, u64)],
    pub times_corrected: u64,
    pub rss_mb: Option<f64>,
    pub temp_c: Option<f64>,
}

impl StatsLine<'_> {
    /// Frames looked at per second.
    pub fn fps(&self) -> f64 {
        self.frames as f64 * 1e3 / self.window_ms.max(1.0)
    }
}

/// How it went altogether.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the tables above say it better")]
pub struct ByeLine<'a> {
    pub reason: &'a str,
    pub captured: u64,
    pub frames: u64,
    pub gated: u64,
    pub dropped: &'a [(&'a str, u64)],
    pub times_corrected: u64,
}
