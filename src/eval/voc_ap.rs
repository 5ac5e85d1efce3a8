//! Average precision of the Pascal VOC challenge, for one class at a time.
//!
//! Detections of all pictures are walked from the best score down. Each looks for the object of its picture with the
//! largest overlap; it is right if that overlap is above the threshold and the object is not taken yet, wrong
//! otherwise. If the object is `difficult` (or a COCO crowd) the detection counts neither way.
//! Follows the devkit as the reference code restates it in Python, including the last bit of its recall levels.

use super::scored::{by_falling_score, iou};
use super::{Dataset, GroundTruth, Scored};

/// Overlap a detection has to exceed.
pub const VOC_IOU: f64 = 0.5;

/// Precision over recall of one class, one point for each detection by falling score.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Objects to find: neither difficult nor crowds.
    pub positives: usize,
    /// Share of the objects found so far.
    pub recall: Vec<f64>,
    /// Share of right detections so far.
    pub precision: Vec<f64>,
}

/// The curve of one class. `detections[i]` belongs to `set.images[i]`; a missing tail counts as no detections.
pub fn curve(set: &Dataset, detections: &[Vec<Scored>], class_id: usize, min_iou: f64) -> Curve {
    let objects: Vec<Vec<&GroundTruth>> =
        set.images.iter().map(|i| i.objects.iter().filter(|o| o.class_id == class_id).collect()).collect();
    let ignored = |o: &GroundTruth| o.difficult || o.crowd;
    let positives = objects.iter().flatten().filter(|o| !ignored(o)).count();
    let mut taken: Vec<Vec<bool>> = objects.iter().map(|o| vec![false; o.len()]).collect();

    let all: Vec<(usize, &Scored)> = detections
        .iter()
        .take(set.images.len())
        .enumerate()
        .flat_map(|(image, d)| d.iter().filter(|d| d.class_id == class_id).map(move |d| (image, d)))
        .collect();

    let mut out = Curve { positives, ..Curve::default() };
    let (mut right, mut wrong) = (0usize, 0usize);
    for i in by_falling_score(&all, |(_, d)| d.score) {
        let (image, detection) = all[i];
        let mut best = (f64::NEG_INFINITY, 0);
        for (k, object) in objects[image].iter().enumerate() {
            let overlap = iou(&object.rect, &detection.rect);
            if overlap > best.0 {
                best = (overlap, k);
            }
        }
        if best.0 <= min_iou {
            wrong += 1;
        } else if !ignored(objects[image][best.1]) {
            if taken[image][best.1] {
                wrong += 1;
            } else {
                taken[image][best.1] = true;
                right += 1;
            }
        }
        out.recall.push(right as f64 / positives.max(1) as f64);
        // Before the first counted detection (all ignored so far) the devkit's precision is 0 over a tiny number.
        out.precision.push(right as f64 / (right + wrong).max(1) as f64);
    }
    out
}

impl Curve {
    /// VOC 2007: mean over the recall levels 0, 0.1, … 1 of the best precision at that recall or above.
    pub fn ap_11_point(&self) -> f64 {
        let best_from = |level: f64| {
            let above = self.recall.iter().zip(&self.precision).filter(|&(&r, _)| r >= level);
            above.fold(0.0, |best: f64, (_, &p)| best.max(p))
        };
        // `level * 0.1` and not `level / 10`: the reference's levels are products, and 3 · 0.1 is above 0.3.
        (0..=10).map(|level| best_from(f64::from(level) * 0.1) / 11.0).sum()
    }

    /// VOC 2010 and later: the area under the curve after making precision fall with recall.
    pub fn ap_all_points(&self) -> f64 {
        let mut area = 0.0;
        let mut best = 0.0f64;
        for i in (0..self.recall.len()).rev() {
            best = best.max(self.precision[i]);
            let before = if i == 0 { 0.0 } else { self.recall[i - 1] };
            area += (self.recall[i] - before) * best;
        }
        area
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::BBox;
    use crate::eval::{DatasetKind, ImageRecord};

    fn one_picture(objects: Vec<GroundTruth>) -> Dataset {
        let image = ImageRecord { id: "a".into(), path: "a.jpg".into(), size: None, objects };
        Dataset { kind: DatasetKind::Voc, classes: vec!["dog".into()], category_ids: vec![1], images: vec![image] }
    }

    fn object(x: f32, difficult: bool) -> GroundTruth {
        GroundTruth::from_bbox(1, BBox::new(x, 0.0, x + 9.0, 9.0), difficult)
    }

    fn found(x: f64, score: f64) -> Scored {
        Scored { class_id: 1, score, rect: [x, 0.0, x + 10.0, 10.0] }
    }

    #[test]
    fn the_second_detection_of_an_object_is_wrong() {
        let set = one_picture(vec![object(0.0, false), object(50.0, false)]);
        let c = curve(&set, &[vec![found(50.0, 0.1), found(0.0, 0.9), found(1.0, 0.5)]], 1, VOC_IOU);
        assert_eq!(c.recall, [0.5, 0.5, 1.0]);
        assert_eq!(c.precision, [1.0, 0.5, 2.0 / 3.0]);
        assert!((c.ap_all_points() - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
        assert!((c.ap_11_point() - (6.0 + 5.0 * 2.0 / 3.0) / 11.0).abs() < 1e-12);
    }

    #[test]
    fn difficult_objects_are_neither_asked_for_nor_punished() {
        let set = one_picture(vec![object(0.0, true), object(50.0, false)]);
        let c = curve(&set, &[vec![found(0.0, 0.9), found(0.0, 0.8), found(50.0, 0.5)]], 1, VOC_IOU);
        assert_eq!((c.positives, c.recall.last(), c.precision.last()), (1, Some(&1.0), Some(&1.0)));
    }

    #[test]
    fn overlap_of_exactly_one_half_is_a_miss() {
        let set = one_picture(vec![object(0.0, false)]);
        let half = Scored { class_id: 1, score: 1.0, rect: [0.0, 0.0, 20.0, 10.0] };
        assert_eq!(curve(&set, &[vec![half]], 1, VOC_IOU).recall, [0.0]);
    }

    #[test]
    fn no_detections_and_no_objects_give_zero() {
        let set = one_picture(vec![object(0.0, false)]);
        for detections in [vec![], vec![vec![]]] {
            let c = curve(&set, &detections, 1, VOC_IOU);
            assert_eq!((c.ap_11_point(), c.ap_all_points()), (0.0, 0.0));
        }
        let c = curve(&one_picture(vec![]), &[vec![found(0.0, 0.9)]], 1, VOC_IOU);
        assert_eq!((c.positives, c.ap_11_point(), c.ap_all_points()), (0, 0.0, 0.0));
    }
}
