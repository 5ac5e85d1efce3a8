//! The network on an NVIDIA GPU (feature `cuda`): trunk, RPN, RoI pooling and head in f32. Scaling, proposals and
//! detections stay where they are, on the processor.
//!
//! ```text
//! picture ─► upload ─► trunk, RPN ─► scores, deltas ─► proposals ─► boxes ─► RoI pooling, head ─► scores, deltas
//! processor            GPU           processor                              GPU                  processor
//! ```
//!
//! - `device` opens a GPU, or says which library or card is missing and what to do about it. There is no way back to the processor
//!   from here: who asks for a GPU gets one or an error.
//! - `dnn` is the part of cuDNN that convolutions need, `conv` a convolution, `fc` a fully connected layer on cuBLAS.
//! - `kernels` compiles our own kernels, one file per operation in `kernels/`, when the GPU is opened.
//! - `trunk` and `head` put these together from the network's description.
//!
//! Numeric contract: maps and deltas within 1e-4 of the processor's, relative to the largest, in f32; with TF32 within 1e-2.
//! RoI pooling is exact. Weights go up once; after the first picture of a size nothing on the GPU is allocated.
#![allow(unsafe_code, reason = "calls of CUDA's libraries and launches of kernels, each with its reason")]

mod conv;
mod device;
mod dnn;
mod error;
mod fc;
mod head;
mod kernels;
mod trunk;

use std::time::Duration;

use crate::boxes::BBox;
use crate::head::HeadOutput;
use crate::kernels::to_channels_last;
use crate::model::Bundle;
use crate::model::onnx::{same_graph, trunk_onnx};
use crate::model::{BundleError, TRUNK_FILE};
use crate::proposals::RpnMaps;
use crate::trunk::{LayerTime, Maps};
use device::Device;
pub use error::CudaError;
use head::Head;
use trunk::Trunk;

/// A network on a GPU. One thread at a time uses it; which one may change.
pub struct Gpu {
    // Before the device, which they were made on.
    trunk: Trunk,
    head: Head,
    device: Device,
}

impl Gpu {
    /// Opens the GPU of that number and uploads a model of real numbers. With `tf32`, factors of products are rounded to 11 significant
    /// bits, which is faster.
    pub fn new(bundle: &Bundle, number: usize, tf32: bool) -> Result<Self, CudaError> {
        let device = Device::open(number, tf32)?;
        let network = bundle.network()?;
        let weights = bundle.trunk_weights()?;
        // No engine runs the file here, so it must say what we do.
        let expected = trunk_onnx(network, &weights, bundle.storage()?)?;
        let same = same_graph(&bundle.trunk_onnx, &expected)
            .map_err(|source| BundleError::Onnx { path: TRUNK_FILE.into(), source })?;
        same.map_err(|node| CudaError::Graph { node, network: network.name })?;
        drop(expected);
        let trunk = Trunk::new(&device, network, weights)?;
        let head = Head::new(&device, bundle.head_weights()?, network.pool_size)?;
        Ok(Self { trunk, head, device })
    }

    /// What it computes on.
    pub fn name(&self) -> &str {
        self.device.name()
    }

    /// What is in logs in the place of kernels' names.
    pub fn kernels(&self) -> &'static str {
        if self.device.tf32 { "cuda-tf32" } else { "cuda" }
    }

    /// Prepares for pictures of one size, so that the first one does not pay for it.
    pub fn warm_up(&mut self, rows: usize, cols: usize) -> Result<(), CudaError> {
        self.device.enter()?;
        self.trunk.warm_up(&self.device, rows, cols)
    }

    /// Runs trunk and RPN on a preprocessed picture: planes of `rows`×`cols`, blue, green, red.
    ///
    /// # Panics
    ///
    /// If the planes have another length.
    pub fn trunk(&mut self, data: &[f32], rows: usize, cols: usize) -> Result<(), CudaError> {
        assert_eq!(data.len(), 3 * rows * cols, "planes of {rows}×{cols}");
        self.device.enter()?;
        self.trunk.run(&self.device, data, rows, cols, None)
    }

    /// The same, with a look at the clock after each layer.
    ///
    /// # Panics
    ///
    /// If the planes have another length.
    pub fn layer_times(&mut self, data: &[f32], rows: usize, cols: usize) -> Result<Vec<LayerTime>, CudaError> {
        assert_eq!(data.len(), 3 * rows * cols, "planes of {rows}×{cols}");
        self.device.enter()?;
        let mut times = Vec::new();
        self.trunk.run(&self.device, data, rows, cols, Some(&mut times))?;
        Ok(times)
    }

    /// The RPN's maps of the last picture, if there is an RPN.
    pub fn rpn(&self) -> Option<RpnMaps<'_>> {
        let ((map, _), (scores, deltas)) = (self.trunk.conv5()?, self.trunk.rpn()?);
        Some(RpnMaps { scores, deltas, rows: map.rows, cols: map.cols })
    }

    /// All maps of the last picture, for comparisons.
    pub fn maps(&self) -> Result<Maps, CudaError> {
        self.device.enter()?;
        let Some((map, on_gpu)) = self.trunk.conv5() else { return Ok(Maps::default()) };
        let (mut planes, mut conv5) = (vec![0.0; map.len()], vec![0.0; map.len()]);
        head::download(&self.device, Some(on_gpu), &mut planes)?;
        to_channels_last(&planes, map.channels, &mut conv5);
        let rpn = self.trunk.rpn().map(|(scores, deltas)| (scores.to_vec(), deltas.to_vec()));
        Ok(Maps { rows: map.rows, cols: map.cols, channels: map.channels, conv5, rpn })
    }

    /// Pools boxes from the last picture's map.
    pub fn pool(&mut self, rois: &[BBox]) -> Result<(), CudaError> {
        self.device.enter()?;
        match self.trunk.conv5() {
            Some((map, x)) => self.head.pool(&self.device, map, x, rois),
            None => Ok(()),
        }
    }

    /// The last pooled boxes (RoI, channel, row, column), for comparisons.
    pub fn pooled(&self) -> Result<Vec<f32>, CudaError> {
        self.device.enter()?;
        self.head.pooled(&self.device)
    }

    /// The last pooled boxes to scores and deltas.
    pub fn head(&mut self, out: &mut HeadOutput) -> Result<(), CudaError> {
        self.device.enter()?;
        self.head.run(&self.device, out)
    }

    /// What products of large matrices reach, tried for so long: multiplications and additions a second.
    pub fn peak(&self, time: Duration) -> Result<f64, CudaError> {
        self.device.peak(time)
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({})", self.name())
    }
}

#[cfg(test)]
mod tests;
