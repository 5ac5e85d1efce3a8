//! Measuring a network under training with the detector that will ship.

use super::TrainError;
use crate::detector::{Detector, DetectorOptions};
use crate::eval::{Dataset, Metric, Scored, evaluate};
use crate::frame::Picture;
use crate::model::Bundle;

/// A validation split.
#[derive(Debug)]
pub struct Validation {
    set: Dataset,
}

impl Validation {
    /// Evenly spaced pictures of a data set, at most `limit`.
    pub fn new(mut set: Dataset, limit: usize) -> Self {
        let step = set.images.len().div_ceil(limit.max(1)).max(1);
        set.images = set.images.into_iter().step_by(step).collect();
        Self { set }
    }

    /// Average precision of a bundle, as a record for the log.
    pub fn measure(&mut self, bundle: Bundle) -> Result<serde_json::Value, TrainError> {
        let config = |e: &dyn std::fmt::Display| TrainError::Config(e.to_string());
        let mut detector = Detector::new(bundle, DetectorOptions::default()).map_err(|e| config(&e))?;
        let mut all = Vec::with_capacity(self.set.images.len());
        for image in &self.set.images {
            let picture = Picture::open(&image.path).map_err(|e| config(&e))?;
            let found = detector.detect(&picture).map_err(|e| config(&e))?;
            all.push(found.detections.iter().map(|d| Scored::new(d.class_id, d.score, d.rect)).collect::<Vec<_>>());
        }
        let report = evaluate(&self.set, &all, Metric::Voc07);
        Ok(serde_json::json!({"pictures": report.images, "mAP": report.map}))
    }
}
