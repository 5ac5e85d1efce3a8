//! Time of each stage after the trunk, of one core, at the paper's size: ZF, a 600×1000 frame (39×64 map), 300 RoIs, 20 classes.
//!
//! `cargo bench --bench stages`; `edge-rcnn bench` shows them on several threads. The RPN's maps are smooth waves, so that
//! boxes overlap about as much as a network's do: with white noise nearly nothing is suppressed and the stage ends early.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use edge_rcnn::{
    boxes::{BBox, nms_sorted},
    head::{Head, HeadOutput, MapView, PictureSize, PostParams, RoiPooler, postprocess, roi_pool},
    model::{Tensor, Weights},
    proposals::{ProposeScratch, RpnMaps, RpnParams, propose_into},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

const ROWS: usize = 39;
const COLS: usize = 64;
const CHANNELS: usize = 256;
const OUTPUTS: usize = 21;
const STRIDE: f32 = 1.0 / 16.0;

fn noise(len: usize, seed: u64, size: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-size..size)).collect()
}

/// Planes in which neighbouring cells are alike, with bumps a few cells wide.
fn smooth(planes: usize, seed: u64, size: f32) -> Vec<f32> {
    let waves = noise(planes * 4, seed, 1.0);
    let mut out = Vec::with_capacity(planes * ROWS * COLS);
    for w in waves.chunks_exact(4) {
        for row in 0..ROWS {
            for col in 0..COLS {
                let (x, y) = (col as f32 * (0.2 + 0.2 * w[0].abs()), row as f32 * (0.2 + 0.2 * w[1].abs()));
                out.push(size * (x + 3.0 * w[2]).sin() * (y + 3.0 * w[3]).cos());
            }
        }
    }
    out
}

fn rpn_maps() -> (Vec<f32>, Vec<f32>) {
    (smooth(18, 1, 3.0), smooth(36, 2, 0.3))
}

fn proposals(params: &RpnParams) -> Vec<BBox> {
    let (scores, deltas) = rpn_maps();
    let maps = RpnMaps { scores: &scores, deltas: &deltas, rows: ROWS, cols: COLS };
    let mut out = Vec::new();
    propose_into(params, &maps, (600, 1000), 1.6, &mut ProposeScratch::default(), &mut out).unwrap();
    out.iter().map(|p| p.bbox).collect()
}

fn random_boxes(count: usize) -> Vec<BBox> {
    let corners = noise(4 * count, 3, 1.0);
    let place = |c: &[f32]| {
        let (x, y, w, h) = (450.0 + 440.0 * c[0], 250.0 + 240.0 * c[1], 160.0 + 120.0 * c[2], 160.0 + 120.0 * c[3]);
        BBox::new(x, y, x + w, y + h).clip(1000.0, 600.0)
    };
    corners.chunks_exact(4).map(place).collect()
}

fn boxes_and_proposals(c: &mut Criterion) {
    let (scores, deltas) = rpn_maps();
    let maps = RpnMaps { scores: &scores, deltas: &deltas, rows: ROWS, cols: COLS };
    let (mut scratch, mut out) = (ProposeScratch::default(), Vec::new());
    for (name, params) in [("proposals", RpnParams::default()), ("proposals_training", RpnParams::training())] {
        c.bench_function(name, |b| {
            b.iter(|| propose_into(&params, black_box(&maps), (600, 1000), 1.6, &mut scratch, &mut out).unwrap());
        });
        println!("{name}: {} boxes", out.len());
    }
    let boxes = random_boxes(6000);
    c.bench_function("nms_6000_keep_300", |b| b.iter(|| nms_sorted(black_box(&boxes), 0.7, 300)));
    c.bench_function("nms_6000_keep_all", |b| b.iter(|| nms_sorted(black_box(&boxes), 0.7, usize::MAX)));
}

/// RoIs as the RPN gives them, topped up to 300.
fn rois() -> Vec<BBox> {
    let mut rois = proposals(&RpnParams::default());
    rois.extend(random_boxes(300 - rois.len().min(300)));
    rois
}

fn pooling(c: &mut Criterion) {
    let data = noise(CHANNELS * ROWS * COLS, 4, 1.0);
    let map = MapView { data: &data, channels: CHANNELS, rows: ROWS, cols: COLS };
    let (rois, mut pooler) = (rois(), RoiPooler::default());
    let cells: f32 = rois.iter().map(|r| r.area() * STRIDE * STRIDE).sum::<f32>() / rois.len() as f32;
    println!("RoIs cover {cells:.0} cells of the map on average");
    let (mut out, mut argmax) = (Vec::new(), Vec::new());
    c.bench_function("roi_pool_300", |b| b.iter(|| pooler.pool(black_box(map), &rois, STRIDE, 6, &mut out)));
    c.bench_function("roi_pool_300_argmax", |b| {
        b.iter(|| roi_pool(black_box(map), &rois, STRIDE, 6, &mut out, Some(&mut argmax)));
    });
}

fn layer(w: &mut Weights, name: &str, outputs: usize, inputs: usize, bias: bool) {
    let weight = Tensor::new(vec![outputs, inputs], noise(outputs * inputs, 5, 0.02)).unwrap();
    w.insert(format!("{name}.weight"), weight);
    if bias {
        w.insert(format!("{name}.bias"), Tensor::new(vec![outputs], vec![0.0; outputs]).unwrap());
    }
}

fn heads(c: &mut Criterion) {
    let inputs = CHANNELS * 36;
    let mut outer = Weights::default();
    layer(&mut outer, "cls_score", OUTPUTS, 4096, true);
    layer(&mut outer, "bbox_pred", 4 * OUTPUTS, 4096, true);
    let (mut whole, mut pairs) = (outer.clone(), outer);
    layer(&mut whole, "fc6", 4096, inputs, true);
    layer(&mut whole, "fc7", 4096, 4096, true);
    layer(&mut pairs, "fc6_v", 1024, inputs, false);
    layer(&mut pairs, "fc6_u", 4096, 1024, true);
    layer(&mut pairs, "fc7_v", 256, 4096, false);
    layer(&mut pairs, "fc7_u", 4096, 256, true);

    let mut group = c.benchmark_group("head");
    group.sample_size(10);
    let (pooled, mut out) = (noise(300 * inputs, 6, 1.0), HeadOutput::default());
    for (name, weights) in [("300", whole), ("300_svd_1024_256", pairs)] {
        let mut head = Head::from_weights(weights).unwrap();
        group.bench_function(name, |b| b.iter(|| head.run_into(black_box(&pooled), 300, &mut out).unwrap()));
    }
    group.finish();
}

fn results(c: &mut Criterion) {
    let rois = rois();
    let mut scores = noise(300 * OUTPUTS, 7, 4.0);
    for row in scores.chunks_exact_mut(OUTPUTS) {
        let sum: f32 = row.iter().map(|v| v.exp()).sum();
        row.iter_mut().for_each(|v| *v = v.exp() / sum);
    }
    let output = HeadOutput { rois: 300, outputs: OUTPUTS, scores, deltas: noise(300 * 4 * OUTPUTS, 8, 0.3) };
    let (params, size) = (PostParams::default(), PictureSize { width: 625, height: 375 });
    c.bench_function("postprocess_300", |b| b.iter(|| postprocess(black_box(&output), &rois, &params, size, 1.6)));
}

criterion_group!(stages, boxes_and_proposals, pooling, heads, results);
criterion_main!(stages);
