//! Trunk and head of a model, of real numbers or in 8 bits.

use super::DetectorError;
use crate::{
    frame::Blob,
    head::{Head, HeadError, HeadOutput, QuantHead},
    kernels::{Kernels, int8::Dot},
    model::{Bundle, BundleError},
    trunk::{Maps, QuantTrunk, Trunk, TrunkError},
};
use rayon::ThreadPool;

/// The two parts of a network that have weights.
pub(super) enum Network {
    /// The trunk by the graph engine.
    Real { trunk: Box<Trunk>, head: Box<Head> },
    /// In integers.
    Quantized { trunk: Box<QuantTrunk>, head: Box<QuantHead>, dot: Dot },
}

impl Network {
    /// The network of a bundle; weights are packed on `pool`. `kernels` `None` leaves the trunk to the graph engine, except
    /// in 8 bits, which it has no part in.
    pub fn new(bundle: &Bundle, pool: &ThreadPool, kernels: Option<Kernels>) -> Result<Self, DetectorError> {
        let Some(quantized) = bundle.quantized()? else {
            let trunk = Trunk::with_kernels(bundle, pool.current_num_threads(), kernels)?;
            let weights = bundle.head_weights()?;
            let head = pool.install(|| Head::with_kernels(weights, kernels.unwrap_or(Kernels::best())))?;
            return Ok(Self::Real { trunk: Box::new(trunk), head: Box::new(head) });
        };
        // Kernels that were asked for although there are better ones mean those of the same name in 8 bits.
        let asked = kernels.filter(|k| *k != Kernels::best());
        let same = asked.and_then(|k| Dot::available().into_iter().find(|dot| dot.name() == k.name()));
        let dot = same.unwrap_or(Dot::best());
        let wrong = |source| BundleError::Quantize { path: bundle.manifest.name.clone().into(), source };
        let (network, flow) = (bundle.network()?, bundle.dataflow()?);
        let rest = kernels.unwrap_or(Kernels::best());
        let trunk = QuantTrunk::new(network, &quantized, &flow, dot, rest).map_err(wrong)?;
        let head = QuantHead::new(&quantized, &flow, dot).map_err(wrong)?;
        Ok(Self::Quantized { trunk: Box::new(trunk), head: Box::new(head), dot })
    }

    /// Prepares for one size of input.
    pub fn warm_up(&self, rows: usize, cols: usize) -> Result<(), TrunkError> {
        match self {
            Self::Real { trunk, .. } => trunk.warm_up(rows, cols),
            // Integer kernels are ready for any size.
            Self::Quantized { .. } => Ok(()),
        }
    }

    /// Picture to maps.
    pub fn trunk(&mut self, blob: &Blob, threads: &ThreadPool) -> Result<Maps, TrunkError> {
        match self {
            Self::Real { trunk, .. } => trunk.run(blob),
            Self::Quantized { trunk, .. } => threads.install(|| trunk.run(blob)),
        }
    }

    /// Pooled RoIs to scores and deltas.
    pub fn head(
        &mut self,
        pooled: &[f32],
        rois: usize,
        out: &mut HeadOutput,
        threads: &ThreadPool,
    ) -> Result<(), HeadError> {
        threads.install(|| match self {
            Self::Real { head, .. } => head.run_into(pooled, rois, out),
            Self::Quantized { head, .. } => head.run_into(pooled, rois, out),
        })
    }

    /// What it is computed with, for logs.
    pub fn kernels(&self) -> &'static str {
        match self {
            Self::Real { trunk, .. } => trunk.kernels(),
            Self::Quantized { dot, .. } => int8_name(*dot),
        }
    }
}

/// The name with the number of bits, to tell that they are at work.
fn int8_name(dot: Dot) -> &'static str {
    match dot.name() {
        "scalar" => "int8-scalar",
        "avx2" => "int8-avx2",
        "vnni" => "int8-vnni",
        "neon" => "int8-neon",
        "neon-dot" => "int8-neon-dot",
        _ => "int8",
    }
}
