//! The trunk: a picture in, the conv5 map and the RPN's maps out.
//!
//! tract owns the graph. `trunk.onnx` is read once (`graph`) into a typed model with symbolic height and width; there its heavy nodes
//! are replaced by layers on our own kernels (`conv`, `pool`, `lrn`), between which maps stay channels-last (`layout`). For
//! each input size the model is then made concrete, optimised and kept as a plan (`plans`), so that a camera pays once.

mod constants;
mod conv;
mod graph;
mod int8;
mod layer;
mod layout;
mod lrn;
mod plans;
mod pool;
mod watch;

use std::sync::Mutex;

use tract_onnx::prelude::*;

use crate::frame::Blob;
use crate::kernels::{Bf16, Kernels, Team, to_channel_major};
use crate::model::onnx::TRUNK_OUTPUTS;
use crate::model::{Bundle, TRUNK_FILE};
pub use int8::{QuantMaps, QuantTrunk};
pub use plans::LayerTime;
use plans::{Plan, PlanCache};
pub use watch::WatchedTrunk;

/// Input sizes whose plans are kept. Only the last used holds the maps of a frame (47 MB for ZF at 600×1000); on the
/// engine's own kernels each holds the packed weights (15 MB), too.
const PLANS_KEPT: usize = 8;

/// Why the trunk cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrunkError {
    /// The graph is not one that the engine can run.
    #[error("{TRUNK_FILE}: cannot be prepared for {height}×{width} pixels: {reason}; export the model again")]
    Prepare {
        /// Rows of the input; 0 for any.
        height: usize,
        /// Columns of the input; 0 for any.
        width: usize,
        /// The engine's message.
        reason: String,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} threads: {reason}; ask for fewer threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// Running failed.
    #[error("{TRUNK_FILE}: failed on an input of {height}×{width} pixels: {reason}")]
    Run {
        /// Rows of the input.
        height: usize,
        /// Columns of the input.
        width: usize,
        /// The engine's message.
        reason: String,
    },
    /// The picture is empty or its data are not 3·height·width numbers.
    #[error(
        "a network input of {height}×{width} pixels needs 3·height·width numbers, not {len}, and at least one pixel"
    )]
    Input {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Numbers given.
        len: usize,
    },
}

/// What the trunk makes of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Maps {
    /// Rows of the maps.
    pub rows: usize,
    /// Columns of the maps.
    pub cols: usize,
    /// Channels of `conv5`.
    pub channels: usize,
    /// The last convolution's map, after its ReLU: row, column, channel, as RoI pooling reads it.
    pub conv5: Vec<f32>,
    /// Raw RPN scores (A background channels, then A object channels) and deltas (4 per anchor), if there is an RPN: channel,
    /// row, column.
    pub rpn: Option<(Vec<f32>, Vec<f32>)>,
}

/// A trunk ready to run at any input size.
pub struct Trunk {
    model: TypedModel,
    smallest_side: usize,
    kernels: &'static str,
    team: Team,
    plans: Mutex<PlanCache>,
}

impl Trunk {
    /// Reads the trunk of a bundle, to run on the best kernels this processor has. `threads` is the number of threads
    /// inside each layer; more than the machine runs at once would only wait for each other and are not started.
    pub fn new(bundle: &Bundle, threads: usize) -> Result<Self, TrunkError> {
        let threads = threads.clamp(1, std::thread::available_parallelism().map_or(1, usize::from));
        let team = Team::new(threads).map_err(|e| TrunkError::Threads { threads, reason: e.to_string() })?;
        Self::with_kernels(bundle, &team, Some(Kernels::best()))
    }

    /// [`new`](Self::new) on certain kernels and the threads of a team; `None` leaves convolution and pooling to the engine,
    /// which computes them on one thread.
    pub fn with_kernels(bundle: &Bundle, team: &Team, kernels: Option<Kernels>) -> Result<Self, TrunkError> {
        Self::with_precision(bundle, team, kernels, None)
    }

    /// [`with_kernels`](Self::with_kernels), with products of bf16 if they are given; the engine's own kernels are always f32.
    pub fn with_precision(
        bundle: &Bundle,
        team: &Team,
        kernels: Option<Kernels>,
        bf16: Option<Bf16>,
    ) -> Result<Self, TrunkError> {
        let network =
            bundle.network().map_err(|e| TrunkError::Prepare { height: 0, width: 0, reason: e.to_string() })?;
        Ok(Self {
            model: team.install(|| read(&bundle.trunk_onnx, kernels, bf16)).map_err(|e| prepare_error(0, 0, &e))?,
            smallest_side: network.smallest_side(),
            kernels: kernels.map_or("tract", |kernels| bf16.map_or(kernels.name(), Bf16::name)),
            team: team.clone(),
            plans: Mutex::new(PlanCache::new(PLANS_KEPT)),
        })
    }

