//! Marked pictures to measure models on, for the verbs that make a model and judge it.

use edge_rcnn::detector::Detection;
use edge_rcnn::eval::{Dataset, DatasetKind, Metric, Scored, evaluate};
use edge_rcnn::model::Bundle;

use super::Failure;
use super::data::Data;
use super::eval::data_failure;
use super::eval::detect::class_map;

/// What to measure on, and how.
pub struct Scoring {
    /// The pictures.
    pub set: Dataset,
    metric: Metric,
    /// Class ids of the data by class id of the model.
    class_of: Vec<usize>,
}

impl Scoring {
    /// The first `limit` pictures of a data set, those that `eval --limit` takes.
    pub fn new(data: &Data, split: &str, limit: usize, bundle: &Bundle) -> Result<Self, Failure> {
        let mut set = data.read(split, None).map_err(data_failure)?;
        set.truncate(limit);
        set.check_pictures().map_err(data_failure)?;
        let metric = if set.kind == DatasetKind::Voc { Metric::Voc07 } else { Metric::Coco };
        let class_of = class_map(&bundle.manifest.classes, &set.classes)?;
        Ok(Self { set, metric, class_of })
    }

    /// The detections of one picture, with the class ids of the data set.
    pub fn scored(&self, detections: &[Detection]) -> Vec<Scored> {
        let scored = |d: &Detection| {
            let class_id = *self.class_of.get(d.class_id)?;
            (class_id > 0).then(|| Scored::new(class_id, d.score, d.rect))
        };
        detections.iter().filter_map(scored).collect()
    }

    /// Mean average precision of the detections of all pictures, 0 to 1.
    pub fn map(&self, found: &[Vec<Scored>]) -> f64 {
        evaluate(&self.set, found, self.metric).map
    }
}

/// The median of some times; sorts them.
pub fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
