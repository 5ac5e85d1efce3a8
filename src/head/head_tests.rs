//! The head against sums written out, its SVD pairs, and its refusals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::model::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random_layer(weights: &mut Weights, rng: &mut ChaCha8Rng, name: &str, outputs: usize, inputs: usize) {
    let mut values = |n: usize| (0..n).map(|_| rng.random_range(-0.5..0.5)).collect();
    let weight = Tensor::new(vec![outputs, inputs], values(outputs * inputs)).unwrap();
    let bias = Tensor::new(vec![outputs], values(outputs)).unwrap();
    weights.insert(format!("{name}.weight"), weight);
    weights.insert(format!("{name}.bias"), bias);
}

/// Twelve inputs, two classes.
fn small() -> Weights {
    let (mut w, mut rng) = (Weights::default(), ChaCha8Rng::seed_from_u64(3));
    for (name, outputs, inputs) in [("fc6", 7, 12), ("fc7", 5, 7), ("cls_score", 3, 5), ("bbox_pred", 12, 5)] {
        random_layer(&mut w, &mut rng, name, outputs, inputs);
    }
    w
}

fn dense(w: &Weights, layer: &str, x: &[f32]) -> Vec<f32> {
    let (weight, bias) = (w.get(&format!("{layer}.weight")).unwrap(), w.get(&format!("{layer}.bias")).unwrap());
    let rows = weight.data.chunks(x.len()).zip(&bias.data);
    rows.map(|(row, b)| row.iter().zip(x).map(|(a, b)| a * b).sum::<f32>() + b).collect()
}

fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() < 1e-5, "element {i}: {g}, want {w}");
    }
}

#[test]
fn layers_run_in_order_with_relu_between_and_softmax_at_the_end() {
    let w = small();
    let x: Vec<f32> = (0..24u8).map(|i| f32::from(i) / 10.0 - 1.0).collect();
    let out = Head::from_weights(w.clone()).unwrap().run(&x, 2).unwrap();
    assert_eq!((out.rois, out.outputs, out.scores.len(), out.deltas.len()), (2, 3, 6, 24));
    for (i, x) in x.chunks(12).enumerate() {
        let rectified = |v: Vec<f32>| v.into_iter().map(|v| v.max(0.0)).collect::<Vec<_>>();
        let seven = rectified(dense(&w, "fc7", &rectified(dense(&w, "fc6", x))));
        let exponentials: Vec<f32> = dense(&w, "cls_score", &seven).iter().map(|v| v.exp()).collect();
        let sum: f32 = exponentials.iter().sum();
        assert_close(&out.scores[3 * i..3 * i + 3], &exponentials.iter().map(|v| v / sum).collect::<Vec<_>>());
        assert_close(&out.deltas[12 * i..12 * i + 12], &dense(&w, "bbox_pred", &seven));
    }
}

#[test]
fn a_pair_whose_product_is_the_layer_gives_the_same_output() {
    let whole = small();
    let mut pair = whole.clone();
    let weight = pair.0.remove("fc6.weight").unwrap();
    let bias = pair.0.remove("fc6.bias").unwrap();
    let identity = (0..49).map(|i| if i % 8 == 0 { 1.0 } else { 0.0 }).collect();
    pair.insert("fc6_v.weight", weight);
    pair.insert("fc6_u.weight", Tensor::new(vec![7, 7], identity).unwrap());
    pair.insert("fc6_u.bias", bias);
    let x = [0.3; 36];
    let want = Head::from_weights(whole).unwrap().run(&x, 3).unwrap();
    let mut head = Head::from_weights(pair).unwrap();
    assert_eq!((head.inputs(), head.outputs()), (12, 3));
    let got = head.run(&x, 3).unwrap();
    assert_close(&got.scores, &want.scores);
    assert_close(&got.deltas, &want.deltas);
}

#[test]
fn memory_reused_from_a_larger_batch_leaves_nothing_behind() {
    let mut head = Head::from_weights(small()).unwrap();
    let mut out = HeadOutput::default();
    head.run_into(&[0.7; 12 * 9], 9, &mut out).unwrap();
    head.run_into(&[0.1; 24], 2, &mut out).unwrap();
    assert_eq!(out, Head::from_weights(small()).unwrap().run(&[0.1; 24], 2).unwrap());
    assert!(head.run(&[], 0).unwrap().scores.is_empty());
}

#[test]
fn softmax_of_huge_scores_stays_finite() {
    let mut row = [1e30, 0.0, 1e30];
    softmax(&mut row);
    assert_eq!(row, [0.5, 0.0, 0.5]);
}

#[test]
fn wrong_weights_are_refused_by_tensor_name() {
    let change = |f: &dyn Fn(&mut Weights)| {
        let mut w = small();
        f(&mut w);
        Head::from_weights(w).unwrap_err().to_string()
    };
    let zeros = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![0.0; shape.iter().product()]).unwrap();
    let cases = [
        (change(&|w| drop(w.0.remove("fc7.bias"))), "\"fc7.bias\" is missing"),
        (change(&|w| w.insert("fc7.weight", zeros(&[5, 8]))), "\"fc7.weight\" has shape [5, 8]"),
        (change(&|w| w.insert("bbox_pred.weight", zeros(&[8, 5]))), "bbox_pred"),
        (change(&|w| w.insert("fc6.weight", zeros(&[7, 3, 4]))), "two dimensions"),
        (change(&|w| w.insert("fc6_v.weight", zeros(&[2, 12]))), "\"fc6_u.weight\" is missing"),
        (change(&|w| w.0.get_mut("cls_score.bias").unwrap().data[1] = f32::NAN), "\"cls_score.bias\" holds numbers"),
    ];
    for (text, expected) in cases {
        assert!(text.contains(expected), "{text}");
    }
    let e = Head::from_weights(small()).unwrap().run(&[0.0; 13], 1).unwrap_err();
    assert!(e.to_string().contains("13 pooled values"), "{e}");
}
