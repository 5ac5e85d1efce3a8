//! The network on a GPU against the same network on the processor. Without a GPU the comparisons are skipped, and say why;
//! what is said to somebody who asks for one is tested everywhere.
//!
//! `tests/cuda.sh` runs this program on a machine that has a GPU and nothing to build with, so it reads what it needs from the
//! folder it is started in.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::Path;

use edge_rcnn::boxes::{BBox, Rect};
use edge_rcnn::cuda::{CudaError, Gpu};
use edge_rcnn::detector::{Detected, Detection, Detector, DetectorOptions, Precision};
use edge_rcnn::frame::Picture;
use edge_rcnn::head::{Head, HeadOutput, MapView, roi_pool};
use edge_rcnn::kernels::{Kernels, Team};
use edge_rcnn::model::arch::{ALL, FEATURE_STRIDE, VGG16, ZF, ZF_PLAIN};
use edge_rcnn::model::{Architecture, Bundle, Manifest, StorageType, Weights};
use edge_rcnn::trunk::Trunk;

/// Relative to the largest number: in f32, and with TF32.
const F32: f32 = 1e-4;
const TF32: f32 = 1e-2;

/// Pixels are in the hundreds; from the second convolution on numbers are to be about 1, as in a trained network.
fn bundle(network: &'static Architecture, rank: Option<usize>) -> Bundle {
    let classes: Vec<String> = (1..=20).map(|i| format!("class {i}")).collect();
    let mut weights = Weights::he_random(network, classes.len(), Some(9), rank, 5);
    let second = network.convs()[1].name;
    weights.0.get_mut(&format!("{second}.weight")).unwrap().data.iter_mut().for_each(|w| *w /= 60.0);
    let manifest = Manifest::new(network.name, network, classes);
    Bundle::from_weights(network, &weights, manifest, StorageType::F32).unwrap()
}

/// Whether there is a GPU; without one, a line says why the calling test is skipped.
fn gpu_for(test: &str) -> bool {
    match Gpu::new(&bundle(&ZF_PLAIN, Some(1)), 0, false) {
        Ok(_) => true,
        Err(reason @ (CudaError::Library { .. } | CudaError::NoGpu { .. })) => {
            let _ = writeln!(std::io::stderr(), "{test}: SKIPPED: {reason}");
            false
        }
        Err(other) => panic!("{other}"),
    }
}

fn pixels(rows: usize, cols: usize) -> Vec<f32> {
    let pixel = |i: usize| ((i * 2_654_435_761) >> 9 & 255) as f32 - 115.0;
    (0..3 * rows * cols).map(pixel).collect()
}

fn assert_close(what: &str, got: &[f32], want: &[f32], bound: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).enumerate();
    let (at, error) = worst.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    println!("{what}: {:.1e} of the largest, {largest:.3}", error / largest);
    assert!(error <= bound * largest, "{what} [{at}]: {}, want {}, of {largest}", got[at], want[at]);
}

/// Also boxes that no network makes: reversed, outside of the map, of one pixel, on the halves where rounding decides.
fn boxes(rows: usize, cols: usize) -> Vec<BBox> {
    let (w, h) = (cols as f32, rows as f32);
    let mut boxes: Vec<BBox> = [
        (0.0, 0.0, w - 1.0, h - 1.0),
        (8.0, 24.0, 40.0, 56.0),
        (-40.0, -30.0, 10.0, 12.0),
        (w - 20.0, h - 20.0, w + 90.0, h + 90.0),
        (60.0, 50.0, 20.0, 10.0),
        (33.0, 47.0, 33.0, 47.0),
        (-900.0, -900.0, -500.0, -500.0),
        (-1e9, -1e9, 1e9, 1e9),
    ]
    .map(|(x1, y1, x2, y2)| BBox { x1, y1, x2, y2 })
    .into();
    for i in 0..40usize {
        let at = |k: usize, len: f32| (i * k % 97) as f32 / 97.0 * len;
        let (x1, y1) = (at(31, w), at(57, h));
        boxes.push(BBox { x1, y1, x2: x1 + at(13, w), y2: y1 + at(71, h) });
    }
    boxes
}

