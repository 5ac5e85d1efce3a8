//! The COCO metric, second half: from matches to average precision and average recall.
//!
//! AP is the mean over classes, over the overlap thresholds .50:.05:.95 and over 101 recall levels of the best
//! precision at that recall or above. AR is the mean over classes and thresholds of the recall reached with the best
//! 1, 10 or 100 detections of a picture and class. Classes without counted objects stay out of the mean.
//! Agrees with pycocotools to rounding; the golden test says how far.

use serde::Serialize;

use super::coco_match::{AreaRange, Matches, Outcome, Pairs, iou_thresholds};
use super::scored::by_falling_score;
use super::{Dataset, Scored};

/// The twelve numbers of the COCO metric; `None` where no object counts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct CocoSummary {
    /// AP over IoU .50:.05:.95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap: Option<f64>,
    /// AP at IoU .50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap50: Option<f64>,
    /// AP at IoU .75.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap75: Option<f64>,
    /// AP of objects up to 32² pixels.
    #[serde(rename = "APs", skip_serializing_if = "Option::is_none")]
    pub ap_small: Option<f64>,
    /// AP of objects from 32² to 96² pixels.
    #[serde(rename = "APm", skip_serializing_if = "Option::is_none")]
    pub ap_medium: Option<f64>,
    /// AP of objects from 96² pixels.
    #[serde(rename = "APl", skip_serializing_if = "Option::is_none")]
    pub ap_large: Option<f64>,
    /// AR with one detection per picture and class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar1: Option<f64>,
    /// AR with ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar10: Option<f64>,
    /// AR with a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar100: Option<f64>,
    /// AR with a hundred, objects up to 32² pixels.
    #[serde(rename = "ARs", skip_serializing_if = "Option::is_none")]
    pub ar_small: Option<f64>,
    /// AR with a hundred, objects from 32² to 96² pixels.
    #[serde(rename = "ARm", skip_serializing_if = "Option::is_none")]
    pub ar_medium: Option<f64>,
    /// AR with a hundred, objects from 96² pixels.
    #[serde(rename = "ARl", skip_serializing_if = "Option::is_none")]
    pub ar_large: Option<f64>,
}

impl CocoSummary {
    /// The numbers with their names, in the usual order.
    pub fn rows(&self) -> [(&'static str, Option<f64>); 12] {
        [
            ("AP", self.ap),
            ("AP50", self.ap50),
            ("AP75", self.ap75),
            ("APs", self.ap_small),
            ("APm", self.ap_medium),
            ("APl", self.ap_large),
            ("AR1", self.ar1),
            ("AR10", self.ar10),
            ("AR100", self.ar100),
            ("ARs", self.ar_small),
            ("ARm", self.ar_medium),
            ("ARl", self.ar_large),
        ]
    }
}

/// The summary and the AP (.50:.95) of each class, in class order.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoResult {
    /// Means over the classes.
    pub summary: CocoSummary,
    /// AP of each class; `None` for classes without counted objects.
    pub classes: Vec<Option<f64>>,
}

/// AP and recall of one class and area range at the ten thresholds.
struct Cell {
    ap: [f64; 10],
    recall: [f64; 10],
}

/// The COCO metric. `detections[i]` belongs to `set.images[i]`; a missing tail counts as no detections.
pub fn coco_ap(set: &Dataset, detections: &[Vec<Scored>]) -> CocoResult {
    let thresholds = iou_thresholds();
    // Per class: the four area ranges with 100 detections, and the whole range with 1 and 10.
    let mut by_area: Vec<[Option<Cell>; 4]> = Vec::with_capacity(set.classes.len());
    let mut by_count: Vec<[Option<Cell>; 2]> = Vec::with_capacity(set.classes.len());
    for class_id in 1..=set.classes.len() {
        let of = |i: usize| detections.get(i).map_or(&[][..], Vec::as_slice);
        let pairs: Vec<Pairs> = (set.images.iter().enumerate())
            .filter_map(|(i, image)| Pairs::new(&image.objects, of(i), class_id))
            .collect();
        let matches = AreaRange::ALL.map(|r| pairs.iter().map(|p| p.matches(r, &thresholds)).collect::<Vec<_>>());
        by_count.push([1, 10].map(|count| accumulate(&matches[0], count)));
        by_area.push(matches.map(|m| accumulate(&m, 100)));
    }

    let ap = |area: usize| mean(by_area.iter().filter_map(|c| c[area].as_ref()).flat_map(|c| c.ap));
    let ap_at = |t: usize| mean(by_area.iter().filter_map(|c| c[0].as_ref()).map(|c| c.ap[t]));
    let ar = |area: usize| mean(by_area.iter().filter_map(|c| c[area].as_ref()).flat_map(|c| c.recall));
    let ar_with = |n: usize| mean(by_count.iter().filter_map(|c| c[n].as_ref()).flat_map(|c| c.recall));
    let summary = CocoSummary {
        ap: ap(0),
        ap50: ap_at(0),
        ap75: ap_at(5),
        ap_small: ap(1),
        ap_medium: ap(2),
        ap_large: ap(3),
        ar1: ar_with(0),
        ar10: ar_with(1),
        ar100: ar(0),
        ar_small: ar(1),
        ar_medium: ar(2),
        ar_large: ar(3),
    };
    let classes = by_area.iter().map(|c| c[0].as_ref().and_then(|c| mean(c.ap.into_iter()))).collect();
    CocoResult { summary, classes }
}

/// Ranks the best `count` detections of every picture together; `None` if no object counts.
fn accumulate(pictures: &[Matches], count: usize) -> Option<Cell> {
    let positives: usize = pictures.iter().map(|m| m.positives).sum();
    if positives == 0 {
        return None;
    }
    let all: Vec<(f64, &Matches, usize)> =
        pictures.iter().flat_map(|m| m.scores.iter().take(count).enumerate().map(move |(d, &s)| (s, m, d))).collect();
    let order = by_falling_score(&all, |d| d.0);

    let mut cell = Cell { ap: [0.0; 10], recall: [0.0; 10] };
    for t in 0..10 {
        let (mut right, mut wrong) = (0.0, 0.0);
        let (mut recall, mut precision) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        for &i in &order {
            let (_, matches, d) = all[i];
            match matches.outcomes[t][d] {
                Outcome::Right => right += 1.0,
                Outcome::Wrong => wrong += 1.0,
                Outcome::Ignored => {}
            }
            recall.push(right / positives as f64);
            precision.push(right / (right + wrong + f64::EPSILON));
        }
        cell.recall[t] = recall.last().copied().unwrap_or(0.0);
        cell.ap[t] = interpolated(&recall, &mut precision);
    }
    Some(cell)
}

/// Mean over 101 recall levels of the precision at the first point that reaches the level, 0 beyond the last.
fn interpolated(recall: &[f64], precision: &mut [f64]) -> f64 {
    for i in (1..precision.len()).rev() {
        precision[i - 1] = precision[i - 1].max(precision[i]);
    }
    let at = |level: f64| precision.get(recall.partition_point(|&r| r < level)).copied().unwrap_or(0.0);
    (0..=100).map(|i| at(if i == 100 { 1.0 } else { f64::from(i) * 0.01 })).sum::<f64>() / 101.0
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0usize, 0.0), |(n, sum), v| (n + 1, sum + v));
    (n > 0).then(|| sum / n as f64)
}
