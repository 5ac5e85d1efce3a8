//! Trunk and head of a model, of real numbers or in 8 bits.
//!
//! What stands between the stages is different in the two, and so are the stages: a picture becomes planes of f32 or bytes,
//! RoIs are pooled from f32 or from bytes.

use super::{DetectorError, Precision, choice::Choice};
use crate::{
    boxes::BBox,
    frame::{Blob, Picture, Pixels, Preprocessor, Scaling, Steps},
    head::{Head, HeadOutput, QuantHead, RoiBins, pool_cells},
    kernels::{Bf16, CellMap, Kernels, Rectangles, Team, int8::Dot, peak_flops, peak_ops},
    model::{Bundle, BundleError, arch::FEATURE_STRIDE},
    proposals::RpnMaps,
    trunk::{LayerTime, Maps, QuantMaps, QuantTrunk, Trunk},
};
use std::time::Duration;

/// The parts of a network that have weights, and the maps between them.
pub(super) struct Network {
    numbers: Numbers,
    preprocessor: Preprocessor,
    kernels: Kernels,
    /// Cells along a side of a pooled RoI.
    pool_size: usize,
    rois: RoiBins,
}

enum Numbers {
    /// The trunk by the graph engine.
    Real {
        trunk: Box<Trunk>,
        head: Box<Head>,
        bf16: Option<Bf16>,
        blob: Blob,
        maps: Maps,
        rectangles: Rectangles<f32>,
        pooled: Vec<f32>,
    },
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Gpu { gpu: Box<crate::cuda::Gpu>, blob: Blob },
    /// In integers.
    Quantized {
        trunk: Box<QuantTrunk>,
        head: Box<QuantHead>,
        dot: Dot,
        pixels: Pixels,
        rectangles: Rectangles<u8>,
        pooled: Vec<u8>,
    },
}

/// Size of the network's input.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InputSize {
    pub height: usize,
    pub width: usize,
    /// Network input pixels per picture pixel.
    pub scale: f32,
}

impl Network {
    /// The network of a bundle; weights are packed on `team`. A trunk in 8 bits is never left to the graph engine.
    pub fn new(bundle: &Bundle, team: &Team, choice: Choice, precision: Precision) -> Result<Self, DetectorError> {
        let (network, rest) = (bundle.network()?, choice.real.unwrap_or(Kernels::best()));
        let numbers = team.install(|| Numbers::new(bundle, team, choice, precision))?;
        let preprocessor = Preprocessor::new(rest);
        Ok(Self { numbers, preprocessor, kernels: rest, pool_size: network.pool_size, rois: RoiBins::default() })
    }