#[test]
fn maps_pooled_boxes_and_outputs_are_those_of_the_processor_for_every_network_and_size() {
    const NAME: &str = "maps_pooled_boxes_and_outputs_are_those_of_the_processor_for_every_network_and_size";
    if !gpu_for(NAME) {
        return;
    }
    let team = Team::new(std::thread::available_parallelism().map_or(1, usize::from)).unwrap();
    for network in ALL {
        // Whole layers once, pairs for the rest.
        let bundle = bundle(network, if *network == &ZF { None } else { Some(24) });
        let mut gpu = Gpu::new(&bundle, 0, false).unwrap();
        let trunk = Trunk::with_kernels(&bundle, &team, Some(Kernels::best())).unwrap();
        let mut head = Head::new(&bundle).unwrap();
        // The last again, and one that is smaller than a window of M.
        for (rows, cols) in [(97, 131), (160, 96), (240, 400), (20, 300), (97, 131)] {
            let what = |part| format!("{} {rows}×{cols} {part}", network.name);
            let data = pixels(rows, cols);
            gpu.trunk(&data, rows, cols).unwrap();
            let (got, want) = (gpu.maps().unwrap(), trunk.run_planar(&data, rows, cols).unwrap());
            assert_eq!((got.rows, got.cols, got.channels), (want.rows, want.cols, want.channels), "{}", what(""));
            assert_close(&what("conv5"), &got.conv5, &want.conv5, F32);
            let (got_rpn, want_rpn) = (got.rpn.as_ref().unwrap(), want.rpn.as_ref().unwrap());
            assert_close(&what("scores of the RPN"), &got_rpn.0, &want_rpn.0, F32);
            assert_close(&what("deltas of the RPN"), &got_rpn.1, &want_rpn.1, F32);

            let rois = boxes(rows, cols);
            gpu.pool(&rois).unwrap();
            let map = MapView { data: &got.conv5_planes(), channels: got.channels, rows: got.rows, cols: got.cols };
            let mut pooled = Vec::new();
            roi_pool(map, &rois, 1.0 / FEATURE_STRIDE as f32, network.pool_size, &mut pooled, None);
            assert!(gpu.pooled().unwrap() == pooled, "{}: the same bits", what("pooled"));

            let mut out = HeadOutput::default();
            gpu.head(&mut out).unwrap();
            let want = head.run(&pooled, rois.len()).unwrap();
            assert_eq!((out.rois, out.outputs), (want.rois, want.outputs));
            assert_close(&what("scores"), &out.scores, &want.scores, F32);
            assert_close(&what("deltas"), &out.deltas, &want.deltas, F32);
        }
        // No boxes, no outputs.
        gpu.pool(&[]).unwrap();
        let mut out = HeadOutput::default();
        gpu.head(&mut out).unwrap();
        assert_eq!((out.rois, out.scores.len(), out.deltas.len()), (0, 0, 0));
    }
}

#[test]
fn tf32_is_near_and_is_said() {
    if !gpu_for("tf32_is_near_and_is_said") {
        return;
    }
    let bundle = bundle(&ZF_PLAIN, Some(24));
    let (data, rows, cols) = (pixels(160, 240), 160, 240);
    let mut exact = Gpu::new(&bundle, 0, false).unwrap();
    let mut rounded = Gpu::new(&bundle, 0, true).unwrap();
    assert_eq!((exact.kernels(), rounded.kernels()), ("cuda", "cuda-tf32"));
    exact.trunk(&data, rows, cols).unwrap();
    rounded.trunk(&data, rows, cols).unwrap();
    assert_close("tf32 conv5", &rounded.maps().unwrap().conv5, &exact.maps().unwrap().conv5, TF32);
}

/// The model that is shipped, in f32.
fn shipped() -> Bundle {
    Bundle::load(Path::new("models/zf-voc")).unwrap()
}

fn options(kernels: &str) -> DetectorOptions {
    DetectorOptions { kernels: Some(kernels.into()), ..DetectorOptions::default() }
}

