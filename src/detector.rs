//! The composition: one picture through all stages, on one screen ([`Detector::detect_named`]).
//!
//! ```text
//! Picture ─► preprocess ─► trunk ─► proposals ─► RoI pool ─► head ─► postprocess ─► Detected
//! ```
//!
//! Each stage is a named call with its time taken. Boxes are [`BBox`] (inclusive, network input pixels) up to the head,
//! and half-open [`Rect`]s of the original picture in what comes out. Working memory is kept from
//! picture to picture, so a detector is used by one thread at a time; inside each stage it uses all cores it was given.

mod choice;
mod error;
mod network;
mod options;
mod precision;
mod times;

use crate::{
    boxes::{BBox, Rect},
    frame::{Picture, Scaling},
    head::{Head, HeadOutput, PictureSize, PostParams, PostScratch, postprocess_into},
    kernels::Team,
    model::arch::FEATURE_STRIDE,
    proposals::{Proposal, ProposalContext, ProposalSource},
    trunk::LayerTime,
};
use std::time::Duration;

pub use crate::head::Detection;
pub use error::DetectorError;
use network::{InputSize, Network};
pub(crate) use options::rpn_params;
pub use options::{DetectorOptions, class_id};
pub use precision::Precision;
pub use times::StageTimes;
use times::Stopwatch;

/// A model ready to look at pictures.
pub struct Detector {
    classes: Vec<String>,
    scaling: Scaling,
    mean_bgr: [f32; 3],
    network: Network,
    source: Box<dyn ProposalSource>,
    max_rois: usize,
    post: PostParams,
    team: Team,
    /// Of the last picture.
    input: InputSize,
    // Memory kept from picture to picture.
    proposals: Vec<Proposal>,
    rois: Vec<BBox>,
    output: HeadOutput,
    post_scratch: PostScratch,
}

/// What was found in one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detected {
    /// Sorted by falling score, then box, then class.
    pub detections: Vec<Detection>,
    /// How long each stage took.
    pub timings: StageTimes,
    /// Rows and columns of the network input.
    pub input: (usize, usize),
    /// Boxes the head looked at.
    pub proposals: usize,
    /// Proposals and detections left out because a number was not finite.
    pub non_finite: usize,
}

impl Detected {
    /// As new, but for the memory of its list.
    pub fn clear(&mut self) {
        let mut detections = std::mem::take(&mut self.detections);
        detections.clear();
        *self = Self { detections, ..Self::default() };
    }
}

impl Detector {
    /// Looks at one picture.
    pub fn detect(&mut self, picture: &Picture) -> Result<Detected, DetectorError> {
        self.detect_named(picture, None)
    }

    /// [`detect`](Self::detect) into memory used before: picture after picture of the same size takes none.
    pub fn detect_into(&mut self, picture: &Picture, found: &mut Detected) -> Result<(), DetectorError> {
        self.install(picture, None, found)
    }

    /// Looks at one picture; proposals from a file are found by its name.
    pub fn detect_named(&mut self, picture: &Picture, name: Option<&str>) -> Result<Detected, DetectorError> {
        let mut found = Detected::default();
        self.install(picture, name, &mut found)?;
        Ok(found)
    }

    /// All stages on one team, whose threads hardly sleep between them.
    fn install(&mut self, picture: &Picture, name: Option<&str>, found: &mut Detected) -> Result<(), DetectorError> {
        check_picture(picture)?;
        found.clear();
        let team = self.team.clone();
        team.install(|| self.look(picture, name, found))
    }

    fn look(&mut self, picture: &Picture, name: Option<&str>, found: &mut Detected) -> Result<(), DetectorError> {
        let size = PictureSize { width: picture.width, height: picture.height };
        let mut watch = Stopwatch::start();
        let times = &mut found.timings;

        self.input = self.network.preprocess(picture, self.scaling, self.mean_bgr);
        let InputSize { height, width, scale } = self.input;
        found.input = (height, width);
        times.preprocess = watch.lap();
        self.proposals.clear();
        if height < FEATURE_STRIDE || width < FEATURE_STRIDE {
            // Too thin for one cell of the map: such a picture holds nothing, it is not an error.
            return Ok(());
        }

        self.network.trunk()?;
        times.trunk = watch.lap();

        let rpn = self.network.rpn();
        let context = ProposalContext { name, blob_height: height, blob_width: width, scale, rpn };
        let lost = self.source.propose(&context, &mut self.proposals)?;
        self.rois.clear();
        self.rois.extend(self.proposals.iter().take(self.max_rois).map(|p| p.bbox));
        times.proposals = watch.lap();

        self.network.pool(&self.rois)?;
        times.roi_pool = watch.lap();

        self.network.head(&mut self.output)?;
        times.head = watch.lap();

        let (list, scratch) = (&mut found.detections, &mut self.post_scratch);
        let left_out = postprocess_into(list, scratch, &self.output, &self.rois, &self.post, size, scale);
        times.postprocess = watch.lap();

        (found.proposals, found.non_finite) = (self.rois.len(), lost + left_out);
        Ok(())
    }