    /// Prepares for one size of input.
    pub fn warm_up(&mut self, rows: usize, cols: usize) -> Result<(), DetectorError> {
        match &mut self.numbers {
            Numbers::Real { trunk, .. } => Ok(trunk.warm_up(rows, cols)?),
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, .. } => Ok(gpu.warm_up(rows, cols)?),
            // Integer kernels are ready for any size.
            Numbers::Quantized { .. } => Ok(()),
        }
    }

    /// The picture as the network's input.
    pub fn preprocess(&mut self, picture: &Picture, scaling: Scaling, mean_bgr: [f32; 3]) -> InputSize {
        match &mut self.numbers {
            Numbers::Real { blob, .. } => {
                self.preprocessor.planes(picture, scaling, mean_bgr, blob);
                InputSize { height: blob.height, width: blob.width, scale: blob.scale }
            }
            #[cfg(feature = "cuda")]
            Numbers::Gpu { blob, .. } => {
                self.preprocessor.planes(picture, scaling, mean_bgr, blob);
                InputSize { height: blob.height, width: blob.width, scale: blob.scale }
            }
            Numbers::Quantized { trunk, pixels, .. } => {
                let image = trunk.image();
                let steps = Steps { scale: image.scale, zeros: std::array::from_fn(|i| image.zeros[i]) };
                self.preprocessor.pixels(picture, scaling, mean_bgr, steps, pixels);
                InputSize { height: pixels.height, width: pixels.width, scale: pixels.scale }
            }
        }
    }

    /// Input to maps.
    pub fn trunk(&mut self) -> Result<(), DetectorError> {
        match &mut self.numbers {
            Numbers::Real { trunk, blob, maps, .. } => trunk.run_into(blob, maps)?,
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, blob } => gpu.trunk(&blob.data, blob.height, blob.width)?,
            Numbers::Quantized { trunk, pixels, .. } => drop(trunk.run_pixels(pixels)?),
        }
        Ok(())
    }

    /// Input to maps, with a look at the clock around each layer.
    pub fn layer_times(&mut self) -> Result<Vec<LayerTime>, DetectorError> {
        match &mut self.numbers {
            Numbers::Real { trunk, blob, .. } => Ok(trunk.layer_times(blob)?),
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, blob } => Ok(gpu.layer_times(&blob.data, blob.height, blob.width)?),
            Numbers::Quantized { trunk, pixels, .. } => Ok(trunk.layer_times(pixels)?),
        }
    }

    /// What its innermost loop reaches at most on the current team.
    pub fn peak(&self, time: Duration) -> Result<f64, DetectorError> {
        match &self.numbers {
            Numbers::Real { bf16, .. } => Ok(peak_flops(self.kernels, *bf16, time)),
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, .. } => Ok(gpu.peak(time)?),
            Numbers::Quantized { dot, .. } => Ok(peak_ops(*dot, time)),
        }
    }

    /// The RPN's maps, if there is an RPN.
    pub fn rpn(&self) -> Option<RpnMaps<'_>> {
        let (rows, cols, (scores, deltas)) = match &self.numbers {
            Numbers::Real { maps, .. } => {
                let (scores, deltas) = maps.rpn.as_ref()?;
                (maps.rows, maps.cols, (&scores[..], &deltas[..]))
            }
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, .. } => return gpu.rpn(),
            Numbers::Quantized { trunk, .. } => {
                let QuantMaps { rows, cols, rpn, .. } = trunk.maps();
                (rows, cols, rpn?)
            }
        };
        Some(RpnMaps { scores, deltas, rows, cols })
    }

    /// Pools the RoIs.
    pub fn pool(&mut self, rois: &[BBox]) -> Result<(), DetectorError> {
        let (kernels, bins) = (self.kernels, &mut self.rois);
        let mut set = |rows, cols| bins.set(rois, 1.0 / FEATURE_STRIDE as f32, self.pool_size, rows, cols);
        match &mut self.numbers {
            Numbers::Real { head, maps, rectangles, pooled, .. } => {
                let &mut Maps { rows, cols, channels, conv5: ref data, .. } = maps;
                set(rows, cols);
                let step = head.inputs();
                pooled.resize(rois.len() * step, 0.0);
                let map = rectangles.prepare(kernels, CellMap { data, rows, cols, channels }, 0.0);
                pool_cells(&map, &self.rois, pooled, step);
            }
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, .. } => gpu.pool(rois)?,
            Numbers::Quantized { trunk, head, rectangles, pooled, .. } => {
                let QuantMaps { rows, cols, channels, conv5: data, .. } = trunk.maps();
                set(rows, cols);
                let step = head.step();
                pooled.resize(rois.len() * step, 0);
                // A bin without cells is 0, whose byte is the zero point.
                let empty = head.pooled().zeros[0];
                let map = rectangles.prepare(kernels, CellMap { data, rows, cols, channels }, empty);
                pool_cells(&map, &self.rois, pooled, step);
            }
        }
        Ok(())
    }

    /// Pooled RoIs to scores and deltas.
    pub fn head(&mut self, out: &mut HeadOutput) -> Result<(), DetectorError> {
        match &mut self.numbers {
            Numbers::Real { head, pooled, .. } => Ok(head.run_into(pooled, self.rois.len(), out)?),
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, .. } => Ok(gpu.head(out)?),
            Numbers::Quantized { head, pooled, .. } => Ok(head.run_bytes(pooled, self.rois.len(), out)?),
        }
    }

    /// The last pooled RoIs, if they are real numbers and here.
    pub fn pooled(&self) -> Option<&[f32]> {
        match &self.numbers {
            Numbers::Real { pooled, .. } => Some(pooled),
            #[cfg(feature = "cuda")]
            Numbers::Gpu { .. } => None,
            Numbers::Quantized { .. } => None,
        }
    }

    /// Cells along a side of a pooled RoI.
    pub fn pool_size(&self) -> usize {
        self.pool_size
    }

    /// What it is computed with, for logs.
    pub fn kernels(&self) -> &'static str {
        match &self.numbers {
            Numbers::Real { trunk, .. } => trunk.kernels(),
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, .. } => gpu.kernels(),
            Numbers::Quantized { dot, .. } => int8_name(*dot),
        }
    }

    /// The GPU it is computed on.
    pub fn gpu(&self) -> Option<&str> {
        match &self.numbers {
            #[cfg(feature = "cuda")]
            Numbers::Gpu { gpu, .. } => Some(gpu.name()),
            Numbers::Real { .. } | Numbers::Quantized { .. } => None,
        }
    }
}

impl Numbers {
    fn new(bundle: &Bundle, team: &Team, choice: Choice, precision: Precision) -> Result<Self, DetectorError> {
        #[cfg(feature = "cuda")]
        if let Some(number) = choice.gpu {
            let gpu = Box::new(crate::cuda::Gpu::new(bundle, number, precision == Precision::Tf32)?);
            return Ok(Self::Gpu { gpu, blob: Blob::default() });
        }
        let (network, rest) = (bundle.network()?, choice.real.unwrap_or(Kernels::best()));
        let bf16 = precision.bf16()?;
        let Some(quantized) = bundle.quantized()? else {
            let trunk = Box::new(Trunk::with_precision(bundle, team, choice.real, bf16)?);
            let head = Box::new(Head::with_precision(bundle.head_weights()?, rest, network.pool_size, bf16)?);
            let (blob, maps, rectangles, pooled) = Default::default();
            return Ok(Self::Real { trunk, head, bf16, blob, maps, rectangles, pooled });
        };
        let dot = choice.integer;
        let wrong = |source| BundleError::Quantize { path: bundle.manifest.name.clone().into(), source };
        let flow = bundle.dataflow()?;
        let trunk = Box::new(QuantTrunk::new(network, &quantized, &flow, dot, rest).map_err(wrong)?);
        let head = Box::new(QuantHead::new(&quantized, &flow, dot, network.pool_size).map_err(wrong)?);
        let (pixels, rectangles, pooled) = (Pixels::default(), Rectangles::default(), Vec::new());
        Ok(Self::Quantized { trunk, head, dot, pixels, rectangles, pooled })
    }
}

/// The name with the number of bits, to tell that they are at work.
fn int8_name(dot: Dot) -> &'static str {
    match dot.name() {
        "scalar" => "int8-scalar",
        "avx2" => "int8-avx2",
        "avx-vnni" => "int8-avx-vnni",
        "vnni" => "int8-vnni",
        "amx" => "int8-amx",
        "neon" => "int8-neon",
        "neon-dot" => "int8-neon-dot",
        _ => "int8",
    }
}
