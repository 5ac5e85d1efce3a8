//! Calibration: which range of values each map of a network has, seen on pictures, and a model in 8 bits made of it.
//!
//! ```text
//! pictures ─► the real network, every map watched ─► histograms ─► ranges by a method ─► quantize ─► bundle
//! ```
//!
//! The network runs as in the detector, to the head's last layer, on its own proposals. How 8-bit numbers are made of a
//! range is said in [`model::quantize`](crate::model::quantize).

mod histogram;
mod method;

use crate::{
    boxes::BBox,
    detector::rpn_params,
    frame::{Blob, Picture, Scaling, preprocess},
    head::{Head, HeadError, HeadOutput, MapView, RoiPooler},
    kernels::{Kernels, Team},
    model::{
        Architecture, Bundle, BundleError, Quantization,
        arch::FEATURE_STRIDE,
        quantize::{CONV5, Dataflow, Means, POOLED, QuantizeError, Ranges, quantize},
    },
    proposals::{Proposal, ProposalContext, ProposalError, ProposalSource, Rpn, RpnMaps},
    trunk::{TrunkError, WatchedTrunk},
};
use std::collections::BTreeMap;

pub use histogram::Histogram;
pub use method::Method;

/// What was seen of one map.
#[derive(Debug, Clone, Default)]
struct Seen {
    histogram: Histogram,
    /// Sum of each channel, and how many values of each there were.
    sums: Vec<f64>,
    count: u64,
}

/// Watches a network look at pictures.
pub struct Calibrator {
    trunk: WatchedTrunk,
    head: Head,
    rpn: Rpn,
    network: &'static Architecture,
    scaling: Scaling,
    mean_bgr: [f32; 3],
    flow: Dataflow,
    threads: Team,
    seen: BTreeMap<String, Seen>,
    pictures: usize,
    // Memory kept from picture to picture.
    blob: Blob,
    pooler: RoiPooler,
    pooled: Vec<f32>,
    output: HeadOutput,
}

/// Why a model cannot be calibrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// It is in 8 bits already.
    #[error("the model is in 8 bits already; calibrate the model of real numbers that it was made of (--model)")]
    Quantized,
    /// No pictures.
    #[error("no picture to calibrate on; give at least one")]
    NoPictures,
    /// A picture that is too thin to have a map.
    #[error("{rows}×{cols} pixels of network input are too few to see anything; take larger pictures")]
    TooSmall {
        /// Rows of the input.
        rows: usize,
        /// Columns of the input.
        cols: usize,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} threads: {reason}; ask for fewer threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The numbers cannot be quantised.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The bundle.
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
}

impl Calibrator {
    /// Prepares the network of a bundle for being watched.
    pub fn new(bundle: &Bundle, threads: usize) -> Result<Self, CalibrateError> {
        if bundle.manifest.quantization.is_some() {
            return Err(CalibrateError::Quantized);
        }
        if !bundle.manifest.has_rpn {
            return Err(ProposalError::NoRpn.into());
        }
        let flow = bundle.dataflow()?;
        let pool = Team::new(threads).map_err(|e| CalibrateError::Threads { threads, reason: e.to_string() })?;
        let input = &bundle.manifest.input;
        Ok(Self {
            trunk: WatchedTrunk::new(bundle, &flow.trunk_maps(), threads)?,
            head: Head::new(bundle)?,
            rpn: Rpn::new(rpn_params(&bundle.manifest), Kernels::best()),
            network: bundle.network()?,
            scaling: Scaling { short: input.short_side, long_max: input.long_max },
            mean_bgr: input.mean_bgr,
            flow,
            threads: pool,
            seen: BTreeMap::new(),
            pictures: 0,
            blob: Blob::default(),
            pooler: RoiPooler::default(),
            pooled: Vec::new(),
            output: HeadOutput::default(),
        })
    }

