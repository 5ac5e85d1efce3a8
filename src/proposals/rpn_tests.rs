//! The cheap order of work in `rpn.rs` against the steps written out one after the other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::boxes::{nms_sorted, order_by_score};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The steps of the file header, literally.
fn plain(params: &RpnParams, maps: &RpnMaps<'_>, blob: (usize, usize), scale: f32) -> Vec<Proposal> {
    let (a, cells) = (params.anchors.per_cell(), maps.rows * maps.cols);
    let (mut boxes, mut scores) = (Vec::new(), Vec::new());
    for (i, anchor) in params.anchors.over_map(maps.rows, maps.cols).iter().enumerate() {
        let (cell, k) = (i / a, i % a);
        let (b, o) = (maps.scores[k * cells + cell], maps.scores[(a + k) * cells + cell]);
        let top = b.max(o);
        let (eb, eo) = ((b - top).exp(), (o - top).exp());
        let d = [0, 1, 2, 3].map(|c| maps.deltas[(4 * k + c) * cells + cell]);
        let bbox = delta::decode(anchor, &d).clip(blob.1 as f32, blob.0 as f32);
        if bbox.width() >= params.min_size * scale && bbox.height() >= params.min_size * scale {
            boxes.push(bbox);
            scores.push(eo / (eb + eo));
        }
    }
    let order: Vec<usize> = order_by_score(&scores).into_iter().take(params.pre_nms).collect();
    let sorted: Vec<BBox> = order.iter().map(|&i| boxes[i]).collect();
    nms_sorted(&sorted, params.nms, params.post_nms)
        .into_iter()
        .map(|k| Proposal { bbox: sorted[k], score: scores[order[k]] })
        .collect()
}

fn random_maps(rng: &mut impl Rng, cells: usize, coarse: bool) -> (Vec<f32>, Vec<f32>) {
    let score = |v: f32| if coarse { v.round() } else { v };
    let scores = (0..18 * cells).map(|_| score(rng.random_range(-4.0..4.0))).collect();
    let deltas = (0..36 * cells).map(|_| rng.random_range(-0.5..0.5)).collect();
    (scores, deltas)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_cheap_order_of_work_gives_the_plain_result(
        seed in any::<u64>(), rows in 1usize..12, cols in 1usize..12, pre in 1usize..400, post in 1usize..80,
        scale in 0.5f32..3.0, coarse in any::<bool>(),
    ) {
        let (scores, deltas) = random_maps(&mut ChaCha8Rng::seed_from_u64(seed), rows * cols, coarse);
        let maps = RpnMaps { scores: &scores, deltas: &deltas, rows, cols };
        let params = RpnParams { pre_nms: pre, post_nms: post, ..RpnParams::default() };
        let blob = (rows * 16 - 3, cols * 16 - 7);
        let got = propose(&params, &scores, &deltas, rows, cols, blob.0, blob.1, scale);
        prop_assert_eq!(got, plain(&params, &maps, blob, scale));
    }
}

#[test]
fn proposals_come_best_first_inside_the_input_and_not_too_small() {
    let (scores, deltas) = random_maps(&mut ChaCha8Rng::seed_from_u64(7), 38 * 63, false);
    let got = propose(&RpnParams::default(), &scores, &deltas, 38, 63, 600, 1000, 1.6);
    assert!(!got.is_empty() && got.len() <= 300);
    assert!(got.windows(2).all(|w| w[0].score >= w[1].score));
    for p in &got {
        assert!(p.bbox.x1 >= 0.0 && p.bbox.y1 >= 0.0 && p.bbox.x2 <= 999.0 && p.bbox.y2 <= 599.0, "{p:?}");
        assert!(p.bbox.width() >= 25.6 && p.bbox.height() >= 25.6, "{p:?}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_left_out_and_counted() {
    let cells = 6 * 6;
    let (mut scores, mut deltas) = random_maps(&mut ChaCha8Rng::seed_from_u64(9), cells, false);
    for v in deltas.iter_mut() {
        *v *= 0.1;
    }
    scores[3] = f32::NAN; // background of anchor 0, cell 3
    scores[9 * cells + 4] = f32::INFINITY; // object of anchor 0, cell 4
    deltas[5] = f32::NAN; // dx of anchor 0, cell 5
    deltas[2 * cells + 6] = f32::INFINITY; // dw of anchor 0, cell 6
    let params = RpnParams { post_nms: 10_000, nms: 1.0, ..RpnParams::default() };
    let maps = RpnMaps { scores: &scores, deltas: &deltas, rows: 6, cols: 6 };
    let mut out = Vec::new();
    let lost = propose_into(&params, &maps, (96, 96), 1.0, &mut ProposeScratch::default(), &mut out).unwrap();
    assert_eq!(lost, 4);
    assert!(out.iter().all(|p| p.bbox.is_finite() && p.score.is_finite()));
}

#[test]
fn maps_of_the_wrong_length_are_refused_with_the_reason() {
    let maps = RpnMaps { scores: &[0.0; 17], deltas: &[0.0; 36], rows: 1, cols: 1 };
    let e = propose_into(&RpnParams::default(), &maps, (16, 16), 1.0, &mut ProposeScratch::default(), &mut Vec::new());
    let text = e.unwrap_err().to_string();
    assert!(text.contains("score map: 17 values") && text.contains("18"), "{text}");
    assert!(propose(&RpnParams::default(), &[], &[0.0], 1, 1, 16, 16, 1.0).is_empty());
}

#[test]
fn an_empty_map_has_no_proposals() {
    assert!(propose(&RpnParams::default(), &[], &[], 0, 0, 0, 0, 1.0).is_empty());
}

#[test]
fn a_network_without_rpn_says_what_to_use_instead() {
    let context = ProposalContext { name: None, blob_height: 9, blob_width: 9, scale: 1.0, rpn: None };
    let e = Rpn::default().propose(&context, &mut Vec::new()).unwrap_err();
    assert!(e.to_string().contains("no RPN"), "{e}");
}

#[test]
fn more_than_the_first_of_the_best_are_sorted_when_they_are_asked_for() {
    let (rows, cols) = (40, 30);
    let (scores, deltas) = random_maps(&mut ChaCha8Rng::seed_from_u64(3), rows * cols, true);
    let maps = RpnMaps { scores: &scores, deltas: &deltas, rows, cols };
    // Nearly all of 10 800 anchors are looked at: the sorted part grows three times.
    let params = RpnParams { pre_nms: 10_000, post_nms: 3_000, nms: 0.95, ..RpnParams::default() };
    let blob = (rows * 16, cols * 16);
    let got = propose(&params, &scores, &deltas, rows, cols, blob.0, blob.1, 1.0);
    assert_eq!(got, plain(&params, &maps, blob, 1.0));
    assert!(got.len() > FIRST, "{}", got.len());
}
