//! Truncated SVD of fully connected layers (Fast R-CNN §3.1): `W ≈ U·ΣVᵀ`, two thinner layers in place of one.
//!
//! `<layer>` becomes `<layer>_v` (ΣVᵀ, no bias, first) and `<layer>_u` (U, with the bias). The cost falls from u·v to
//! t·(u+v); a rank at which it would not fall is refused. A layer name that matches nothing is an error, never a model
//! silently left as it was.

use super::layers::Part;
use super::svd::{LowRank, truncated_svd};
use super::{Bundle, BundleError, StorageType, Tensor, Weights};
use crate::kernels::{Matrix, product};

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
    /// In 8 bits already.
    #[error("the model is in 8 bits; compress the model of real numbers it was made of, then calibrate that")]
    Quantized,
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
    if bundle.manifest.quantization.is_some() {
        return Err(CompressError::Quantized);
    }
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

/// The matrix that a pair stands for; `None` if the layer is no pair.
fn joined(weights: &Weights, layer: &str) -> Option<Tensor> {
    let part = |suffix: &str| weights.get(&format!("{layer}_{suffix}.weight"));
    let (u, v) = (part("u")?, part("v")?);
    let (&[outputs, rank], &[_, inputs]) = (&u.shape[..], &v.shape[..]) else { return None };
    let data = product(Matrix::row_major(&u.data, outputs, rank), Matrix::row_major(&v.data, rank, inputs));
    Some(Tensor { shape: vec![outputs, inputs], data })
}

/// Makes one layer of each pair again: the same function, at the cost before any compression. False if there is no pair.
pub fn join_pairs(weights: &mut Weights) -> bool {
    let pairs: Vec<String> =
        weights.0.keys().filter_map(|name| Some(name.strip_suffix("_v.weight")?.to_string())).collect();
    for layer in &pairs {
        let Some(whole) = joined(weights, layer) else { continue };
        weights.insert(format!("{layer}.weight"), whole);
        for part in ["v", "u"] {
            weights.0.remove(&format!("{layer}_{part}.weight"));
        }
        if let Some(bias) = weights.0.remove(&format!("{layer}_u.bias")) {
            weights.insert(format!("{layer}.bias"), bias);
        }
    }
    !pairs.is_empty()
}

/// A layer's SVD up to some rank, to be cut to any lower one: the first t columns of U and rows of V are the SVD of rank t.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    layer: String,
    outputs: usize,
    inputs: usize,
    /// The rank or full rank that the layer has in the model.
    now: usize,
    most: usize,
    u: Vec<f32>,
    v: Vec<f32>,
    bias: Tensor,
}

impl Factors {
    /// The factors of a layer of a model's head, up to three quarters of its rank if it is a pair, else of the rank at which
    /// a pair would cost as much as the layer.
    pub fn of(weights: &Weights, layer: &str, seed: u64) -> Result<Self, CompressError> {
        let missing = || CompressError::UnknownLayer { layer: layer.into(), known: "weights without it".into() };
        let pair = [format!("{layer}_u"), format!("{layer}_v")];
        let tensor = |name: &str, suffix: &str| weights.get(&format!("{name}.{suffix}")).ok_or_else(missing);
        let (matrix, outputs, inputs, now, bias) = match weights.has_layer(&pair[1]) {
            true => {
                let rank = tensor(&pair[1], "weight")?.shape[0];
                let Tensor { shape, data } = joined(weights, layer).ok_or_else(missing)?;
                let &[outputs, inputs] = &shape[..] else { return Err(missing()) };
                (data, outputs, inputs, rank, tensor(&pair[0], "bias")?)
            }
            false => {
                let [outputs, inputs] = shape(weights, layer);
                let pays = outputs * inputs / (outputs + inputs).max(1);
                (tensor(layer, "weight")?.data.clone(), outputs, inputs, pays, tensor(layer, "bias")?)
            }
        };
        let most = now * 3 / 4;
        if most == 0 {
            return Err(CompressError::Rank { layer: layer.into(), rank: 0, full: now, outputs, inputs });
        }
        let LowRank { u, v, .. } = truncated_svd(&matrix, outputs, inputs, most, seed);
        Ok(Self { layer: layer.into(), outputs, inputs, now, most, u, v, bias: bias.clone() })
    }

    /// The layer.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// Ranks worth trying, falling: from three quarters down to a sixteenth of what the layer has now.
    pub fn ladder(&self) -> Vec<usize> {
        let mut ranks: Vec<usize> = [12, 8, 6, 4, 2, 1].iter().map(|part| self.now * part / 16).collect();
        ranks.retain(|rank| *rank > 0 && *rank <= self.most);
        ranks.dedup();
        ranks
    }

    /// Multiply-adds of the pair for one RoI, at a rank.
    pub fn cost(&self, rank: usize) -> usize {
        rank * (self.outputs + self.inputs)
    }

    /// Multiply-adds of the layer for one RoI as it is now.
    pub fn cost_now(&self) -> usize {
        self.cost(self.now)
    }

    /// Multiply-adds of the layer for one RoI without factors.
    pub fn cost_whole(&self) -> usize {
        self.outputs * self.inputs
    }

    /// Puts the pair of a rank in the layer's place.
    ///
    /// # Panics
    ///
    /// If the rank is above the largest of the [`ladder`](Self::ladder).
    pub fn put(&self, rank: usize, weights: &mut Weights) {
        assert!(rank <= self.most, "rank {rank} of at most {}", self.most);
        for name in [self.layer.clone(), format!("{}_v", self.layer), format!("{}_u", self.layer)] {
            weights.0.remove(&format!("{name}.weight"));
            weights.0.remove(&format!("{name}.bias"));
        }
        let u = self.u.chunks_exact(self.most).flat_map(|row| &row[..rank]).copied().collect();
        let v = self.v[..rank * self.inputs].to_vec();
        weights.insert(format!("{}_v.weight", self.layer), Tensor { shape: vec![rank, self.inputs], data: v });
        weights.insert(format!("{}_u.weight", self.layer), Tensor { shape: vec![self.outputs, rank], data: u });
        weights.insert(format!("{}_u.bias", self.layer), self.bias.clone());
    }
}

#[cfg(test)]
mod tests;
