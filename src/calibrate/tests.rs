//! Small random networks, calibrated and compared with themselves.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::detector::{Detector, DetectorOptions, Precision};
use crate::kernels::{Kernels, int8::Dot};
use crate::model::arch::{CAFFENET, ZF, ZF_PLAIN};
use crate::model::{Manifest, StorageType, Weights};
use crate::trunk::{QuantTrunk, Trunk};

fn picture() -> Picture {
    let rgb = (0..120 * 90 * 3).map(|i| ((i * 31 + i / 360 * 17) % 251) as u8).collect();
    Picture::new(120, 90, rgb).unwrap()
}

fn real(network: &Architecture) -> Bundle {
    let mut weights = Weights::he_random(network, 2, Some(9), Some(16), 17);
    // Pixels are in the hundreds; everything after conv1 is to be of the order of 1, as in a trained network.
    weights.0.get_mut("conv1.weight").unwrap().data.iter_mut().for_each(|w| *w /= 100.0);
    let mut manifest = Manifest::new("test", network, vec!["cat".into(), "dog".into()]);
    (manifest.input.short_side, manifest.input.long_max) = (90, 120);
    Bundle::from_weights(network, &weights, manifest, StorageType::F32).unwrap()
}

fn quantized(real: &Bundle) -> Bundle {
    let mut calibrator = Calibrator::new(real, 1).unwrap();
    calibrator.see(&picture()).unwrap();
    calibrator.quantized(real, Method::MinMax, true, "none").unwrap()
}

/// Root of the mean square of the difference over that of the values.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let apart = square(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    (apart / square(&mut b.iter().map(|v| f64::from(*v)))).sqrt()
}

#[test]
fn a_trunk_in_8_bits_is_near_the_real_one_with_lrn_and_groups_too() {
    for network in [&ZF_PLAIN, &ZF, &CAFFENET] {
        let real = real(network);
        let int8 = quantized(&real);
        let mut blob = Blob::default();
        preprocess(&picture(), Scaling { short: 90, long_max: 120 }, crate::model::MEAN_BGR, &mut blob);
        let want = Trunk::new(&real, 1).unwrap().run(&blob).unwrap();
        let (numbers, flow) = (int8.quantized().unwrap().unwrap(), int8.dataflow().unwrap());
        let run = |dot| QuantTrunk::new(network, &numbers, &flow, dot, Kernels::scalar()).unwrap().run(&blob).unwrap();
        let got = run(Dot::scalar());
        assert_eq!((got.rows, got.cols, got.channels), (want.rows, want.cols, want.channels));
        let ((scores, deltas), (want_scores, want_deltas)) = (got.rpn.as_ref().unwrap(), want.rpn.as_ref().unwrap());
        let maps = [(&got.conv5, &want.conv5), (scores, want_scores), (deltas, want_deltas)];
        let apart = maps.map(|(got, want)| difference(got, want));
        assert!(apart.iter().all(|d| *d < 0.04), "{}: {apart:?}", network.name);
        for dot in Dot::available() {
            assert_eq!(run(dot), got, "{} with {}", network.name, dot.name());
        }
    }
}

#[test]
fn ranges_hold_what_was_seen_and_the_bundle_says_how() {
    let real = real(&ZF_PLAIN);
    let mut calibrator = Calibrator::new(&real, 1).unwrap();
    assert!(matches!(calibrator.quantized(&real, Method::Mse, false, "x"), Err(CalibrateError::NoPictures)));
    calibrator.see(&picture()).unwrap();
    let ranges = calibrator.ranges(Method::MinMax);
    let names: Vec<&str> = ranges.keys().map(String::as_str).collect();
    assert_eq!(
        names.join(" "),
        "conv3.relu conv4.relu conv5 fc6.relu fc6_v.sum fc7.relu fc7_v.sum pool1 pool2 rpn_conv.relu"
    );
    let mut blob = Blob::default();
    preprocess(&picture(), Scaling { short: 90, long_max: 120 }, crate::model::MEAN_BGR, &mut blob);
    let conv5 = Trunk::new(&real, 1).unwrap().run(&blob).unwrap().conv5;
    assert_eq!(ranges["conv5"], conv5.iter().copied().fold(0.0, f32::max));
    let mean = conv5.iter().map(|v| f64::from(*v)).sum::<f64>() / conv5.len() as f64;
    let means = &calibrator.means()["conv5"];
    assert!((means.iter().sum::<f64>() / means.len() as f64 - mean).abs() < 1e-6 * mean);

    let bundle = calibrator.quantized(&real, Method::Percentile(99.9), true, "abc").unwrap();
    let how = bundle.manifest.quantization.as_ref().unwrap();
    assert_eq!((how.method.as_str(), how.images, how.bias_correction), ("percentile:99.9", 1, true));
    assert!(matches!(Calibrator::new(&bundle, 1), Err(CalibrateError::Quantized)));
}

#[test]
fn a_detector_in_8_bits_sees_what_the_real_one_sees() {
    let real = real(&ZF_PLAIN);
    let int8 = quantized(&real);
    let options = || DetectorOptions { threads: Some(1), min_score: Some(0.0), ..DetectorOptions::default() };
    let integers = || DetectorOptions { precision: Precision::Int8, ..options() };
    let mut small = Detector::new(int8.clone(), integers()).unwrap();
    let found = small.detect(&picture()).unwrap();
    assert!(small.kernels().starts_with("int8-"));
    assert!(!found.detections.is_empty() && found.non_finite == 0);
    let scalar = DetectorOptions { kernels: Some("scalar".into()), ..integers() };
    let again = Detector::new(int8.clone(), scalar).unwrap().detect(&picture()).unwrap();
    assert_eq!(again.detections, found.detections);
    let want = Detector::new(real.clone(), options()).unwrap().detect(&picture()).unwrap();
    assert!((found.detections[0].score - want.detections[0].score).abs() < 0.05);

    // The same weights in real numbers, which is what slower kernels than the best take unless asked otherwise.
    let real_numbers = DetectorOptions { precision: Precision::F32, ..options() };
    let mut large = Detector::new(int8.clone(), real_numbers).unwrap();
    assert_eq!(large.kernels(), Kernels::best().name());
    let seen = large.detect(&picture()).unwrap();
    assert!((seen.detections[0].score - want.detections[0].score).abs() < 0.05);
    let scalar = DetectorOptions { kernels: Some("scalar".into()), ..options() };
    let detector = Detector::new(int8, scalar).unwrap();
    assert_eq!(detector.kernels(), "scalar");
    let refused = Detector::new(real, integers()).err().unwrap().to_string();
    assert!(refused.contains("edge-rcnn calibrate"), "{refused}");
}

#[test]
fn a_sliver_of_a_picture_is_refused_by_its_size() {
    let mut calibrator = Calibrator::new(&real(&ZF_PLAIN), 1).unwrap();
    let sliver = Picture::new(120, 2, vec![9; 120 * 2 * 3]).unwrap();
    assert!(matches!(calibrator.see(&sliver), Err(CalibrateError::TooSmall { .. })));
}
