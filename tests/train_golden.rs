//! The trainer's targets and losses against a PyTorch restatement (`tests/python/golden_train.py`).
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use edge_rcnn::boxes::BBox;
use edge_rcnn::train::losses::{head_loss, rpn_loss};
use edge_rcnn::train::targets::{HeadSampling, RpnSampling, head_targets, rpn_targets};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tch::Tensor;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/train.json")).unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(a) => a.iter().flat_map(floats).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn boxes(v: &Value) -> Vec<BBox> {
    floats(v).chunks_exact(4).map(|c| BBox::new(c[0] as f32, c[1] as f32, c[2] as f32, c[3] as f32)).collect()
}

fn indices(v: &Value) -> Vec<usize> {
    floats(v).into_iter().map(|n| n as usize).collect()
}

fn close(what: &str, got: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), expected.len(), "{what}: number of values");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= tolerance, "{what}[{i}]: got {g}, want {e}");
    }
}

#[test]
fn rpn_targets_without_subsampling_are_those_of_the_restatement() {
    let g = &golden()["rpn_targets"];
    let (w, h) = (g["width"].as_f64().unwrap() as f32, g["height"].as_f64().unwrap() as f32);
    // Large enough that nothing is drawn at random.
    let all = RpnSampling { batch: 10_000, ..RpnSampling::default() };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let t = rpn_targets(&boxes(&g["anchors"]), &boxes(&g["objects"]), w, h, &all, &mut rng);
    assert_eq!(t.anchors[..t.positives], indices(&g["positive"]));
    assert_eq!(t.anchors[t.positives..], indices(&g["negative"]));
    close("deltas", t.deltas.iter().flatten().map(|&d| f64::from(d)), &floats(&g["deltas"]), 1e-5);
}

#[test]
fn rpn_samples_are_drawn_from_those_sets_in_the_papers_proportion() {
    let g = &golden()["rpn_targets"];
    let (positive, negative) = (indices(&g["positive"]), indices(&g["negative"]));
    let few = RpnSampling { batch: 8, ..RpnSampling::default() };
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let t = rpn_targets(&boxes(&g["anchors"]), &boxes(&g["objects"]), 400.0, 300.0, &few, &mut rng);
        assert_eq!((t.anchors.len(), t.positives), (8, 4));
        assert!(t.anchors[..4].iter().all(|a| positive.contains(a)));
        assert!(t.anchors[4..].iter().all(|a| negative.contains(a)));
    }
}

#[test]
fn head_targets_without_subsampling_are_those_of_the_restatement() {
    let g = &golden()["head_targets"];
    let objects: Vec<(BBox, usize)> = boxes(&g["objects"]).into_iter().zip(indices(&g["object_classes"])).collect();
    let all = HeadSampling { batch: 10_000, ..HeadSampling::default() };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let t = head_targets(&boxes(&g["proposals"]), &objects, &all, &mut rng);
    assert_eq!(t.rois, boxes(&g["rois"]));
    assert_eq!(t.classes, indices(&g["classes"]));
    close("deltas", t.deltas.iter().flatten().map(|&d| f64::from(d)), &floats(&g["deltas"]), 1e-4);
}

fn tensor(v: &Value, columns: i64) -> Tensor {
    Tensor::from_slice(&floats(v)).view([-1, columns]).set_requires_grad(true)
}

fn values(t: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(t.contiguous().view([-1])).unwrap()
}

#[test]
fn both_losses_and_their_gradients_are_those_of_the_restatement() {
    let g = golden();
    let rpn = &g["losses"]["rpn"];
    let (scores, deltas) = (tensor(&rpn["scores"], 2), tensor(&rpn["deltas"], 4));
    let (class, boxes) = rpn_loss(&scores, &deltas, &tensor(&rpn["targets"], 4).detach());
    (&class + &boxes).backward();
    close("rpn losses", [class.double_value(&[]), boxes.double_value(&[])], &floats(&rpn["losses"]), 1e-10);
    close("rpn score gradient", values(&scores.grad()), &floats(&rpn["score_gradient"]), 1e-10);
    close("rpn delta gradient", values(&deltas.grad()), &floats(&rpn["delta_gradient"]), 1e-10);

    let head = &g["losses"]["head"];
    let (scores, deltas) = (tensor(&head["scores"], 5), tensor(&head["deltas"], 20));
    let classes: Vec<i64> = indices(&head["classes"]).into_iter().map(|c| c as i64).collect();
    let (class, boxes) =
        head_loss(&scores, &Tensor::from_slice(&classes), &deltas, &tensor(&head["targets"], 4).detach());
    (&class + &boxes).backward();
    close("head losses", [class.double_value(&[]), boxes.double_value(&[])], &floats(&head["losses"]), 1e-10);
    close("head score gradient", values(&scores.grad()), &floats(&head["score_gradient"]), 1e-10);
    close("head delta gradient", values(&deltas.grad()), &floats(&head["delta_gradient"]), 1e-10);
}