/// Everything that scores well in one is in the other.
fn assert_same(what: &str, got: &Detected, want: &Detected) {
    assert_eq!(got.input, want.input, "{what}");
    for (these, those) in [(got, want), (want, got)] {
        for d in these.detections.iter().filter(|d| d.score > 0.1) {
            let near = |o: &Detection| {
                let corners = |r: &Rect| [r.x1, r.y1, r.x2, r.y2];
                let far = corners(&o.rect).iter().zip(corners(&d.rect)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                o.class_id == d.class_id && (o.score - d.score).abs() < 1e-3 && far < 0.2
            };
            assert!(those.detections.iter().any(near), "{what}: {d:?} in {:?}", those.detections);
        }
    }
}

#[test]
fn a_picture_gives_the_same_detections_at_every_scale() {
    if !gpu_for("a_picture_gives_the_same_detections_at_every_scale") {
        return;
    }
    let picture = Picture::open(Path::new("models/zf-voc/sample.jpg")).unwrap();
    let mut on_gpu = Detector::new(shipped(), options("cuda")).unwrap();
    let mut here = Detector::new(shipped(), options("auto")).unwrap();
    assert_eq!((on_gpu.kernels(), on_gpu.gpu().is_some(), here.gpu()), ("cuda", true, None));
    let mut scaling = here.scaling();
    for short in [600, 300, 480, 600] {
        scaling.short = short;
        on_gpu.set_scaling(scaling);
        here.set_scaling(scaling);
        let (got, want) = (on_gpu.detect(&picture).unwrap(), here.detect(&picture).unwrap());
        println!("scale {short}: {} detections, {} here", got.detections.len(), want.detections.len());
        assert!(want.detections.iter().any(|d| d.score > 0.5));
        assert_same(&format!("scale {short}"), &got, &want);
        assert!(got.timings.named().iter().all(|(_, ms)| *ms > 0.0), "{:?}", got.timings);
    }
    // The same detector again gives the same bits, and a thin picture holds nothing.
    let again = on_gpu.detect(&picture).unwrap();
    assert_eq!(on_gpu.detect(&picture).unwrap().detections, again.detections);
    let thin = Picture { width: 3000, height: 2, rgb: vec![9; 18000] };
    assert_eq!(on_gpu.detect(&thin).unwrap().proposals, 0);
    let layers = on_gpu.layer_times(&picture).unwrap();
    let names: Vec<&str> = layers.iter().map(|l| l.node.as_str()).collect();
    assert!(names.starts_with(&["upload", "conv1", "pool1"]) && names.ends_with(&["rpn_bbox_pred"]), "{names:?}");
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() {
    let refused = |kernels: &str, precision, bundle: Bundle| {
        let options = DetectorOptions { precision, ..options(kernels) };
        Detector::new(bundle, options).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let small = || bundle(&ZF_PLAIN, Some(4));
    for wrong in ["cuda:", "cuda:x", "cuda1", "cuda:-1"] {
        let said = refused(wrong, Precision::Auto, small());
        assert!(said.contains(wrong) && said.contains("cuda:N"), "{said}");
    }
    let said = refused("cuda", Precision::Bf16, small());
    assert!(said.contains("bf16") && said.contains("use f32"), "{said}");
    let said = refused("auto", Precision::Tf32, small());
    assert!(said.contains("tf32") && said.contains("--kernels cuda"), "{said}");
    let said = refused("cuda:4096", Precision::F32, small());
    let reasons = ["libcuda.so.1", "pip install", "nvidia-smi", "cuda:4096: this machine has"];
    assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
    println!("{said}");
    let folder = Path::new("models/zf-voc-int8");
    if !folder.exists() {
        println!("{} was not brought along: what is said about models in 8 bits is not looked at", folder.display());
        return;
    }
    let int8 = || Bundle::load(folder).unwrap();
    for precision in [Precision::Auto, Precision::Int8] {
        let said = refused("cuda", precision, int8());
        assert!(said.contains("--model models/zf-voc") && said.contains("--precision f32"), "{said}");
    }
}

/// Not a comparison but figures; `tests/cuda.sh` asks for them.
#[test]
#[ignore = "figures of a GPU, which tests/cuda.sh asks for"]
fn frames_of_seeded_networks_take() {
    for network in [&ZF, &VGG16] {
        let bundle = bundle(network, None);
        for (kernels, precision) in [("cuda", Precision::F32), ("cuda", Precision::Tf32)] {
            let options = DetectorOptions { precision, ..options(kernels) };
            let mut detector = Detector::new(bundle.clone(), options).expect("a GPU");
            let (width, height) = (1000, 600);
            let pixel = |i: usize| (i / 3 % width * (i / 3 / width) / 64 % 200 + i % 3 * 20) as u8;
            let picture = Picture { width, height, rgb: (0..3 * width * height).map(pixel).collect() };
            let mut frames: Vec<Detected> = (0..33).map(|_| detector.detect(&picture).unwrap()).collect();
            frames.drain(..3);
            let median = |of: &dyn Fn(&Detected) -> f64| {
                let mut all: Vec<f64> = frames.iter().map(of).collect();
                all.sort_unstable_by(f64::total_cmp);
                all[all.len() / 2]
            };
            let total = median(&|f| f.timings.total());
            let (rows, cols) = frames[0].input;
            println!(
                "\n{} (seeded) on {} ({}), {rows}×{cols}, {} proposals, p50 of {} frames: {total:.2} ms, {:.1} frames/s",
                network.name,
                detector.gpu().unwrap(),
                detector.kernels(),
                frames[0].proposals,
                frames.len(),
                1e3 / total
            );
            for (i, (stage, _)) in frames[0].timings.named().into_iter().enumerate() {
                println!("{stage:<14}{:>9.3} ms", median(&|f| f.timings.named()[i].1));
            }
        }
    }
}
