#![allow(clippy::unwrap_used)]
use super::*;
use crate::head::Head;
use crate::kernels::{Matrix, product};
use crate::model::arch::ZF;
use crate::model::{Manifest, normals};
use rand::SeedableRng;

/// ZF whose fc6 is one matrix of true rank 8; fc7 stays a pair.
fn bundle() -> Bundle {
    let mut weights = Weights::he_random(&ZF, 2, None, Some(8), 1);
    let mut take = |name: &str| weights.0.remove(name).unwrap();
    let (v, u, bias) = (take("fc6_v.weight"), take("fc6_u.weight"), take("fc6_u.bias"));
    let data = product(Matrix::row_major(&u.data, 4096, 8), Matrix::row_major(&v.data, 8, 9216));
    weights.insert("fc6.weight", Tensor { shape: vec![4096, 9216], data });
    weights.insert("fc6.bias", bias);
    let manifest = Manifest::new("zf", &ZF, vec!["cat".into(), "dog".into()]);
    Bundle::from_weights(&ZF, &weights, manifest, StorageType::F32).unwrap()
}

fn options(ranks: &[(&str, usize)], force: bool) -> CompressOptions {
    CompressOptions { ranks: ranks.iter().map(|(l, r)| (l.to_string(), *r)).collect(), force, seed: 1 }
}

fn outputs(bundle: &Bundle) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let pooled: Vec<f32> = normals(&mut rng, 5 * 9216, 1.0).iter().map(|v| v.max(0.0)).collect();
    let out = Head::from_weights(bundle.head_weights().unwrap()).unwrap().run(&pooled, 5).unwrap();
    [out.scores, out.deltas].concat()
}

#[test]
fn a_rank_that_loses_nothing_reproduces_the_output() {
    let before = bundle();
    let want = outputs(&before);
    // Below and at full rank, on a wide and on a flat matrix.
    for request in [options(&[("fc6", 12)], false), options(&[("cls_score", 3), ("bbox_pred", 12)], true)] {
        let mut reports = Vec::new();
        let after = compress(&before, &request, StorageType::F32, |r| reports.push(r.clone())).unwrap();
        assert!(reports.iter().all(|r| r.relative_error < 1e-5), "{reports:?}");
        for (got, want) in outputs(&after).iter().zip(&want) {
            assert!((got - want).abs() < 1e-4 * want.abs().max(1.0), "{got} {want}");
        }
        assert_eq!(after.trunk_onnx, before.trunk_onnx);
        assert!(after.manifest.provenance.contains("truncated SVD"));
    }
}

#[test]
fn the_report_counts_parameters_and_the_bundle_can_be_saved() {
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Vec::new();
    let after =
        compress(&bundle(), &options(&[("fc6", 8)], false), StorageType::F16, |r| reports.push(r.clone())).unwrap();
    assert_eq!(reports[0].parameters_before, 4096 * 9216 + 4096);
    assert_eq!(reports[0].parameters_after, 8 * (4096 + 9216) + 4096);
    after.save(&dir.path().join("svd")).unwrap();
    assert_eq!(Bundle::load(&dir.path().join("svd")).unwrap().storage().unwrap(), StorageType::F32, "trunk is f32");
}

#[test]
fn requests_that_make_no_sense_are_refused_before_any_work() {
    let bundle = bundle();
    let refusal = |ranks: &[(&str, usize)]| {
        compress(&bundle, &options(ranks, false), StorageType::F32, |_| panic!("worked")).unwrap_err().to_string()
    };
    assert!(refusal(&[]).contains("no layer to compress"));
    assert!(refusal(&[("fc6L", 8)]).contains("fc6, fc7, cls_score, bbox_pred"));
    assert!(refusal(&[("fc6", 8), ("fc6", 9)]).contains("twice"));
    assert!(refusal(&[("fc7", 4)]).contains("already compressed to rank 8"));
    assert!(refusal(&[("fc6", 0)]).contains("outside 1 to 4096"));
    assert!(refusal(&[("fc6", 5000)]).contains("outside 1 to 4096"));
    let message = refusal(&[("fc6", 2836)]);
    assert!(message.contains("at most 2835"), "{message}");
}

#[test]
fn factors_cut_to_a_rank_are_the_svd_of_that_rank_of_a_whole_layer_and_of_a_pair() {
    let product_of = |w: &Weights| {
        let (u, v) = (w.get("fc7_u.weight").unwrap(), w.get("fc7_v.weight").unwrap());
        let rank = u.shape[1];
        crate::kernels::product(
            crate::kernels::Matrix::row_major(&u.data, u.shape[0], rank),
            crate::kernels::Matrix::row_major(&v.data, rank, v.shape[1]),
        )
    };
    // 24×40 of falling singular values, whole and as a pair of rank 16.
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let (u, mut v) = (crate::model::normals(&mut rng, 24 * 16, 1.0), crate::model::normals(&mut rng, 16 * 40, 1.0));
    v.iter_mut().enumerate().for_each(|(i, x)| *x *= 0.7f32.powi((i / 40) as i32));
    let tensor = |shape: [usize; 2], data: &[f32]| Tensor { shape: shape.to_vec(), data: data.to_vec() };
    let bias = Tensor { shape: vec![24], data: vec![0.5; 24] };
    let mut pair = Weights::default();
    pair.insert("fc7_u.weight", tensor([24, 16], &u));
    pair.insert("fc7_v.weight", tensor([16, 40], &v));
    pair.insert("fc7_u.bias", bias.clone());
    let mut whole = Weights::default();
    whole.insert("fc7.weight", tensor([24, 40], &product_of(&pair)));
    whole.insert("fc7.bias", bias);
    for (mut weights, now) in [(pair, 16), (whole, 24 * 40 / 64)] {
        let matrix = weights.get("fc7.weight").map_or_else(|| product_of(&weights), |w| w.data.clone());
        let factors = Factors::of(&weights, "fc7", 1).unwrap();
        assert_eq!(factors.cost_now(), now * 64);
        assert!(factors.ladder().is_sorted_by(|a, b| a > b) && factors.ladder()[0] == now * 3 / 4);
        for rank in factors.ladder() {
            factors.put(rank, &mut weights);
            assert_eq!(weights.0.len(), 3);
            let direct = truncated_svd(&matrix, 24, 40, rank, 1);
            let error = |product: &[f32]| {
                let square = |x: f32| f64::from(x) * f64::from(x);
                product.iter().zip(&matrix).map(|(a, b)| square(a - b)).sum::<f64>().sqrt()
            };
            let all = matrix.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            let got = error(&product_of(&weights)) / all;
            assert!((got - direct.relative_error).abs() < 1e-4, "rank {rank}: {got}, {}", direct.relative_error);
        }
    }
}
