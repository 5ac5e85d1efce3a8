//! Truncated SVD of fully connected layers (Fast R-CNN §3.1): `W ≈ U·ΣVᵀ`, two thinner layers in place of one.
//!
//! `<layer>` becomes `<layer>_v` (ΣVᵀ, no bias, first) and `<layer>_u` (U, with the bias). The cost falls from u·v to
//! t·(u+v); a rank at which it would not fall is refused. A layer name that matches nothing is an error, never a model
//! silently left as it was.

use super::layers::Part;
use super::svd::{LowRank, truncated_svd};
use super::{Bundle, BundleError, StorageType, Tensor, Weights};

/// Which layers to compress and how far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompressOptions {
    /// Layer names and ranks.
    pub ranks: Vec<(String, usize)>,
    /// Also accept ranks that make a layer larger.
    pub force: bool,
    /// Seed of the range finder's random basis.
    pub seed: u64,
}

/// What became of one layer.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CompressedLayer {
    /// Layer name.
    pub layer: String,
    /// Outputs, u.
    pub outputs: usize,
    /// Inputs, v.
    pub inputs: usize,
    /// Rank, t.
    pub rank: usize,
    /// `‖W − U·ΣVᵀ‖ / ‖W‖`, Frobenius norm.
    pub relative_error: f64,
    /// Weights and biases before.
    pub parameters_before: usize,
    /// Weights and biases after.
    pub parameters_after: usize,
}

/// Why nothing was compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// No layer was named.
    #[error("no layer to compress; name at least one, for example `--rank fc6=1024 --rank fc7=256`")]
    Nothing,
    /// No such layer.
    #[error("layer `{layer}`: no such fully connected layer; this model has {known}")]
    UnknownLayer {
        /// The name.
        layer: String,
        /// The names there are.
        known: String,
    },
    /// Named twice.
    #[error("layer `{layer}`: named twice; give one rank")]
    Twice {
        /// The layer.
        layer: String,
    },
    /// Already two layers.
    #[error("layer `{layer}`: already compressed to rank {rank}; start from the uncompressed model")]
    Already {
        /// The layer.
        layer: String,
        /// Its rank.
        rank: usize,
    },
    /// Rank 0, or above full rank.
    #[error("layer `{layer}`: rank {rank} is outside 1 to {full}, the full rank of its {outputs}×{inputs} matrix")]
    Rank {
        /// The layer.
        layer: String,
        /// The rank asked for.
        rank: usize,
        /// The shorter side.
        full: usize,
        /// Outputs.
        outputs: usize,
        /// Inputs.
        inputs: usize,
    },
    /// The pair would cost more than the layer.
    #[error(
        "layer `{layer}`: at rank {rank} the pair has {after} weights, the layer itself {before}; choose a rank of at \
         most {most}, or `--force`"
    )]
    Grows {
        /// The layer.
        layer: String,
        /// The rank asked for.
        rank: usize,
        /// Weights of the layer.
        before: usize,
        /// Weights of the pair.
        after: usize,
        /// The largest rank that pays.
        most: usize,
    },
    /// The bundle could not be read or written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Compresses layers of a bundle; `done` hears of each layer when it is finished, the slow ones take a minute.
pub fn compress(
    bundle: &Bundle,
    options: &CompressOptions,
    storage: StorageType,
    mut done: impl FnMut(&CompressedLayer),
) -> Result<Bundle, CompressError> {
    let mut weights = bundle.head_weights()?;
    // Every request is judged before the first long computation.
    let known: Vec<&str> = bundle
        .network()?
        .layers(bundle.manifest.classes.len(), None)
        .iter()
        .filter(|l| l.part == Part::Head)
        .map(|l| l.name)
        .collect();
    check(&weights, options, &known)?;
    let mut notes = Vec::new();
    for (layer, rank) in &options.ranks {
        let report = compress_layer(&mut weights, layer, *rank, options.seed)?;
        notes.push(format!("{layer} rank {rank} (relative error {:.4})", report.relative_error));
        done(&report);
    }
    let mut compressed = bundle.with_head(&weights, storage)?;
    compressed.manifest.provenance = format!("{}; truncated SVD: {}", bundle.manifest.provenance, notes.join(", "));
    Ok(compressed)
}

fn check(weights: &Weights, options: &CompressOptions, known: &[&str]) -> Result<(), CompressError> {
    if options.ranks.is_empty() {
        return Err(CompressError::Nothing);
    }
    for (i, (layer, rank)) in options.ranks.iter().enumerate() {
        let (layer, rank) = (layer.clone(), *rank);
        if !known.contains(&layer.as_str()) {
            return Err(CompressError::UnknownLayer { layer, known: known.join(", ") });
        }
        if options.ranks[..i].iter().any(|(l, _)| *l == layer) {
            return Err(CompressError::Twice { layer });
        }
        if let Some(v) = weights.get(&format!("{layer}_v.weight")) {
            return Err(CompressError::Already { layer, rank: v.shape[0] });
        }
        let [outputs, inputs] = shape(weights, &layer);
        let full = outputs.min(inputs);
        if rank == 0 || rank > full {
            return Err(CompressError::Rank { layer, rank, full, outputs, inputs });
        }
        let (before, after) = (outputs * inputs, rank * (outputs + inputs));
        if after >= before && !options.force {
            let most = (before - 1) / (outputs + inputs);
            return Err(CompressError::Grows { layer, rank, before, after, most });
        }
    }
    Ok(())
}

/// Outputs and inputs of a layer; the bundle's own check has seen to it that it has two dimensions.
fn shape(weights: &Weights, layer: &str) -> [usize; 2] {
    match weights.get(&format!("{layer}.weight")).map(|t| t.shape.as_slice()) {
        Some(&[outputs, inputs]) => [outputs, inputs],
        _ => [0, 0],
    }
}

fn compress_layer(
    weights: &mut Weights,
    layer: &str,
    rank: usize,
    seed: u64,
) -> Result<CompressedLayer, CompressError> {
    let [outputs, inputs] = shape(weights, layer);
    let missing = || CompressError::UnknownLayer { layer: layer.into(), known: "weights without it".into() };
    let matrix = weights.0.remove(&format!("{layer}.weight")).ok_or_else(missing)?;
    let bias = weights.0.remove(&format!("{layer}.bias")).ok_or_else(missing)?;
    let LowRank { u, v, relative_error } = truncated_svd(&matrix.data, outputs, inputs, rank, seed);
    weights.insert(format!("{layer}_v.weight"), Tensor { shape: vec![rank, inputs], data: v });
    weights.insert(format!("{layer}_u.weight"), Tensor { shape: vec![outputs, rank], data: u });
    weights.insert(format!("{layer}_u.bias"), bias);
    Ok(CompressedLayer {
        layer: layer.into(),
        outputs,
        inputs,
        rank,
        relative_error,
        parameters_before: outputs * inputs + outputs,
        parameters_after: rank * (outputs + inputs) + outputs,
    })
}

#[cfg(test)]
mod tests {
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
}