    /// The name of the kernels it runs on.
    pub fn kernels(&self) -> &'static str {
        self.kernels
    }

    /// Prepares the plan for one input size, so that the first frame does not pay for it.
    pub fn warm_up(&self, height: usize, width: usize) -> Result<(), TrunkError> {
        self.with_plan(height, width, |_| Ok(()))
    }

    /// Runs the trunk on a preprocessed picture.
    pub fn run(&self, blob: &Blob) -> Result<Maps, TrunkError> {
        self.run_planar(&blob.data, blob.height, blob.width)
    }

    /// [`run`](Self::run) into memory used before.
    pub fn run_into(&self, blob: &Blob, maps: &mut Maps) -> Result<(), TrunkError> {
        self.run_reading(&blob.data, blob.height, blob.width, |outputs| maps.read(outputs))
    }

    /// Runs the trunk on planar BGR data (`3·height·width` numbers, mean subtracted).
    pub fn run_planar(&self, data: &[f32], height: usize, width: usize) -> Result<Maps, TrunkError> {
        let mut maps = Maps::default();
        self.run_reading(data, height, width, |outputs| maps.read(outputs))?;
        Ok(maps)
    }

    /// Runs the trunk and hands its outputs to `read`.
    fn run_reading<T>(
        &self,
        data: &[f32],
        height: usize,
        width: usize,
        read: impl FnOnce(&[TValue]) -> TractResult<T>,
    ) -> Result<T, TrunkError> {
        check_input(data, height, width)?;
        let (rows, cols) = (height.max(self.smallest_side), width.max(self.smallest_side));
        if (rows, cols) != (height, width) {
            // A sliver of a picture: zeros, the mean colour, to the right and below give the windows room.
            let padded = pad(data, height, width, rows, cols);
            return self.run_reading(&padded, rows, cols, read);
        }
        self.with_plan(height, width, |plan| {
            let failed = |e: &TractError| TrunkError::Run { height, width, reason: format!("{e:#}") };
            let outputs = self.team.install(|| plan.run(data, &[1, 3, height, width])).map_err(|e| failed(&e))?;
            read(&outputs).map_err(|e| failed(&e))
        })
    }

    /// Runs the trunk on a preprocessed picture and tells how long each node of the graph took, in their order.
    pub fn layer_times(&self, blob: &Blob) -> Result<Vec<LayerTime>, TrunkError> {
        let Blob { height, width, .. } = *blob;
        self.with_plan(height, width, |plan| {
            let failed = |e: &TractError| TrunkError::Run { height, width, reason: format!("{e:#}") };
            self.team.install(|| plan.run_timed(&blob.data, &[1, 3, height, width])).map_err(|e| failed(&e))
        })
    }

    /// Lends the plan of one size to `run`. The lock is not held while it runs.
    fn with_plan<T>(
        &self,
        height: usize,
        width: usize,
        run: impl FnOnce(&mut Plan) -> Result<T, TrunkError>,
    ) -> Result<T, TrunkError> {
        let taken = self.lock().take((height, width));
        let mut plan = match taken {
            Some(plan) => plan,
            None => Plan::new(&self.model, height, width).map_err(|e| prepare_error(height, width, &e))?,
        };
        let result = run(&mut plan);
        // A plan that failed may hold half a turn; it is built again if asked for.
        if result.is_ok() {
            self.lock().put((height, width), plan);
        }
        result
    }

    /// The cache; a panic elsewhere while it was locked leaves it whole, so poisoning is no reason to fail.
    fn lock(&self) -> std::sync::MutexGuard<'_, PlanCache> {
        self.plans.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn check_input<T>(data: &[T], height: usize, width: usize) -> Result<(), TrunkError> {
    let fits = height > 0 && width > 0 && data.len() == 3 * height * width;
    fits.then_some(()).ok_or(TrunkError::Input { height, width, len: data.len() })
}

fn prepare_error(height: usize, width: usize, error: &TractError) -> TrunkError {
    TrunkError::Prepare { height, width, reason: format!("{error:#}") }
}

/// Reads the graph and puts our own operators into it. That happens on this form of the model: later, tract turns 1×1
/// convolutions into products and fuses what a rewrite would want to see.
fn read(onnx: &[u8], kernels: Option<Kernels>, bf16: Option<Bf16>) -> TractResult<TypedModel> {
    let mut model = graph::read(onnx)?;
    constants::rewrite(&mut model)?;
    lrn::rewrite(&mut model, kernels.unwrap_or(Kernels::best()))?;
    if let Some(kernels) = kernels {
        conv::rewrite(&mut model, kernels, bf16)?;
        pool::rewrite(&mut model, kernels)?;
    }
    layout::rewrite(&mut model)?;
    layout::give_channels_last(&mut model, 0)?;
    conv::join_pooling(&mut model)?;
    Ok(model)
}

/// Three planes of `height`×`width` in the corner of planes of `rows`×`cols` zeros.
pub(crate) fn pad(data: &[f32], height: usize, width: usize, rows: usize, cols: usize) -> Vec<f32> {
    let mut padded = vec![0.0; 3 * rows * cols];
    for (i, row) in data.chunks_exact(width).enumerate() {
        let at = (i / height * rows + i % height) * cols;
        padded[at..at + width].copy_from_slice(row);
    }
    padded
}

impl Maps {
    /// [`conv5`](Self::conv5) as files and other engines have it: channel, row, column.
    pub fn conv5_planes(&self) -> Vec<f32> {
        let mut planes = vec![0.0; self.conv5.len()];
        to_channel_major(&self.conv5, self.channels, &mut planes);
        planes
    }

    /// Copies the outputs out of the engine.
    fn read(&mut self, outputs: &[TValue]) -> TractResult<()> {
        let copy = |i: usize, to: &mut Vec<f32>| -> TractResult<()> {
            to.clear();
            to.extend_from_slice(outputs[i].view().as_slice::<f32>()?);
            Ok(())
        };
        let shape = outputs[0].shape();
        (self.rows, self.cols, self.channels) = (shape[1], shape[2], shape[3]);
        copy(0, &mut self.conv5)?;
        if outputs.len() < TRUNK_OUTPUTS.len() {
            self.rpn = None;
            return Ok(());
        }
        let (scores, deltas) = self.rpn.get_or_insert_default();
        copy(1, scores)?;
        copy(2, deltas)
    }
}

#[cfg(test)]
mod tests;
