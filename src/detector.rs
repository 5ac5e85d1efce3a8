//! The composition: one picture through all stages, on one screen ([`Detector::detect_named`]).
//!
//! ```text
//! Picture ─► preprocess ─► trunk ─► proposals ─► RoI pool ─► head ─► postprocess ─► Detected
//! ```
//!
//! Each stage is a named call with its time taken. Boxes are [`BBox`] (inclusive, network input pixels) up to the head,
//! and half-open [`Rect`]s of the original picture in what comes out. Working memory is kept from
//! picture to picture, so a detector is used by one thread at a time; inside each stage it uses all cores it was given.

mod network;
mod options;
mod times;

use crate::{
    boxes::{BBox, Rect},
    frame::{Blob, Picture, Scaling, preprocess},
    head::{Head, HeadError, HeadOutput, MapView, PictureSize, PostParams, RoiPooler, postprocess},
    model::{BundleError, arch::FEATURE_STRIDE},
    proposals::{Proposal, ProposalContext, ProposalError, ProposalSource, RpnMaps},
    trunk::TrunkError,
};
use rayon::ThreadPool;

pub use crate::head::Detection;
use network::Network;
pub(crate) use options::rpn_params;
pub use options::{DetectorOptions, class_id};
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
    pool_size: usize,
    pooler: RoiPooler,
    post: PostParams,
    threads: ThreadPool,
    // Memory kept from picture to picture.
    blob: Blob,
    proposals: Vec<Proposal>,
    rois: Vec<BBox>,
    pooled: Vec<f32>,
    output: HeadOutput,
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

/// Why a detector cannot be built or failed on a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// The bundle is not right.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The trunk.
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    /// The head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The proposals.
    #[error(transparent)]
    Proposals(#[from] ProposalError),
    /// A class filter names a class the model does not know.
    #[error("class \"{name}\" is unknown to the model{hint}; it knows: {known}")]
    UnknownClass {
        /// The name asked for.
        name: String,
        /// Empty, or the nearest valid name.
        hint: String,
        /// All names.
        known: String,
    },
    /// An option is out of range.
    #[error("{name} = {value}: {reason}")]
    Option {
        /// The option.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} threads: {reason}; ask for fewer threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The pixels do not fit the picture's size.
    #[error(
        "a picture of {width}×{height} with {bytes} bytes of RGB cannot be looked at; it needs 3·width·height, and one pixel at least"
    )]
    Picture {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes given.
        bytes: usize,
    },
}

impl Detector {
    /// Looks at one picture.
    pub fn detect(&mut self, picture: &Picture) -> Result<Detected, DetectorError> {
        self.detect_named(picture, None)
    }

    /// Looks at one picture; proposals from a file are found by its name.
    pub fn detect_named(&mut self, picture: &Picture, name: Option<&str>) -> Result<Detected, DetectorError> {
        let size = PictureSize { width: picture.width, height: picture.height };
        check_picture(picture)?;
        let (mut times, mut watch) = (StageTimes::default(), Stopwatch::start());

        preprocess(picture, self.scaling, self.mean_bgr, &mut self.blob);
        let Blob { height, width, scale, .. } = self.blob;
        times.preprocess = watch.lap();
        self.proposals.clear();
        if height < FEATURE_STRIDE || width < FEATURE_STRIDE {
            // Too thin for one cell of the map: such a picture holds nothing, it is not an error.
            return Ok(Detected { timings: times, input: (height, width), ..Detected::default() });
        }

        let maps = self.network.trunk(&self.blob, &self.threads)?;
        let map = MapView { data: &maps.conv5, channels: maps.channels, rows: maps.rows, cols: maps.cols };
        times.trunk = watch.lap();

        let rpn = maps.rpn.as_ref().map(|(scores, deltas)| RpnMaps { scores, deltas, rows: map.rows, cols: map.cols });
        let context = ProposalContext { name, blob_height: height, blob_width: width, scale, rpn };
        let lost = self.source.propose(&context, &mut self.proposals)?;
        self.rois.clear();
        self.rois.extend(self.proposals.iter().take(self.max_rois).map(|p| p.bbox));
        times.proposals = watch.lap();

        let (pooler, pooled, rois) = (&mut self.pooler, &mut self.pooled, &self.rois);
        self.threads.install(|| pooler.pool(map, rois, 1.0 / FEATURE_STRIDE as f32, self.pool_size, pooled));
        times.roi_pool = watch.lap();

        self.network.head(pooled, rois.len(), &mut self.output, &self.threads)?;
        times.head = watch.lap();

        let found = postprocess(&self.output, rois, &self.post, size, scale);
        times.postprocess = watch.lap();

        Ok(Detected {
            detections: found.detections,
            timings: times,
            input: (height, width),
            proposals: self.rois.len(),
            non_finite: lost + found.non_finite,
        })
    }

    /// The last picture again, from its pooled RoIs on, with another head: its detections, and the milliseconds that the
    /// head took. To compare heads, for which everything before them is the same.
    pub fn again_with(&mut self, head: &mut Head, picture: &Picture) -> Result<(Vec<Detection>, f64), DetectorError> {
        let size = PictureSize { width: picture.width, height: picture.height };
        let (output, pooled, rois) = (&mut self.output, &self.pooled, &self.rois);
        let mut watch = Stopwatch::start();
        self.threads.install(|| head.run_into(pooled, rois.len(), output))?;
        let ms = watch.lap();
        Ok((postprocess(output, rois, &self.post, size, self.blob.scale).detections, ms))
    }

    /// Prepares for pictures of this size, so that the first one does not pay for it.
    pub fn warm_up(&self, width: usize, height: usize) -> Result<(), DetectorError> {
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

    /// What the trunk is computed with, for logs: one of [`Kernels::NAMES`](crate::kernels::Kernels::NAMES) or `tract`.
    pub fn kernels(&self) -> &'static str {
        self.network.kernels()
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
        let back = 1.0 / self.blob.scale;
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
