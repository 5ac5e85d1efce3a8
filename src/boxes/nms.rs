//! Greedy non-maximum suppression (R-CNN §2.3).
//!
//! Walks the boxes from the best score down and drops each one that overlaps an already kept box by more than the
//! threshold. Equal scores keep their input order, so the result is deterministic.
//!
//! The definition is [`BBox::iou`] against every kept box. [`Suppressor`] computes exactly the same numbers, bit for
//! bit, but keeps the corners and areas of the kept boxes in separate arrays and compares sixteen at a time without a
//! branch, which the compiler turns into vector code, for the instructions of whatever it is inlined into.

use super::BBox;

/// Kept boxes compared at once.
const LANES: usize = 16;

/// The kept boxes of a suppression under way. Boxes are offered one by one, best first.
#[derive(Debug, Clone, Default)]
pub struct Suppressor {
    iou_threshold: f32,
    x1: Vec<f32>,
    y1: Vec<f32>,
    x2: Vec<f32>,
    y2: Vec<f32>,
    area: Vec<f32>,
}

impl Suppressor {
    /// No boxes kept yet; boxes that overlap a kept one by more than `iou_threshold` will be refused.
    pub fn new(iou_threshold: f32) -> Self {
        Self { iou_threshold, ..Self::default() }
    }

    /// Starts over with another threshold, keeping the memory.
    pub fn restart(&mut self, iou_threshold: f32) {
        self.iou_threshold = iou_threshold;
        for column in [&mut self.x1, &mut self.y1, &mut self.x2, &mut self.y2, &mut self.area] {
            column.clear();
        }
    }

    /// Number of boxes kept.
    pub fn len(&self) -> usize {
        self.x1.len()
    }

    /// True if nothing was kept yet.
    pub fn is_empty(&self) -> bool {
        self.x1.is_empty()
    }

    /// Keeps `candidate` and returns true, unless a kept box overlaps it by more than the threshold.
    #[inline(always)]
    pub fn offer(&mut self, candidate: &BBox) -> bool {
        if self.overlaps(candidate) {
            return false;
        }
        self.x1.push(candidate.x1);
        self.y1.push(candidate.y1);
        self.x2.push(candidate.x2);
        self.y2.push(candidate.y2);
        self.area.push(candidate.area());
        true
    }

    #[inline(always)]
    fn overlaps(&self, b: &BBox) -> bool {
        let b_area = b.area();
        let ((x1, x1_rest), (y1, y1_rest)) = (self.x1.as_chunks::<LANES>(), self.y1.as_chunks::<LANES>());
        let ((x2, x2_rest), (y2, y2_rest)) = (self.x2.as_chunks::<LANES>(), self.y2.as_chunks::<LANES>());
        let (area, _) = self.area.as_chunks::<LANES>();
        for ((((x1, y1), x2), y2), area) in x1.iter().zip(y1).zip(x2).zip(y2).zip(area) {
            let mut hits = 0u32;
            for i in 0..LANES {
                let w = x2[i].min(b.x2) - x1[i].max(b.x1) + 1.0;
                let h = y2[i].min(b.y2) - y1[i].max(b.y1) + 1.0;
                let inter = w * h;
                // The quotient, not `inter > threshold * union`: the products round differently from the reference
                // right at the threshold.
                let quotient = inter / (area[i] + b_area - inter);
                let iou = if (w <= 0.0) | (h <= 0.0) { 0.0 } else { quotient };
                hits |= u32::from(self.exceeds(iou));
            }
            if hits != 0 {
                return true;
            }
        }
        x1_rest
            .iter()
            .zip(y1_rest)
            .zip(x2_rest)
            .zip(y2_rest)
            .any(|(((&x1, &y1), &x2), &y2)| self.exceeds(BBox::new(x1, y1, x2, y2).iou(b)))
    }

    /// Written as "not at most", so that an overlap that is not a number suppresses, as in the reference.
    #[inline(always)]
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must count as exceeding")]
    fn exceeds(&self, iou: f32) -> bool {
        !(iou <= self.iou_threshold)
    }
}

/// Indices of `scores` from the highest score to the lowest; ties in input order, NaN last.
pub fn order_by_score(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let key = |i: usize| if scores[i].is_nan() { f32::NEG_INFINITY } else { scores[i] };
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    order
}

