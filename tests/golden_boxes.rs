//! RoI pooling, suppression, delta coding, proposals and detections against numbers made by
//! `tests/python/golden_boxes.py` with torchvision and numpy.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use edge_rcnn::{
    boxes::{BBox, Rect, delta, nms},
    head::{BoxNormalisation, HeadOutput, MapView, PictureSize, PostParams, postprocess, roi_pool},
    proposals::{RpnParams, propose},
};
use serde::{Deserialize, de::DeserializeOwned};

fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
}

/// `noise` of the Python script: numbers in [-1, 1), exact in f32.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let hash = |i: u64| {
        let round = |i: u64| {
            let i = (i * 2_654_435_761) & 0xFFFF_FFFF;
            i ^ (i >> 15)
        };
        (round(round((i + seed * 1_000_003) & 0xFFFF_FFFF)) >> 8) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count as u64).map(|i| hash(i) as f32).collect()
}

fn scaled_noise(count: usize, seed: u64, factor: f32) -> Vec<f32> {
    noise(count, seed).into_iter().map(|v| v * factor).collect()
}

fn bbox(&[x1, y1, x2, y2]: &[f32; 4]) -> BBox {
    BBox::new(x1, y1, x2, y2)
}

fn assert_close(what: &str, i: usize, got: [f32; 4], want: [f32; 4], tolerance: f32) {
    let near = got.iter().zip(want).all(|(g, w)| (g - w).abs() <= tolerance);
    assert!(near, "{what} {i}: got {got:?}, want {want:?}");
}

#[derive(Deserialize)]
struct RoiPool {
    channels: usize,
    rows: usize,
    cols: usize,
    map_noise_seed: u64,
    spatial_scale: f32,
    names: Vec<String>,
    rois: Vec<[f32; 4]>,
    cases: Vec<RoiPoolCase>,
}

#[derive(Deserialize)]
struct RoiPoolCase {
    pool: usize,
    argmax: Vec<i32>,
}

#[test]
fn roi_pooling_picks_the_same_cells_as_torchvision() {
    let g: RoiPool = golden("roi_pool");
    let plane = g.rows * g.cols;
    let data = noise(g.channels * plane, g.map_noise_seed);
    let map = MapView { data: &data, channels: g.channels, rows: g.rows, cols: g.cols };
    let rois: Vec<BBox> = g.rois.iter().map(bbox).collect();
    for case in &g.cases {
        let bins = case.pool * case.pool;
        let (mut out, mut argmax, mut fast) = (Vec::new(), Vec::new(), Vec::new());
        roi_pool(map, &rois, g.spatial_scale, case.pool, &mut out, Some(&mut argmax));
        roi_pool(map, &rois, g.spatial_scale, case.pool, &mut fast, None);
        assert_eq!(argmax.len(), case.argmax.len());
        for (i, (&got, &want)) in argmax.iter().zip(&case.argmax).enumerate() {
            let (roi, channel, bin) = (i / bins / g.channels, i / bins % g.channels, i % bins);
            assert_eq!(got, want, "pool {}, \"{}\", channel {channel}, bin {bin}", case.pool, g.names[roi]);
            let value = if want < 0 { 0.0 } else { data[channel * plane + want as usize] };
            assert_eq!((out[i], fast[i]), (value, value), "pool {}, \"{}\"", case.pool, g.names[roi]);
        }
    }
}

#[derive(Deserialize)]
struct Nms {
    boxes: Vec<[f32; 4]>,
    score_noise_seed: u64,
    cases: Vec<NmsCase>,
}

#[derive(Deserialize)]
struct NmsCase {
    threshold: f32,
    kept: Vec<usize>,
}

#[test]
fn suppression_keeps_the_same_boxes_as_torchvision() {
    let g: Nms = golden("nms");
    let boxes: Vec<BBox> = g.boxes.iter().map(bbox).collect();
    let scores = noise(boxes.len(), g.score_noise_seed);
    for case in &g.cases {
        assert_eq!(nms(&boxes, &scores, case.threshold), case.kept, "threshold {}", case.threshold);
    }
}

