//! What the boxes hold: RoI pooling, the fully connected layers, softmax, and the detections made of them
//! (Fast R-CNN §2).
//!
//! ```text
//! map, boxes ─► roi_pool ─► fc6 ─ relu ─► fc7 ─ relu ─┬─► cls_score ─ softmax ─► scores ─┐
//!               C·P·P each                            └─► bbox_pred ───────────► deltas ─┴─► postprocess ─► detections
//! ```

mod fc;
mod int8;
mod postprocess;
mod roi_pool;

use crate::{
    kernels::{Batch, Bf16, Inputs, Kernels},
    model::{Bundle, BundleError, Weights},
};
use fc::{Stack, Work};

pub use int8::QuantHead;
pub use postprocess::{
    BoxNormalisation, Detection, HeadOutput, PictureSize, PostParams, PostScratch, Postprocessed, postprocess,
    postprocess_into,
};
pub use roi_pool::{MapView, RoiBins, RoiPooler, pool_cells, roi_pool};

/// The fully connected layers of a network.
#[derive(Debug)]
pub struct Head {
    fc6: Stack,
    fc7: Stack,
    cls_score: Stack,
    bbox_pred: Stack,
    scratch: Scratch,
}

/// Outputs of the layers, kept from picture to picture.
#[derive(Debug, Default)]
struct Scratch {
    work: Work,
    six: Batch,
    seven: Batch,
    last: Batch,
}

/// Why a head cannot be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The weights cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A tensor is missing.
    #[error("head: tensor \"{0}\" is missing; the model is incomplete, import or export it again")]
    Missing(String),
    /// A tensor has the wrong shape.
    #[error("head: tensor \"{name}\" has shape {got:?}, expected {want}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        got: Vec<usize>,
        /// What would fit.
        want: String,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("head: tensor \"{0}\" holds numbers that are not finite; the training run that made it diverged")]
    NonFinite(String),
    /// The pooled RoIs have the wrong length.
    #[error(
        "head: {got} pooled values for {rois} RoIs, but fc6 takes {inputs} per RoI; trunk and head do not belong together"
    )]
    Input {
        /// Values given.
        got: usize,
        /// RoIs they stand for.
        rois: usize,
        /// Values fc6 takes per RoI.
        inputs: usize,
    },
}

/// Is shown the name and the values of each map between the layers.
pub type Watch<'a> = &'a mut dyn FnMut(&str, &[f32]);

impl Head {
    /// The head of a bundle, on the best kernels this processor has.
    pub fn new(bundle: &Bundle) -> Result<Self, HeadError> {
        Self::with_kernels(bundle.head_weights()?, Kernels::best(), 1)
    }

    /// The head of a set of weights, which may hold other layers too. Any of its layers may be a truncated SVD pair.
    pub fn from_weights(weights: Weights) -> Result<Self, HeadError> {
        Self::with_kernels(weights, Kernels::best(), 1)
    }

    /// [`from_weights`](Self::from_weights) on certain kernels. Pooled RoIs come in the file's order, channel, row, column, if
    /// `side` is 1; else cell by cell: row, column, channel, of `side`×`side` cells, which is what the detector does.
    pub fn with_kernels(weights: Weights, kernels: Kernels, side: usize) -> Result<Self, HeadError> {
        Self::with_precision(weights, kernels, side, None)
    }

    /// [`with_kernels`](Self::with_kernels), with products of bf16 if they are given.
    pub fn with_precision(
        mut weights: Weights,
        kernels: Kernels,
        side: usize,
        bf16: Option<Bf16>,
    ) -> Result<Self, HeadError> {
        let mut layer = |name, cells| Stack::take(&mut weights, kernels, name, cells, bf16);
        let head = Self {
            fc6: layer("fc6", side * side)?,
            fc7: layer("fc7", 1)?,
            cls_score: layer("cls_score", 1)?,
            bbox_pred: layer("bbox_pred", 1)?,
            scratch: Scratch::default(),
        };
        head.fc7.expect_inputs(head.fc6.outputs())?;
        head.cls_score.expect_inputs(head.fc7.outputs())?;
        head.bbox_pred.expect_inputs(head.fc7.outputs())?;
        head.bbox_pred.expect_outputs(4 * head.cls_score.outputs())?;
        Ok(head)
    }

    /// Values `fc6` takes per RoI: channels × pool × pool.
    pub fn inputs(&self) -> usize {
        self.fc6.inputs()
    }

    /// K+1: the classes and the background.
    pub fn outputs(&self) -> usize {
        self.cls_score.outputs()
    }

    /// Runs the layers on `n` pooled RoIs, in the order that the head was made for.
    pub fn run(&mut self, pooled: &[f32], n: usize) -> Result<HeadOutput, HeadError> {
        let mut out = HeadOutput::default();
        self.run_into(pooled, n, &mut out)?;
        Ok(out)
    }

    /// [`run`](Self::run) into memory used before.
    pub fn run_into(&mut self, pooled: &[f32], n: usize, out: &mut HeadOutput) -> Result<(), HeadError> {
        self.run_watched(pooled, n, out, None)
    }

    /// [`run_into`](Self::run_into), showing the maps between the layers by name, RoI after RoI: `fc6_v.sum` between the
    /// two layers of a pair, `fc6.relu` after both.
    pub fn run_watched(
        &mut self,
        pooled: &[f32],
        n: usize,
        out: &mut HeadOutput,
        mut watch: Option<Watch<'_>>,
    ) -> Result<(), HeadError> {
        if pooled.len() != n * self.inputs() {
            return Err(HeadError::Input { got: pooled.len(), rois: n, inputs: self.inputs() });
        }
        let Scratch { work, six, seven, last } = &mut self.scratch;
        let mut rows = Vec::new();
        let mut run = |stack: &Stack, layer: &str, x: Inputs, work: &mut Work, y: &mut Batch| {
            let hidden = matches!(layer, "fc6" | "fc7");
            stack.run(x, n, hidden, work, y);
            let Some(watch) = &mut watch else { return };
            if let Some(middle) = stack.middle(work) {
                middle.to_rows(&mut rows);
                watch(&format!("{layer}_v.sum"), &rows);
            }
            if hidden {
                y.to_rows(&mut rows);
                watch(&format!("{layer}.relu"), &rows);
            }
        };
        run(&self.fc6, "fc6", Inputs::Rows(pooled), work, six);
        run(&self.fc7, "fc7", Inputs::Batch(six), work, seven);
        run(&self.cls_score, "cls_score", Inputs::Batch(seven), work, last);
        last.to_rows(&mut out.scores);
        run(&self.bbox_pred, "bbox_pred", Inputs::Batch(seven), work, last);
        last.to_rows(&mut out.deltas);
        (out.rois, out.outputs) = (n, self.outputs());
        out.scores.chunks_exact_mut(out.outputs).for_each(softmax);
        Ok(())
    }
}

/// Exponentials with the largest value subtracted first, divided by their sum.
fn softmax(row: &mut [f32]) {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for v in row.iter_mut() {
        *v = (*v - top).exp();
        sum += *v;
    }
    row.iter_mut().for_each(|v| *v /= sum);
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
