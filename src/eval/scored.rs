//! A detection as the metrics see it, and the overlap of two boxes.
//!
//! Boxes are half-open `[x1, y1, x2, y2]` in double precision. `x2 - x1` of a half-open box is the `x2 - x1 + 1` of
//! the VOC devkit's inclusive corners and the `w` of COCO, so one overlap serves both metrics.

use crate::boxes::Rect;

/// One detection on one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// 1-based class of the data set.
    pub class_id: usize,
    /// Confidence; only the order matters to the metrics.
    pub score: f64,
    /// Half-open box in pixels of the original picture.
    pub rect: [f64; 4],
}

/// Fraction of a pixel to which detections are kept: 1/64.
const STEPS_PER_PIXEL: f64 = 64.0;

impl Scored {
    /// From what the detector says.
    ///
    /// Result files state a box in three ways (0-based, 1-based, width and height) as decimals. Keeping 1/64 pixel
    /// makes all three exact, so that scores of saved detections equal the first ones to the last digit; the
    /// reference code keeps a tenth of a pixel.
    pub fn new(class_id: usize, score: f32, rect: Rect) -> Self {
        let grid = |v: f32| (f64::from(v) * STEPS_PER_PIXEL).round() / STEPS_PER_PIXEL;
        let rect = [grid(rect.x1), grid(rect.y1), grid(rect.x2), grid(rect.y2)];
        // The shortest decimal that names this f32, so that files do not carry the digits of its binary expansion.
        // JSON readers get 22 decimal places right, fewer digits of smaller numbers; nothing that small matters.
        let score = if score.abs() < 1e-12 { 0.0 } else { score.to_string().parse().unwrap_or(f64::from(score)) };
        Self { class_id, score, rect }
    }
}

/// Area of a half-open box.
pub(super) fn area(b: &[f64; 4]) -> f64 {
    (b[2] - b[0]) * (b[3] - b[1])
}

/// Area two half-open boxes share.
pub(super) fn intersection(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let w = a[2].min(b[2]) - a[0].max(b[0]);
    let h = a[3].min(b[3]) - a[1].max(b[1]);
    if w <= 0.0 || h <= 0.0 { 0.0 } else { w * h }
}

/// Intersection over union of half-open boxes; 0 where they do not touch.
pub(super) fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let shared = intersection(a, b);
    if shared > 0.0 { shared / (area(a) + area(b) - shared) } else { 0.0 }
}

/// Indices by falling score; ties keep their order, NaN comes last.
pub(super) fn by_falling_score<T>(items: &[T], score: impl Fn(&T) -> f64) -> Vec<usize> {
    let key = |i: usize| Some(score(&items[i])).filter(|s| !s.is_nan()).unwrap_or(f64::NEG_INFINITY);
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_box_in_result_files_is_exact() {
        let s = Scored::new(1, 0.1, Rect { x1: 0.1, y1: 1.0 / 3.0, x2: 123.456, y2: 499.99 });
        assert_eq!(s.score, 0.1);
        for v in s.rect {
            assert_eq!((v + 1.0) - 1.0, v);
            assert_eq!(v.to_string().parse(), Ok(v));
        }
        assert_eq!(s.rect[0] + (s.rect[2] - s.rect[0]), s.rect[2]);
    }

    #[test]
    fn iou_is_that_of_inclusive_corners() {
        let (a, b) = ([0.0, 0.0, 10.0, 10.0], [9.0, 9.0, 19.0, 19.0]);
        assert_eq!(iou(&a, &b), 1.0 / 199.0);
        assert_eq!(iou(&a, &[10.0, 0.0, 20.0, 10.0]), 0.0);
        assert_eq!(iou(&[3.0, 3.0, 3.0, 3.0], &[3.0, 3.0, 3.0, 3.0]), 0.0);
    }

    #[test]
    fn ties_keep_their_order_and_nan_comes_last() {
        assert_eq!(by_falling_score(&[0.5, f64::NAN, 0.9, 0.5], |&s| s), [2, 0, 3, 1]);
    }
}
