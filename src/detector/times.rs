//! How long each stage took.

use std::time::Instant;

/// Milliseconds per stage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageTimes {
    /// Resize and mean subtraction.
    pub preprocess: f64,
    /// Convolutions, the RPN's among them.
    pub trunk: f64,
    /// Decoding, sorting and suppression of proposals.
    pub proposals: f64,
    /// RoI pooling.
    pub roi_pool: f64,
    /// Fully connected layers and softmax.
    pub head: f64,
    /// Decoding and suppression of detections.
    pub postprocess: f64,
}

impl StageTimes {
    /// Sum over the stages.
    pub fn total(&self) -> f64 {
        self.named().iter().map(|(_, ms)| ms).sum()
    }

    /// The stages in their order, with names for tables and logs.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("preprocess", self.preprocess),
            ("trunk", self.trunk),
            ("proposals", self.proposals),
            ("roi_pool", self.roi_pool),
            ("head", self.head),
            ("postprocess", self.postprocess),
        ]
    }
}

/// Milliseconds from lap to lap.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the last lap, or the start.
    pub(super) fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let lap = now.duration_since(std::mem::replace(&mut self.0, now));
        lap.as_secs_f64() * 1e3
    }
}