    /// The last picture again, from its pooled RoIs on, with another head of real numbers, which takes them cell by cell
    /// ([`pool_size`](Self::pool_size)): its detections, and the milliseconds that the head took. To compare heads, for which
    /// everything before them is the same. A model in 8 bits, or on a GPU, has nothing to compare.
    pub fn again_with(&mut self, head: &mut Head, picture: &Picture) -> Result<(Vec<Detection>, f64), DetectorError> {
        let size = PictureSize { width: picture.width, height: picture.height };
        let (output, pooled, rois) = (&mut self.output, self.network.pooled().unwrap_or_default(), &self.rois);
        let mut watch = Stopwatch::start();
        self.team.install(|| head.run_into(pooled, rois.len(), output))?;
        let ms = watch.lap();
        let mut found = Vec::new();
        postprocess_into(&mut found, &mut self.post_scratch, output, rois, &self.post, size, self.input.scale);
        Ok((found, ms))
    }

    /// How long each layer of the trunk takes on a picture, in the graph's order.
    pub fn layer_times(&mut self, picture: &Picture) -> Result<Vec<LayerTime>, DetectorError> {
        check_picture(picture)?;
        let team = self.team.clone();
        team.install(|| {
            self.input = self.network.preprocess(picture, self.scaling, self.mean_bgr);
            self.network.layer_times()
        })
    }

    /// What the innermost loop of the trunk's kernels reaches at most on the detector's threads, measured for so long:
    /// multiplications and additions a second. On a GPU what a product of large matrices reaches.
    pub fn peak(&self, time: Duration) -> Result<f64, DetectorError> {
        self.team.install(|| self.network.peak(time))
    }

    /// Cells along a side of a pooled RoI.
    pub fn pool_size(&self) -> usize {
        self.network.pool_size()
    }

    /// Prepares for pictures of this size, so that the first one does not pay for it.
    pub fn warm_up(&mut self, width: usize, height: usize) -> Result<(), DetectorError> {
        let (columns, rows) = self.scaling.input_size(width, height);
        if rows >= FEATURE_STRIDE && columns >= FEATURE_STRIDE {
            self.network.warm_up(rows, columns)?;
        }
        Ok(())
    }

    /// Class names; the name of `class_id` is at `class_id - 1`.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The name of a detection's class; empty for an id the model does not have.
    pub fn label(&self, class_id: usize) -> &str {
        class_id.checked_sub(1).and_then(|i| self.classes.get(i)).map_or("", String::as_str)
    }

    /// Where proposals come from, for logs.
    pub fn proposal_source(&self) -> &'static str {
        self.source.name()
    }

    /// What the trunk is computed with, for logs: one of [`Kernels::NAMES`](crate::kernels::Kernels::NAMES),
    /// `int8-` and one of [`Dot::NAMES`](crate::kernels::int8::Dot::NAMES), `bf16-avx512`, `bf16-amx` or `bf16-neon`,
    /// `tract`, or on a GPU `cuda` or `cuda-tf32`.
    pub fn kernels(&self) -> &'static str {
        self.network.kernels()
    }

    /// The GPU that computes trunk and head, by its maker's name.
    pub fn gpu(&self) -> Option<&str> {
        self.network.gpu()
    }

    /// How large the network input is made.
    pub fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// Changes the size of the network input from the next picture on, to stay inside a time budget.
    pub fn set_scaling(&mut self, scaling: Scaling) {
        self.scaling = scaling;
    }

    /// Limits the boxes the head looks at to the first `max` proposals, so that more can be kept for
    /// [`last_proposals`](Self::last_proposals).
    pub fn set_rois(&mut self, max: usize) {
        self.max_rois = max.max(1);
    }

    /// All proposals of the last picture, best first, in pixels of the original picture.
    pub fn last_proposals(&self) -> Vec<Rect> {
        let back = 1.0 / self.input.scale;
        self.proposals.iter().map(|p| Rect::from(p.bbox.scaled(back))).collect()
    }

    /// Limits the proposals from the next picture on, to stay inside a time budget.
    pub fn set_proposals(&mut self, max: usize) {
        self.source.set_max(max.max(1));
    }
}

fn check_picture(picture: &Picture) -> Result<(), DetectorError> {
    let (width, height, bytes) = (picture.width, picture.height, picture.rgb.len());
    let fits = width.checked_mul(height).and_then(|n| n.checked_mul(3)) == Some(bytes) && bytes > 0;
    fits.then_some(()).ok_or(DetectorError::Picture { width, height, bytes })
}

#[cfg(test)]
mod tests;
