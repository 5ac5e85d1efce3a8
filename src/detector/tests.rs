//! The whole composition on a small untrained model.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::model::{Bundle, Manifest, StorageType, Weights, arch::ZF_PLAIN};
use crate::proposals::{Dense, ProposalFile};

fn bundle(has_rpn: bool) -> Bundle {
    let classes = ["cat", "dog", "sheep"].map(String::from).to_vec();
    let anchors = has_rpn.then_some(9);
    let weights = Weights::he_random(&ZF_PLAIN, classes.len(), anchors, Some(4), 11);
    let mut manifest = Manifest::new("test", &ZF_PLAIN, classes);
    (manifest.input.short_side, manifest.input.long_max) = (96, 160);
    Bundle::from_weights(&ZF_PLAIN, &weights, manifest, StorageType::F32).unwrap()
}

fn few() -> DetectorOptions {
    DetectorOptions { proposals: Some(20), threads: Some(2), ..DetectorOptions::default() }
}

fn picture(width: usize, height: usize) -> Picture {
    let pixel = |i: usize| ((i * 2_654_435_761) >> 7) as u8;
    Picture { width, height, rgb: (0..3 * width * height).map(pixel).collect() }
}

/// Everything about a result but the times.
fn found(detected: &Detected) -> (&[Detection], (usize, usize), usize, usize) {
    (&detected.detections, detected.input, detected.proposals, detected.non_finite)
}

#[test]
fn a_picture_goes_through_all_stages_and_each_is_timed() {
    let mut detector = Detector::new(bundle(true), few()).unwrap();
    let picture = picture(200, 150);
    let got = detector.detect(&picture).unwrap();
    assert_eq!((got.input, got.non_finite), ((96, 128), 0));
    assert!((1..=20).contains(&got.proposals), "{}", got.proposals);
    assert!(!got.detections.is_empty());
    assert!(got.detections.windows(2).all(|w| w[0].score >= w[1].score));
    for d in &got.detections {
        assert!((1..=3).contains(&d.class_id) && d.score > 0.05 && d.score <= 1.0, "{d:?}");
        assert!(0.0 <= d.rect.x1 && d.rect.x1 < d.rect.x2 && d.rect.x2 <= 200.0, "{d:?}");
        assert!(0.0 <= d.rect.y1 && d.rect.y1 < d.rect.y2 && d.rect.y2 <= 150.0, "{d:?}");
        assert!(["cat", "dog", "sheep"].contains(&detector.label(d.class_id)));
    }
    assert!(got.timings.named().iter().all(|(_, ms)| *ms > 0.0), "{:?}", got.timings);
    assert!((got.timings.total() - got.timings.named().iter().map(|(_, ms)| ms).sum::<f64>()).abs() < 1e-9);
}

#[test]
fn the_same_picture_gives_the_same_detections_whatever_came_between() {
    let mut detector = Detector::new(bundle(true), few()).unwrap();
    let (a, b) = (picture(200, 150), picture(90, 160));
    let first = detector.detect(&a).unwrap();
    detector.detect(&b).unwrap();
    assert_eq!(found(&detector.detect(&a).unwrap()), found(&first));
}

#[test]
fn a_detector_can_move_to_another_thread() {
    fn movable<T: Send>() {}
    movable::<Detector>();
}

#[test]
fn pictures_of_one_colour_and_of_one_pixel_are_no_error() {
    let mut detector = Detector::new(bundle(true), few()).unwrap();
    for (width, height) in [(1, 1), (2, 1), (1, 900), (3000, 2), (16, 16)] {
        let black = Picture { width, height, rgb: vec![0; 3 * width * height] };
        detector.warm_up(width, height).unwrap();
        let got = detector.detect(&black).unwrap();
        assert!(got.detections.iter().all(|d| d.rect.x2 <= width as f32 && d.rect.y2 <= height as f32));
    }
    let thin = detector.detect(&picture(3000, 2)).unwrap();
    assert_eq!((thin.detections.len(), thin.proposals), (0, 0));
    let wrong = Picture { width: 4, height: 4, rgb: vec![0; 5] };
    assert!(matches!(detector.detect(&wrong), Err(DetectorError::Picture { bytes: 5, .. })));
}

