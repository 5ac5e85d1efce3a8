//! Rules of `postprocess.rs`, one test each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

const VGA: PictureSize = PictureSize { width: 640, height: 480 };

/// Head output of two classes: per RoI the two class scores, with zero deltas.
fn output(scores: &[[f32; 2]]) -> HeadOutput {
    let rows = scores.iter().flat_map(|&[a, b]| [1.0 - a - b, a, b]).collect();
    HeadOutput { rois: scores.len(), outputs: 3, scores: rows, deltas: vec![0.0; scores.len() * 12] }
}

fn run(output: &HeadOutput, rois: &[BBox], params: &PostParams) -> Postprocessed {
    postprocess(output, rois, params, VGA, 2.0)
}

const LEFT: BBox = BBox::new(20.0, 20.0, 118.0, 118.0);
const NEAR_LEFT: BBox = BBox::new(22.0, 20.0, 120.0, 118.0);
const RIGHT: BBox = BBox::new(400.0, 20.0, 498.0, 118.0);

#[test]
fn boxes_leave_in_picture_pixels_half_open() {
    // RoI / 2 = 10…59 inclusive, 50 wide; a zero delta decodes to 10…60 inclusive.
    let got = run(&output(&[[0.9, 0.0]]), &[LEFT], &PostParams::default());
    let rect = Rect { x1: 10.0, y1: 10.0, x2: 61.0, y2: 61.0 };
    assert_eq!(got.detections, [Detection { class_id: 1, score: 0.9, rect }]);
}

#[test]
fn a_box_over_the_whole_picture_is_the_whole_picture() {
    let roi = BBox::new(0.0, 0.0, 1278.0, 958.0);
    let got = run(&output(&[[0.9, 0.0]]), &[roi], &PostParams::default());
    assert_eq!(got.detections[0].rect, Rect { x1: 0.0, y1: 0.0, x2: 640.0, y2: 480.0 });
}

#[test]
fn suppression_is_per_class_and_the_threshold_is_exclusive() {
    let rois = [LEFT, NEAR_LEFT, RIGHT];
    let head = output(&[[0.6, 0.3], [0.7, 0.05], [0.05, 0.9]]);
    let got = run(&head, &rois, &PostParams::default());
    let found: Vec<(usize, f32)> = got.detections.iter().map(|d| (d.class_id, d.score)).collect();
    assert_eq!(found, [(2, 0.9), (1, 0.7), (2, 0.3)]);
}

#[test]
fn the_class_filter_applies_before_the_limit() {
    let head = output(&[[0.6, 0.3], [0.1, 0.8], [0.5, 0.2]]);
    let params = PostParams { classes: Some(vec![1]), max_detections: 2, ..PostParams::default() };
    let got = run(&head, &[LEFT, NEAR_LEFT, RIGHT], &params);
    let found: Vec<(usize, f32)> = got.detections.iter().map(|d| (d.class_id, d.score)).collect();
    assert_eq!(found, [(1, 0.6), (1, 0.5)]);
}

#[test]
fn the_limit_keeps_the_best_over_all_classes_and_ties_go_by_box_then_class() {
    let head = output(&[[0.4, 0.4], [0.0, 0.0], [0.4, 0.5]]);
    let params = PostParams { max_detections: 3, ..PostParams::default() };
    let got = run(&head, &[RIGHT, NEAR_LEFT, LEFT], &params);
    let found: Vec<(usize, f32, f32)> = got.detections.iter().map(|d| (d.class_id, d.score, d.rect.x1)).collect();
    assert_eq!(found, [(2, 0.5, 10.0), (1, 0.4, 10.0), (1, 0.4, 200.0)]);
}

#[test]
fn normalised_deltas_are_multiplied_back() {
    let mut head = output(&[[0.9, 0.0]]);
    head.deltas[4] = 1.0; // dx of class 1: 0.1 of 50 pixels
    let params = PostParams { normalisation: Some(BoxNormalisation::default()), ..PostParams::default() };
    let got = run(&head, &[LEFT], &params).detections[0].rect;
    assert!((got.x1 - 15.0).abs() < 1e-4 && (got.x2 - 66.0).abs() < 1e-4 && got.y1 == 10.0, "{got:?}");
}

#[test]
fn what_is_not_finite_is_left_out_and_counted() {
    let mut head = output(&[[0.9, 0.0], [0.8, 0.0], [0.7, 0.0], [0.6, 0.0]]);
    head.deltas[4] = f32::NAN;
    head.deltas[12 + 6] = f32::INFINITY; // dw: decoding limits it, the number is wrong all the same
    head.scores[2 * 3 + 1] = f32::NAN;
    let rois = [LEFT, RIGHT, NEAR_LEFT, BBox::new(20.0, 300.0, 90.0, 390.0)];
    let got = run(&head, &rois, &PostParams::default());
    assert_eq!((got.detections.len(), got.non_finite), (1, 3));
}

#[test]
fn nothing_in_gives_nothing_out() {
    assert_eq!(run(&output(&[]), &[], &PostParams::default()), Postprocessed::default());
}

proptest! {
    #[test]
    fn every_box_lies_inside_the_picture_and_is_not_empty(
        roi in prop::array::uniform4(-50.0f32..2000.0), d in prop::array::uniform4(-30.0f32..30.0),
        width in 1usize..1500, height in 1usize..1500, scale in 0.2f32..4.0,
    ) {
        let mut head = output(&[[0.9, 0.0]]);
        head.deltas[4..8].copy_from_slice(&d);
        let (x, y) = (roi[0].min(roi[2]), roi[1].min(roi[3]));
        let rois = [BBox::new(x, y, roi[0].max(roi[2]), roi[1].max(roi[3]))];
        let got = postprocess(&head, &rois, &PostParams::default(), PictureSize { width, height }, scale);
        prop_assert_eq!(got.detections.len(), 1);
        let r = got.detections[0].rect;
        prop_assert!(0.0 <= r.x1 && r.x1 < r.x2 && r.x2 <= width as f32, "{:?}", r);
        prop_assert!(0.0 <= r.y1 && r.y1 < r.y2 && r.y2 <= height as f32, "{:?}", r);
    }
}
