//! Recall of proposals: the share of objects that some of the first N proposals of their picture covers.
//!
//! As in the reference code a proposal covers one object: the pair with the largest overlap of all is set aside,
//! then the next, until objects or proposals run out. An object is found at a threshold its overlap reaches.
//! Difficult objects and crowds are not asked for. Pictures are added one by one, so that two thousand boxes for each
//! of five thousand pictures never have to be held.

use serde::Serialize;

use super::GroundTruth;
use super::scored::iou;
use crate::boxes::Rect;

/// The proposal counts that are reported.
pub const RECALL_COUNTS: [usize; 5] = [50, 100, 300, 1000, 2000];

/// Recall with the first `proposals` proposals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecallRow {
    /// How many proposals of each picture were looked at, at most.
    pub proposals: usize,
    /// Share of the objects covered at IoU ≥ 0.5.
    pub at_50: f64,
    /// Share of the objects covered at IoU ≥ 0.7.
    pub at_70: f64,
}

/// Proposal recall over a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecallReport {
    /// Objects asked for.
    pub objects: usize,
    /// Mean number of proposals there were; rows beyond it say no more than this many.
    pub mean_proposals: f64,
    /// One row for each of [`RECALL_COUNTS`].
    pub rows: Vec<RecallRow>,
}

/// Collects pictures for a [`RecallReport`].
#[derive(Debug, Clone, Default)]
pub struct RecallCounter {
    objects: usize,
    pictures: usize,
    proposals: usize,
    found: [[usize; 2]; RECALL_COUNTS.len()],
}

impl RecallCounter {
    /// Adds a picture: its objects, and its proposals by falling score in pixels of the original picture.
    pub fn add(&mut self, objects: &[GroundTruth], proposals: &[Rect]) {
        let wanted: Vec<&GroundTruth> = objects.iter().filter(|o| !o.difficult && !o.crowd).collect();
        let boxes: Vec<[f64; 4]> = proposals.iter().map(|r| [r.x1, r.y1, r.x2, r.y2].map(f64::from)).collect();
        self.pictures += 1;
        self.objects += wanted.len();
        self.proposals += boxes.len();
        let overlaps: Vec<Vec<f64>> = wanted.iter().map(|o| boxes.iter().map(|b| iou(b, &o.rect)).collect()).collect();
        for (count, found) in RECALL_COUNTS.iter().zip(&mut self.found) {
            let best = assign(&overlaps, (*count).min(boxes.len()));
            for (threshold, n) in [0.5, 0.7].iter().zip(found) {
                *n += best.iter().filter(|b| *b >= threshold).count();
            }
        }
    }

    /// The shares so far.
    pub fn report(&self) -> RecallReport {
        let share = |n: usize| n as f64 / self.objects.max(1) as f64;
        let row = |(&proposals, found): (&usize, &[usize; 2])| RecallRow {
            proposals,
            at_50: share(found[0]),
            at_70: share(found[1]),
        };
        RecallReport {
            objects: self.objects,
            mean_proposals: self.proposals as f64 / self.pictures.max(1) as f64,
            rows: RECALL_COUNTS.iter().zip(&self.found).map(row).collect(),
        }
    }
}

/// Overlaps of the object–proposal pairs set aside greedily; `overlaps[o][p]`, first `count` proposals only.
fn assign(overlaps: &[Vec<f64>], count: usize) -> Vec<f64> {
    let mut free_objects: Vec<usize> = (0..overlaps.len()).collect();
    let mut free: Vec<bool> = vec![true; count];
    let mut out = Vec::with_capacity(overlaps.len());
    while !free_objects.is_empty() {
        let mut best: Option<(f64, usize, usize)> = None;
        for (slot, &o) in free_objects.iter().enumerate() {
            for p in (0..count).filter(|&p| free[p]) {
                if best.is_none_or(|(v, _, _)| overlaps[o][p] > v) {
                    best = Some((overlaps[o][p], slot, p));
                }
            }
        }
        let Some((v, slot, p)) = best.filter(|b| b.0 > 0.0) else { break };
        free[p] = false;
        free_objects.remove(slot);
        out.push(v);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::BBox;

    fn object(x: f32, difficult: bool) -> GroundTruth {
        GroundTruth::from_bbox(1, BBox::new(x, 0.0, x + 9.0, 9.0), difficult)
    }

    fn rect(x: f32, width: f32) -> Rect {
        Rect { x1: x, y1: 0.0, x2: x + width, y2: 10.0 }
    }

    #[test]
    fn a_proposal_covers_one_object_and_difficult_ones_are_not_asked_for() {
        let mut counter = RecallCounter::default();
        counter.add(&[object(0.0, false), object(1.0, false), object(90.0, true)], &[rect(0.0, 10.0)]);
        let report = counter.report();
        assert_eq!((report.objects, report.mean_proposals), (2, 1.0));
        assert!(report.rows.iter().all(|r| r.at_50 == 0.5 && r.at_70 == 0.5));
    }

    #[test]
    fn only_the_first_proposals_count_and_thresholds_differ() {
        let mut counter = RecallCounter::default();
        let mut proposals = vec![rect(500.0, 10.0); 99];
        proposals.push(rect(0.0, 6.0));
        proposals.extend(vec![rect(500.0, 10.0); 200]);
        proposals.push(rect(0.0, 10.0));
        counter.add(&[object(0.0, false)], &proposals);
        let rows: Vec<_> = counter.report().rows.iter().map(|r| (r.at_50, r.at_70)).collect();
        assert_eq!(rows, [(0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1.0), (1.0, 1.0)]);
    }

    #[test]
    fn nothing_at_all_is_zero() {
        assert!(RecallCounter::default().report().rows.iter().all(|r| r.at_50 == 0.0));
        let mut counter = RecallCounter::default();
        counter.add(&[object(0.0, false)], &[]);
        assert!(counter.report().rows.iter().all(|r| r.at_50 == 0.0));
    }
}
