//! One call from detections to a report, and the report as a table and as JSON.

use std::fmt;

use serde::ser::{Serialize, Serializer};

use super::coco_ap::{CocoSummary, coco_ap};
use super::voc_ap::{VOC_IOU, curve};
use super::{Dataset, Scored};

/// How average precision is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// VOC 2007: 11 recall levels, IoU above 0.5.
    Voc07,
    /// VOC 2010 and later: area under the curve, IoU above 0.5.
    Voc,
    /// COCO: IoU .50:.05:.95, 101 recall levels.
    Coco,
}

/// The measure of one class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassReport {
    /// Name of the class.
    pub name: String,
    /// Average precision; `None` if the data set has no object of the class to find.
    pub ap: Option<f64>,
    /// Objects to find: neither difficult nor crowds.
    pub objects: usize,
    /// Detections of the class.
    pub detections: usize,
}

/// What [`evaluate`] measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// How.
    pub metric: Metric,
    /// Pictures of the data set.
    pub images: usize,
    /// Objects to find.
    pub objects: usize,
    /// Detections scored.
    pub detections: usize,
    /// The twelve COCO numbers, for [`Metric::Coco`].
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub coco: Option<CocoSummary>,
    /// Average precision of each class, in class order; as JSON an object of those classes that have objects.
    #[serde(rename = "ap", serialize_with = "ap_by_name")]
    pub classes: Vec<ClassReport>,
    /// Mean over the classes that have objects, 0…1; 0 if none has.
    #[serde(rename = "mAP")]
    pub map: f64,
}

/// Measures detections against a data set. `detections[i]` belongs to `set.images[i]`; a missing tail counts as no
/// detections. The order within a picture matters only between equal scores.
pub fn evaluate(set: &Dataset, detections: &[Vec<Scored>], metric: Metric) -> Report {
    let mut coco = None;
    let ap: Vec<Option<f64>> = match metric {
        Metric::Coco => {
            let result = coco_ap(set, detections);
            coco = Some(result.summary);
            result.classes
        }
        Metric::Voc07 | Metric::Voc => {
            let one_class = |class_id| {
                let c = curve(set, detections, class_id, VOC_IOU);
                let ap = if metric == Metric::Voc07 { c.ap_11_point() } else { c.ap_all_points() };
                (c.positives > 0).then_some(ap)
            };
            (1..=set.classes.len()).map(one_class).collect()
        }
    };

    let mut classes: Vec<ClassReport> = set
        .classes
        .iter()
        .zip(ap)
        .map(|(name, ap)| ClassReport { name: name.clone(), ap, objects: 0, detections: 0 })
        .collect();
    let mut count = |class_id: usize, add: fn(&mut ClassReport)| {
        if let Some(class) = class_id.checked_sub(1).and_then(|i| classes.get_mut(i)) {
            add(class);
        }
    };
    for object in set.images.iter().flat_map(|i| &i.objects).filter(|o| !o.difficult && !o.crowd) {
        count(object.class_id, |c| c.objects += 1);
    }
    for detection in detections.iter().take(set.images.len()).flatten() {
        count(detection.class_id, |c| c.detections += 1);
    }
    let measured: Vec<f64> = classes.iter().filter_map(|c| c.ap).collect();
    Report {
        metric,
        images: set.images.len(),
        objects: classes.iter().map(|c| c.objects).sum(),
        detections: classes.iter().map(|c| c.detections).sum(),
        coco,
        // The sum of nothing would be -0.
        map: measured.iter().fold(0.0, |sum, ap| sum + ap) / measured.len().max(1) as f64,
        classes,
    }
}

/// The per-class AP as one JSON object in class order.
fn ap_by_name<S: Serializer>(classes: &[ClassReport], serializer: S) -> Result<S::Ok, S::Error> {
    struct Pairs<'a>(&'a [ClassReport]);
    impl Serialize for Pairs<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().filter_map(|c| Some((&c.name, c.ap?))))
        }
    }
    Pairs(classes).serialize(serializer)
}

impl fmt::Display for Report {
    /// The table: one line a class, the mean, and for COCO the twelve numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.classes.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).max("class".len());
        writeln!(f, "{:width$}  {:>8}  {:>10}  {:>6}", "class", "objects", "detections", "AP")?;
        for c in &self.classes {
            let ap = c.ap.map_or("-".to_owned(), |ap| format!("{ap:.4}"));
            writeln!(f, "{:width$}  {:>8}  {:>10}  {ap:>6}", c.name, c.objects, c.detections)?;
        }
        write!(f, "{:width$}  {:>8}  {:>10}  {:>6.4}", "mean", self.objects, self.detections, self.map)?;
        for (name, value) in self.coco.iter().flat_map(CocoSummary::rows) {
            let value = value.map_or("-".to_owned(), |v| format!("{v:.4}"));
            write!(f, "\n{name:5}  {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::boxes::BBox;
    use crate::eval::{DatasetKind, GroundTruth, ImageRecord};

    fn set() -> Dataset {
        let objects = vec![GroundTruth::from_bbox(2, BBox::new(0.0, 0.0, 9.0, 9.0), false)];
        Dataset {
            kind: DatasetKind::Voc,
            classes: vec!["cat".into(), "dog".into()],
            category_ids: vec![1, 2],
            images: vec![ImageRecord { id: "a".into(), path: "a.jpg".into(), size: None, objects }],
        }
    }

    #[test]
    fn a_perfect_detection_scores_one_in_every_metric_and_absent_classes_stay_out() {
        let found = Scored { class_id: 2, score: 0.9, rect: [0.0, 0.0, 10.0, 10.0] };
        for metric in [Metric::Voc07, Metric::Voc, Metric::Coco] {
            let report = evaluate(&set(), &[vec![found]], metric);
            assert!((report.map - 1.0).abs() < 1e-12, "{metric:?}");
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(json["ap"].as_object().unwrap().keys().collect::<Vec<_>>(), ["dog"]);
            assert_eq!(json["AP50"].is_number(), metric == Metric::Coco);
            assert!(report.to_string().lines().any(|l| l.starts_with("mean") && l.ends_with("1.0000")));
        }
    }

    #[test]
    fn no_detections_score_zero_in_every_metric() {
        for metric in [Metric::Voc07, Metric::Voc, Metric::Coco] {
            for detections in [vec![], vec![vec![]]] {
                assert_eq!(evaluate(&set(), &detections, metric).map, 0.0);
            }
        }
    }

    #[test]
    fn class_ids_out_of_range_are_not_scored() {
        let bad = |class_id| Scored { class_id, score: 0.9, rect: [0.0, 0.0, 10.0, 10.0] };
        let report = evaluate(&set(), &[vec![bad(0), bad(3)]], Metric::Voc);
        assert_eq!((report.detections, report.map), (0, 0.0));
    }
}