#[test]
fn a_bundle_without_rpn_needs_a_source_and_works_with_each() {
    let refused = Detector::new(bundle(false), few()).err().unwrap().to_string();
    assert!(refused.contains("another proposal source"), "{refused}");
    let mut dense = Detector::with_source(bundle(false), few(), Box::new(Dense::default())).unwrap();
    assert_eq!(dense.proposal_source(), "dense");
    assert_eq!(dense.detect(&picture(200, 150)).unwrap().proposals, 20);

    let lines: &[u8] = b"{\"image\":\"a\",\"boxes\":[[10,10,100,90],[0,0,200,150],[50,20,190,140]]}";
    let file = ProposalFile::read(lines, "boxes.jsonl".into(), 2000).unwrap();
    let mut from_file = Detector::with_source(bundle(false), few(), Box::new(file)).unwrap();
    assert_eq!(from_file.detect_named(&picture(200, 150), Some("a")).unwrap().proposals, 3);
    let e = from_file.detect_named(&picture(200, 150), Some("b")).unwrap_err().to_string();
    assert!(e.contains("boxes.jsonl") && e.contains("\"b\""), "{e}");
    let e = from_file.detect(&picture(200, 150)).unwrap_err().to_string();
    assert!(e.contains("name of the picture"), "{e}");
}

#[test]
fn options_change_what_is_reported() {
    let run = |options: DetectorOptions| {
        let mut detector = Detector::new(bundle(true), DetectorOptions { proposals: Some(20), ..options }).unwrap();
        detector.detect(&picture(200, 150)).unwrap()
    };
    let all = run(DetectorOptions::default());
    let class = all.detections[0].class_id;
    let name = ["cat", "dog", "sheep"][class - 1].to_owned();
    let one = run(DetectorOptions { classes: Some(vec![name]), ..DetectorOptions::default() });
    let expected: Vec<Detection> = all.detections.iter().copied().filter(|d| d.class_id == class).collect();
    assert_eq!(one.detections, expected);
    let top = run(DetectorOptions { max_detections: Some(1), ..DetectorOptions::default() });
    assert_eq!(top.detections, all.detections[..1]);
    let threshold = all.detections[0].score;
    let none = run(DetectorOptions { min_score: Some(threshold), ..DetectorOptions::default() });
    assert!(none.detections.iter().all(|d| d.score > threshold));
    let large = run(DetectorOptions { short_side: Some(192), ..DetectorOptions::default() });
    assert_eq!(large.input, (192, 256));
}

#[test]
fn scale_and_proposals_can_change_between_pictures() {
    let mut detector = Detector::new(bundle(true), few()).unwrap();
    let picture = picture(200, 150);
    detector.set_proposals(5);
    detector.set_scaling(Scaling { short: 64, long_max: 300 });
    let got = detector.detect(&picture).unwrap();
    assert_eq!(got.input, (64, 85));
    assert!(got.proposals <= 5);
}

#[test]
fn wrong_options_are_refused_by_name() {
    let said = |options: DetectorOptions| Detector::new(bundle(true), options).err().unwrap().to_string();
    let default = DetectorOptions::default;
    let text = said(DetectorOptions { classes: Some(vec!["shep".into()]), ..default() });
    assert!(text.contains("did you mean \"sheep\"") && text.contains("cat, dog, sheep"), "{text}");
    assert!(said(DetectorOptions { nms: Some(f32::NAN), ..default() }).contains("nms = NaN"));
    assert!(said(DetectorOptions { precision: Precision::Int8, ..default() }).contains("edge-rcnn calibrate"));
    assert!(said(DetectorOptions { min_score: Some(1.5), ..default() }).contains("min score = 1.5"));
    assert!(said(DetectorOptions { short_side: Some(3), ..default() }).contains("short side = 3"));
    assert!(said(DetectorOptions { long_max: Some(50), ..default() }).contains("long side = 50"));
    assert!(said(DetectorOptions { proposals: Some(0), ..default() }).contains("proposals = 0"));
    assert!(said(DetectorOptions { threads: Some(1025), ..default() }).contains("threads = 1025"));
}