/// Suppression over boxes already sorted by falling score; returns the kept indices, at most `max_keep` of them.
pub fn nms_sorted(boxes: &[BBox], iou_threshold: f32, max_keep: usize) -> Vec<usize> {
    let mut suppressor = Suppressor::new(iou_threshold);
    let mut kept: Vec<usize> = Vec::with_capacity(max_keep.min(boxes.len()));
    for (i, candidate) in boxes.iter().enumerate() {
        if kept.len() >= max_keep {
            break;
        }
        if suppressor.offer(candidate) {
            kept.push(i);
        }
    }
    kept
}

/// Suppression over boxes in any order; the kept indices come sorted by falling score.
pub fn nms(boxes: &[BBox], scores: &[f32], iou_threshold: f32) -> Vec<usize> {
    let order = order_by_score(scores);
    let sorted: Vec<BBox> = order.iter().map(|&i| boxes[i]).collect();
    nms_sorted(&sorted, iou_threshold, usize::MAX).into_iter().map(|k| order[k]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in three lines.
    fn plain_nms_sorted(boxes: &[BBox], iou_threshold: f32) -> Vec<usize> {
        let mut kept: Vec<usize> = Vec::new();
        for (i, candidate) in boxes.iter().enumerate() {
            if kept.iter().all(|&k| boxes[k].iou(candidate) <= iou_threshold) {
                kept.push(i);
            }
        }
        kept
    }

    /// Boxes that overlap often; some corners lie outside or are reversed, a few are not numbers at all.
    fn any_box() -> impl Strategy<Value = BBox> {
        let side = prop_oneof![40 => -20.0f32..120.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)];
        (0.0f32..60.0, 0.0f32..60.0, side.clone(), side).prop_map(|(x, y, w, h)| BBox::new(x, y, x + w, y + h))
    }

    proptest! {
        #[test]
        fn the_fast_form_keeps_exactly_what_the_definition_keeps(
            boxes in prop::collection::vec(any_box(), 0..150), threshold in -0.1f32..1.1,
        ) {
            prop_assert_eq!(nms_sorted(&boxes, threshold, usize::MAX), plain_nms_sorted(&boxes, threshold));
        }

        #[test]
        fn kept_boxes_never_overlap_more_than_the_threshold_and_dropped_ones_do(
            corners in prop::collection::vec((0u8..80, 0u8..80, 1u8..60, 1u8..60), 1..120), threshold in 0.1f32..0.9,
        ) {
            let boxes: Vec<BBox> = corners
                .iter()
                .map(|&(x, y, w, h)| (f32::from(x), f32::from(y), f32::from(w), f32::from(h)))
                .map(|(x, y, w, h)| BBox::new(x, y, x + w, y + h))
                .collect();
            let kept = nms_sorted(&boxes, threshold, usize::MAX);
            for (i, candidate) in boxes.iter().enumerate() {
                let earlier = kept.iter().filter(|&&k| k < i);
                let overlapped = earlier.copied().any(|k| boxes[k].iou(candidate) > threshold);
                prop_assert_eq!(overlapped, !kept.contains(&i));
            }
        }
    }

    #[test]
    fn nms_of_no_boxes_is_empty() {
        assert!(nms(&[], &[], 0.5).is_empty());
    }

    #[test]
    fn the_better_of_two_overlapping_boxes_survives_and_far_ones_stay() {
        let boxes =
            [BBox::new(0.0, 0.0, 9.0, 9.0), BBox::new(1.0, 0.0, 10.0, 9.0), BBox::new(100.0, 100.0, 109.0, 109.0)];
        assert_eq!(nms(&boxes, &[0.5, 0.9, 0.1], 0.7), vec![1, 2]);
    }

    #[test]
    fn ties_keep_input_order() {
        let boxes = [BBox::new(0.0, 0.0, 9.0, 9.0), BBox::new(50.0, 0.0, 59.0, 9.0)];
        assert_eq!(nms(&boxes, &[0.5, 0.5], 0.5), vec![0, 1]);
    }

    #[test]
    fn no_more_boxes_are_kept_than_asked_for() {
        let apart: Vec<BBox> =
            (0..50u8).map(|i| f32::from(i) * 20.0).map(|x| BBox::new(x, 0.0, x + 9.0, 9.0)).collect();
        assert_eq!(nms_sorted(&apart, 0.5, 7), (0..7).collect::<Vec<_>>());
        assert!(nms_sorted(&apart, 0.5, 0).is_empty());
    }
}