#[derive(Deserialize)]
struct Deltas {
    reference: Vec<[f32; 4]>,
    target: Vec<[f32; 4]>,
    encoded: Vec<[f32; 4]>,
    given: Vec<[f32; 4]>,
    decoded: Vec<[f32; 4]>,
}

#[test]
fn deltas_are_coded_as_in_the_papers() {
    let g: Deltas = golden("deltas");
    for (i, reference) in g.reference.iter().map(bbox).enumerate() {
        assert_close("encoded", i, delta::encode(&reference, &bbox(&g.target[i])), g.encoded[i], 1e-5);
        let d = delta::decode(&reference, &g.given[i]);
        assert_close("decoded", i, [d.x1, d.y1, d.x2, d.y2], g.decoded[i], 1e-3);
    }
}

#[derive(Deserialize)]
struct Proposals {
    rows: usize,
    cols: usize,
    blob_height: usize,
    blob_width: usize,
    scale: f32,
    pre_nms: usize,
    post_nms: usize,
    nms: f32,
    min_size: f32,
    score_noise_seed: u64,
    score_factor: f32,
    delta_noise_seed: u64,
    delta_factor: f32,
    boxes: Vec<[f32; 4]>,
    scores: Vec<f32>,
}

#[test]
fn proposals_are_those_of_the_restated_proposal_layer() {
    let g: Proposals = golden("proposals");
    let cells = g.rows * g.cols;
    let scores = scaled_noise(18 * cells, g.score_noise_seed, g.score_factor);
    let deltas = scaled_noise(36 * cells, g.delta_noise_seed, g.delta_factor);
    let params = RpnParams {
        pre_nms: g.pre_nms,
        post_nms: g.post_nms,
        nms: g.nms,
        min_size: g.min_size,
        ..RpnParams::default()
    };
    let got = propose(&params, &scores, &deltas, g.rows, g.cols, g.blob_height, g.blob_width, g.scale);
    assert_eq!(got.len(), g.boxes.len());
    for (i, p) in got.iter().enumerate() {
        assert_close("proposal", i, [p.bbox.x1, p.bbox.y1, p.bbox.x2, p.bbox.y2], g.boxes[i], 1e-3);
        assert!((p.score - g.scores[i]).abs() < 1e-6, "score {i}: {}, want {}", p.score, g.scores[i]);
    }
}

#[derive(Deserialize)]
struct Detections {
    height: usize,
    width: usize,
    scale: f32,
    min_score: f32,
    nms: f32,
    max: usize,
    outputs: usize,
    rois: Vec<[f32; 4]>,
    scores: Vec<f32>,
    delta_noise_seed: u64,
    delta_factor: f32,
    stds: [f32; 4],
    found_class: Vec<usize>,
    found_score: Vec<f32>,
    found_rect: Vec<[f32; 4]>,
}

#[test]
fn detections_are_those_of_the_restated_test_loop() {
    let g: Detections = golden("detections");
    let rois: Vec<BBox> = g.rois.iter().map(bbox).collect();
    let deltas = scaled_noise(rois.len() * g.outputs * 4, g.delta_noise_seed, g.delta_factor);
    let output = HeadOutput { rois: rois.len(), outputs: g.outputs, scores: g.scores, deltas };
    let params = PostParams {
        min_score: g.min_score,
        nms: g.nms,
        max_detections: g.max,
        classes: None,
        normalisation: Some(BoxNormalisation { means: [0.0; 4], stds: g.stds }),
    };
    let size = PictureSize { width: g.width, height: g.height };
    let got = postprocess(&output, &rois, &params, size, g.scale).detections;
    let classes: Vec<usize> = got.iter().map(|d| d.class_id).collect();
    let scores: Vec<f32> = got.iter().map(|d| d.score).collect();
    assert_eq!((classes, scores), (g.found_class, g.found_score));
    for (i, (d, want)) in got.iter().zip(g.found_rect).enumerate() {
        let Rect { x1, y1, x2, y2 } = d.rect;
        assert_close("detection", i, [x1, y1, x2, y2], want, 1e-3);
    }
}