    /// Looks at one picture.
    pub fn see(&mut self, picture: &Picture) -> Result<(), CalibrateError> {
        preprocess(picture, self.scaling, self.mean_bgr, &mut self.blob);
        let (rows, cols) = (self.blob.height, self.blob.width);
        if rows < FEATURE_STRIDE || cols < FEATURE_STRIDE {
            return Err(CalibrateError::TooSmall { rows, cols });
        }
        let seen = &mut self.seen;
        let maps = self.trunk.run(&self.blob, |name, map, channels| look(seen, name, map, channels))?;
        let conv5 = maps.conv5_planes();
        look(seen, CONV5, &conv5, maps.channels);

        let map = MapView { data: &conv5, channels: maps.channels, rows: maps.rows, cols: maps.cols };
        let rpn = maps.rpn.as_ref().map(|(scores, deltas)| RpnMaps { scores, deltas, rows: map.rows, cols: map.cols });
        let context = ProposalContext { name: None, blob_height: rows, blob_width: cols, scale: self.blob.scale, rpn };
        let mut proposals: Vec<Proposal> = Vec::new();
        self.rpn.propose(&context, &mut proposals)?;
        let rois: Vec<BBox> = proposals.iter().map(|p| p.bbox).collect();
        let (pooler, pooled, side) = (&mut self.pooler, &mut self.pooled, self.network.pool_size);
        self.threads.install(|| pooler.pool(map, &rois, 1.0 / FEATURE_STRIDE as f32, side, pooled));
        // The range of the pooled values is that of the map; their means are of each place of the window.
        let of_pooled = seen.entry(POOLED.into()).or_default();
        of_pooled.sums.resize(self.network.fc_inputs(), 0.0);
        for roi in self.pooled.chunks_exact(self.network.fc_inputs()) {
            of_pooled.sums.iter_mut().zip(roi).for_each(|(sum, x)| *sum += f64::from(*x));
            of_pooled.count += 1;
        }
        let (head, pooled, output) = (&mut self.head, &self.pooled, &mut self.output);
        self.threads.install(|| {
            let mut watch = |name: &str, map: &[f32]| look_at_rows(seen, name, map, rois.len());
            head.run_watched(pooled, rois.len(), output, Some(&mut watch))
        })?;
        self.pictures += 1;
        Ok(())
    }

    /// The range of each map by a method.
    pub fn ranges(&self, method: Method) -> Ranges {
        let maps = self.flow.inputs().map(|(_, map)| map).chain([CONV5]).filter(|map| *map != POOLED);
        let range = |map: &str| {
            let steps = if Dataflow::is_signed(map) { 127 } else { 255 };
            Some((map.to_string(), method.range(&self.seen.get(map)?.histogram, steps)))
        };
        maps.filter_map(range).collect()
    }

    /// Mean of each channel of each map.
    pub fn means(&self) -> Means {
        let mean = |seen: &Seen| seen.sums.iter().map(|sum| sum / seen.count.max(1) as f64).collect();
        self.seen.iter().map(|(map, seen)| (map.clone(), mean(seen))).collect()
    }

    /// The model in 8 bits. `images_sha256` is the checksum of the list of the pictures that were seen.
    pub fn quantized(
        &self,
        bundle: &Bundle,
        method: Method,
        bias_correction: bool,
        images_sha256: &str,
    ) -> Result<Bundle, CalibrateError> {
        if self.pictures == 0 {
            return Err(CalibrateError::NoPictures);
        }
        let (ranges, means) = (self.ranges(method), self.means());
        let means = bias_correction.then_some(&means);
        let quantized = quantize(&bundle.weights()?, &self.flow, self.mean_bgr, &ranges, means)?;
        let how = Quantization {
            method: method.to_string(),
            bias_correction,
            images: self.pictures,
            images_sha256: images_sha256.into(),
        };
        let mut made = bundle.with_quantized(&quantized, how)?;
        // So that logs and the `hello` line tell the two apart.
        made.manifest.name.push_str("-int8");
        Ok(made)
    }
}

/// Takes note of a map, channel-major.
fn look(seen: &mut BTreeMap<String, Seen>, name: &str, map: &[f32], channels: usize) {
    if map.is_empty() || channels == 0 {
        return;
    }
    let seen = seen.entry(name.into()).or_default();
    seen.histogram.add(map);
    seen.sums.resize(channels, 0.0);
    let plane = map.len() / channels;
    for (sum, plane) in seen.sums.iter_mut().zip(map.chunks_exact(plane)) {
        *sum += plane.iter().map(|x| f64::from(*x)).sum::<f64>();
    }
    seen.count += plane as u64;
}

/// Takes note of a fully connected layer's outputs, RoI after RoI.
fn look_at_rows(seen: &mut BTreeMap<String, Seen>, name: &str, map: &[f32], rois: usize) {
    if map.is_empty() || rois == 0 {
        return;
    }
    let seen = seen.entry(name.into()).or_default();
    seen.histogram.add(map);
    let features = map.len() / rois;
    seen.sums.resize(features, 0.0);
    for row in map.chunks_exact(features) {
        seen.sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    seen.count += rois as u64;
}

#[cfg(test)]
mod tests;
