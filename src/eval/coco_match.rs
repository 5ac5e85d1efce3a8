//! The COCO metric, first half: which detection of a picture finds which object.
//!
//! For one picture, class and range of areas. Detections choose by falling score; each takes the free object with the
//! largest overlap at or above the threshold, preferring counted objects over ignored ones. Ignored are crowds,
//! difficult objects (a notion COCO lacks; they behave like crowds that can be taken once) and objects whose area is
//! out of range. A crowd can be taken any number of times, and overlap with it is relative to the detection alone.
//! A detection that takes an ignored object counts neither way, as does an unmatched one whose area is out of range.

use super::scored::{area, by_falling_score, intersection};
use super::{GroundTruth, Scored};

/// Detections of one class and picture beyond this rank are not looked at.
pub(super) const MAX_DETECTIONS: usize = 100;

/// The ten overlap thresholds .50, .55 … .95, computed as numpy's `linspace` does, to the last bit.
pub(super) fn iou_thresholds() -> [f64; 10] {
    let step = (0.95 - 0.5) / 9.0;
    let mut out = [0.0; 10];
    for (i, t) in out.iter_mut().enumerate() {
        *t = 0.5 + i as f64 * step;
    }
    out[9] = 0.95;
    out
}

/// A range of areas in square pixels, both ends included.
#[derive(Debug, Clone, Copy)]
pub(super) struct AreaRange(pub f64, pub f64);

impl AreaRange {
    /// all, small, medium, large.
    pub(super) const ALL: [Self; 4] = [Self(0.0, 1e10), Self(0.0, 1024.0), Self(1024.0, 9216.0), Self(9216.0, 1e10)];

    fn excludes(self, area: f64) -> bool {
        area < self.0 || area > self.1
    }
}

/// What became of one detection at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Found an object.
    Right,
    /// Found nothing.
    Wrong,
    /// Counts neither way.
    Ignored,
}

/// The detections of one picture, class and area range, by falling score.
#[derive(Debug)]
pub(super) struct Matches {
    /// Score of each detection.
    pub scores: Vec<f64>,
    /// For each threshold the outcome of each detection.
    pub outcomes: [Vec<Outcome>; 10],
    /// Objects that count.
    pub positives: usize,
}

/// Overlaps of one picture and class, computed once and used for every area range.
pub(super) struct Pairs<'a> {
    objects: Vec<&'a GroundTruth>,
    detections: Vec<&'a Scored>,
    /// `overlap[d][o]`.
    overlap: Vec<Vec<f64>>,
}

impl<'a> Pairs<'a> {
    /// Pairs up the objects and detections of one class; `None` if the picture has neither.
    pub(super) fn new(objects: &'a [GroundTruth], detections: &'a [Scored], class_id: usize) -> Option<Self> {
        let objects: Vec<_> = objects.iter().filter(|o| o.class_id == class_id).collect();
        let all: Vec<_> = detections.iter().filter(|d| d.class_id == class_id).collect();
        if objects.is_empty() && all.is_empty() {
            return None;
        }
        let order = by_falling_score(&all, |d| d.score);
        let detections: Vec<_> = order.into_iter().take(MAX_DETECTIONS).map(|i| all[i]).collect();
        let overlap = detections.iter().map(|d| objects.iter().map(|o| overlap(d, o)).collect()).collect();
        Some(Self { objects, detections, overlap })
    }

    /// Lets the detections choose.
    pub(super) fn matches(&self, range: AreaRange, thresholds: &[f64; 10]) -> Matches {
        let ignored: Vec<bool> =
            self.objects.iter().map(|o| o.crowd || o.difficult || range.excludes(o.area)).collect();
        // Counted objects first, so that an ignored one is taken only where no counted one fits.
        let mut order: Vec<usize> = (0..self.objects.len()).collect();
        order.sort_by_key(|&o| ignored[o]);

        let outcomes = thresholds.map(|threshold| {
            let mut taken = vec![false; self.objects.len()];
            let choose = |d: usize| {
                let choice = self.choose(d, threshold, &order, &ignored, &taken);
                if let Some(o) = choice {
                    taken[o] = true;
                }
                match choice {
                    Some(o) if ignored[o] => Outcome::Ignored,
                    Some(_) => Outcome::Right,
                    None if range.excludes(area(&self.detections[d].rect)) => Outcome::Ignored,
                    None => Outcome::Wrong,
                }
            };
            (0..self.detections.len()).map(choose).collect()
        });
        Matches {
            scores: self.detections.iter().map(|d| d.score).collect(),
            outcomes,
            positives: ignored.iter().filter(|&&i| !i).count(),
        }
    }

    fn choose(&self, d: usize, threshold: f64, order: &[usize], ignored: &[bool], taken: &[bool]) -> Option<usize> {
        let mut best: Option<usize> = None;
        // Of equal overlaps the later object wins, as in the reference; the cap keeps 1.0 reachable after rounding.
        let mut bar = threshold.min(1.0 - 1e-10);
        for &o in order {
            if taken[o] && !self.objects[o].crowd {
                continue;
            }
            if ignored[o] && best.is_some_and(|b| !ignored[b]) {
                break;
            }
            if self.overlap[d][o] >= bar {
                bar = self.overlap[d][o];
                best = Some(o);
            }
        }
        best
    }
}

/// Intersection over union, or over the detection alone for a crowd.
fn overlap(d: &Scored, o: &GroundTruth) -> f64 {
    let shared = intersection(&d.rect, &o.rect);
    if shared <= 0.0 {
        return 0.0;
    }
    let own = area(&d.rect);
    shared / if o.crowd { own } else { own + area(&o.rect) - shared }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn object(rect: [f64; 4], crowd: bool) -> GroundTruth {
        let bbox = crate::boxes::BBox::default();
        GroundTruth { class_id: 1, bbox, rect, difficult: false, crowd, area: area(&rect) }
    }

    fn outcomes(objects: &[GroundTruth], rects: &[[f64; 4]], range: AreaRange) -> Vec<Outcome> {
        let score = |i: usize| 1.0 - i as f64 * 0.01;
        let detections: Vec<_> =
            rects.iter().enumerate().map(|(i, &rect)| Scored { class_id: 1, score: score(i), rect }).collect();
        let m = Pairs::new(objects, &detections, 1).unwrap().matches(range, &iou_thresholds());
        m.outcomes[0].clone()
    }

    #[test]
    fn a_crowd_absorbs_any_number_of_detections_inside_it() {
        let crowd = object([0.0, 0.0, 100.0, 100.0], true);
        let inside = [0.0, 0.0, 10.0, 10.0];
        let got = outcomes(&[crowd], &[inside, inside, [200.0, 0.0, 210.0, 10.0]], AreaRange::ALL[0]);
        assert_eq!(got, [Outcome::Ignored, Outcome::Ignored, Outcome::Wrong]);
    }

    #[test]
    fn a_counted_object_is_preferred_to_a_crowd_that_overlaps_more() {
        let objects = [object([0.0, 0.0, 100.0, 100.0], true), object([0.0, 0.0, 10.0, 12.0], false)];
        assert_eq!(outcomes(&objects, &[[0.0, 0.0, 10.0, 10.0]], AreaRange::ALL[0]), [Outcome::Right]);
    }

    #[test]
    fn out_of_range_objects_and_unmatched_detections_are_ignored() {
        let objects = [object([0.0, 0.0, 10.0, 10.0], false)];
        let got = outcomes(&objects, &[[0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.0, 10.0]], AreaRange::ALL[3]);
        assert_eq!(got, [Outcome::Ignored, Outcome::Ignored]);
    }
}
