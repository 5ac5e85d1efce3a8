//! Greedy non-maximum suppression (R-CNN §2.3).
//!
//! Walks the boxes from the best score down and drops each one that overlaps an already kept box by more than the
//! threshold. Equal scores keep their input order, so the result is deterministic.

use super::BBox;

/// Indices of `scores` from the highest score to the lowest; ties in input order, NaN last.
pub fn order_by_score(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let key = |i: usize| if scores[i].is_nan() { f32::NEG_INFINITY } else { scores[i] };
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    order
}

/// Suppression over boxes already sorted by falling score; returns the kept indices, at most `max_keep` of them.
pub fn nms_sorted(boxes: &[BBox], iou_threshold: f32, max_keep: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::with_capacity(max_keep.min(boxes.len()));
    for (i, candidate) in boxes.iter().enumerate() {
        if kept.len() >= max_keep {
            break;
        }
        // Comparing products instead of quotients would round differently from the reference at the threshold.
        if kept.iter().all(|&k| boxes[k].iou(candidate) <= iou_threshold) {
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
}
