//! A frame takes no memory, in 8 bits as in real numbers, from the picture to the list of what was found.
#![allow(clippy::unwrap_used)]

use std::alloc::System;

use edge_rcnn::calibrate::{Calibrator, Method};
use edge_rcnn::detector::{Detected, Detector, DetectorOptions, Precision};
use edge_rcnn::frame::Picture;
use edge_rcnn::model::arch::{VGG_CNN_M_1024, ZF, ZF_PLAIN};
use edge_rcnn::model::{Bundle, Manifest, StorageType, Weights};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn picture(width: usize, height: usize) -> Picture {
    let rgb = (0..3 * width * height).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect();
    Picture::new(width, height, rgb).unwrap()
}

const FRAMES: usize = 20;

/// Allocations of frames, after some to warm up.
fn allocations(bundle: Bundle, precision: Precision, pictures: &[Picture]) -> usize {
    let options = DetectorOptions { threads: Some(2), min_score: Some(0.01), precision, ..DetectorOptions::default() };
    let mut detector = Detector::new(bundle, options).unwrap();
    let (mut detected, mut found) = (Detected::default(), 0);
    let mut look = |picture: &Picture| {
        detector.detect_into(picture, &mut detected).unwrap();
        found += detected.detections.len();
    };
    pictures.iter().cycle().take(6).for_each(&mut look);
    let region = Region::new(MEMORY);
    pictures.iter().cycle().take(FRAMES).for_each(look);
    let change = region.change();
    assert!(found > 0, "nothing found: the test would see no list");
    change.allocations + change.reallocations
}

#[test]
fn a_frame_takes_no_memory() {
    // With an LRN within a channel, across channels and without.
    for network in [&ZF_PLAIN, &ZF, &VGG_CNN_M_1024] {
        let classes = ["cat", "dog"].map(String::from).to_vec();
        let mut weights = Weights::he_random(network, classes.len(), Some(9), Some(8), 17);
        weights.0.get_mut("conv1.weight").unwrap().data.iter_mut().for_each(|w| *w /= 100.0);
        let mut manifest = Manifest::new("test", network, classes);
        (manifest.input.short_side, manifest.input.long_max) = (96, 160);
        let real = Bundle::from_weights(network, &weights, manifest, StorageType::F32).unwrap();
        let mut calibrator = Calibrator::new(&real, 1).unwrap();
        calibrator.see(&picture(120, 90)).unwrap();
        let int8 = calibrator.quantized(&real, Method::MinMax, false, "none").unwrap();

        let pictures = [picture(200, 150), picture(96, 160)];
        assert_eq!(allocations(int8, Precision::Int8, &pictures), 0, "{} in 8 bits", network.name);
        // Of real numbers only the maps of the last size are kept.
        assert_eq!(allocations(real, Precision::F32, &pictures[..1]), 0, "{} in real numbers", network.name);
    }
}
