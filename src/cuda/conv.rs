//! A convolution of the trunk on cuDNN, with its bias and ReLU.
//!
//! Which of cuDNN's algorithms is fastest is measured the first time that a layer sees a map, again for maps of another order of
//! size, and kept. So two starts of the program may choose differently, and differ in the last bits.

use std::time::Instant;

use cudarc::cudnn::sys::cudnnMathType_t;
use cudarc::driver::CudaSlice;

use super::device::{Device, Memory};
use super::dnn::{Algorithm, Convolution, Filter, Map};
use super::error::CudaError;
use super::kernels::bias_planes;
use crate::kernels::ConvShape;
use crate::model::{Weights, WeightsError};

/// Most working memory of an algorithm, in bytes.
const MOST_MEMORY: usize = 1 << 30;
/// Runs of an algorithm that are measured together, after one that is not.
const RUNS: u32 = 3;

/// A convolution with its weights.
pub struct Conv {
    /// The layer.
    pub name: &'static str,
    shape: ConvShape,
    relu: bool,
    filter: Filter,
    weight: CudaSlice<f32>,
    bias: CudaSlice<f32>,
    /// What was fastest, by the order of the map's size.
    chosen: Vec<(u32, Algorithm)>,
}

/// A convolution of maps of one size.
pub struct ConvPlan {
    conv: Convolution,
    algorithm: Algorithm,
    /// Numbers of working memory.
    workspace: usize,
}

impl ConvPlan {
    /// What it makes.
    pub fn output(&self) -> Map {
        self.conv.output()
    }
}

impl Conv {
    /// Takes the layer's tensors out of the weights and uploads them.
    pub fn take(
        device: &Device,
        weights: &mut Weights,
        name: &'static str,
        mut shape: ConvShape,
        relu: bool,
    ) -> Result<Self, CudaError> {
        let mut take = |what: &str| {
            let tensor = format!("{name}.{what}");
            let missing = || WeightsError::Missing { tensor: tensor.clone(), network: "the trunk".into(), hint: None };
            weights.0.remove(&tensor).ok_or_else(missing)
        };
        let (weight, bias) = (take("weight")?, take("bias")?);
        shape.output = bias.data.len();
        assert_eq!(weight.data.len(), shape.weights(), "{name}: a bundle's weights have been checked");
        Ok(Self {
            name,
            shape,
            relu,
            filter: Filter::new(shape.output, shape.input / shape.groups, shape.kernel)?,
            weight: device.upload(&weight.data)?,
            bias: device.upload(&bias.data)?,
            chosen: Vec::new(),
        })
    }

    /// The map it makes of another.
    pub fn output(&self, from: Map) -> Map {
        let shape = self.shape;
        Map { channels: shape.output, rows: shape.out_len(from.rows), cols: shape.out_len(from.cols) }
    }

    /// Prepares for maps of one size. `x` and `y` are memory to try algorithms on.
    pub fn plan(
        &mut self,
        device: &Device,
        from: Map,
        x: &CudaSlice<f32>,
        y: &mut CudaSlice<f32>,
    ) -> Result<ConvPlan, CudaError> {
        let ConvShape { stride, pad, groups, .. } = self.shape;
        let math = if device.tf32 { cudnnMathType_t::CUDNN_DEFAULT_MATH } else { cudnnMathType_t::CUDNN_FMA_MATH };
        let conv = Convolution::new((from, self.output(from)), stride, pad, groups, math)?;
        let order = from.plane().max(1).ilog2();
        let known = self.chosen.iter().find(|(o, _)| *o == order).map(|(_, algorithm)| *algorithm);
        if let Some(algorithm) = known {
            conv.set_math(algorithm.math)?;
            // Not every algorithm does every size.
            if let Ok(bytes) = device.dnn.workspace(&conv, &self.filter, algorithm)
                && bytes <= MOST_MEMORY
            {
                return Ok(ConvPlan { conv, algorithm, workspace: bytes.div_ceil(size_of::<f32>()) });
            }
        }
        let (algorithm, bytes) = self.fastest(device, &conv, from, x, y)?;
        self.chosen.retain(|(o, _)| *o != order);
        self.chosen.push((order, algorithm));
        Ok(ConvPlan { conv, algorithm, workspace: bytes.div_ceil(size_of::<f32>()) })
    }

    /// Tries what cuDNN offers.
    fn fastest(
        &self,
        device: &Device,
        conv: &Convolution,
        from: Map,
        x: &CudaSlice<f32>,
        y: &mut CudaSlice<f32>,
    ) -> Result<(Algorithm, usize), CudaError> {
        let mut best: Option<(f64, Algorithm, usize)> = None;
        let mut reason = String::from("it offers nothing for it");
        for (offered, bytes) in device.dnn.algorithms(conv, &self.filter)? {
            let rounded =
                !matches!(offered.math, cudnnMathType_t::CUDNN_DEFAULT_MATH | cudnnMathType_t::CUDNN_FMA_MATH);
            if bytes > MOST_MEMORY || rounded && !device.tf32 {
                continue;
            }
            let math = if device.tf32 { offered.math } else { cudnnMathType_t::CUDNN_FMA_MATH };
            let algorithm = Algorithm { math, ..offered };
            match self.time(device, conv, algorithm, bytes, x, y) {
                Ok(ms) => {
                    log::debug!("{}: {algorithm:?} takes {ms:.3} ms and {} KiB", self.name, bytes >> 10);
                    if best.is_none_or(|(least, ..)| ms < least) {
                        best = Some((ms, algorithm, bytes));
                    }
                }
                Err(error) => {
                    log::debug!("{}: {algorithm:?} is not to be had: {error}", self.name);
                    reason = error.to_string();
                }
            }
        }
        let failed = CudaError::Convolution { layer: self.name, rows: from.rows, cols: from.cols, reason };
        let (_, algorithm, bytes) = best.ok_or(failed)?;
        conv.set_math(algorithm.math)?;
        Ok((algorithm, bytes))
    }

    /// Milliseconds that an algorithm takes.
    fn time(
        &self,
        device: &Device,
        conv: &Convolution,
        algorithm: Algorithm,
        bytes: usize,
        x: &CudaSlice<f32>,
        y: &mut CudaSlice<f32>,
    ) -> Result<f64, CudaError> {
        conv.set_math(algorithm.math)?;
        let mut memory = Memory::default();
        let workspace = memory.of(device, bytes.div_ceil(size_of::<f32>()))?;
        let mut run = || device.dnn.forward(conv, (&self.filter, &self.weight), algorithm, x, y, workspace);
        run()?;
        device.wait()?;
        let started = Instant::now();
        (0..RUNS).try_for_each(|_| run())?;
        device.wait()?;
        Ok(started.elapsed().as_secs_f64() * 1e3 / f64::from(RUNS))
    }

    /// `y` becomes what it makes of `x`; `workspace` is memory.
    pub fn run(
        &self,
        device: &Device,
        plan: &ConvPlan,
        x: &CudaSlice<f32>,
        y: &mut CudaSlice<f32>,
        workspace: &mut Memory,
    ) -> Result<(), CudaError> {
        let workspace = workspace.of(device, plan.workspace)?;
        device.dnn.forward(&plan.conv, (&self.filter, &self.weight), plan.algorithm, x, y, workspace)?;
        bias_planes(device, y, &self.bias, plan.output(), self.relu)
    }
}
