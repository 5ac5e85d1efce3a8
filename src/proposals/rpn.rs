//! Proposals of the region proposal network (Faster R-CNN §3.1, the reference code's proposal layer).
//!
//! In words: softmax over the (background, object) pair of each anchor; decode each anchor's delta; clip to the network
//! input; drop boxes with a side under `min_size · scale`; sort by score, ties in the order row, column, anchor; keep
//! `pre_nms`; suppress at IoU > `nms`; keep `post_nms`.
//!
//! The result is exactly that, but in a cheaper order:
//! 1. Only the scores are computed for all anchors. Sorting them as integers `(inverted score bits, anchor index)` is
//!    the stable order by falling score. The best are told from the rest and sorted as far as they are asked for.
//! 2. Decoding, clipping and suppression run over the sorted anchors one at a time and stop at `post_nms` kept boxes,
//!    so most anchors are never decoded. The loop is compiled for the vectors of the processor; results are the same
//!    bits with all of them.
//!
//! Anchors whose score or delta is not finite are left out and counted.

use super::{Proposal, ProposalContext, ProposalError, ProposalSource, RpnMaps};
use crate::boxes::{AnchorSpec, BBox, Suppressor, delta};
use crate::kernels::{Kernels, Simd, Work};

/// How the RPN's maps become proposals.
#[derive(Debug, Clone, PartialEq)]
pub struct RpnParams {
    /// The anchors the network was trained with.
    pub anchors: AnchorSpec,
    /// Boxes that enter the suppression.
    pub pre_nms: usize,
    /// Boxes that leave it.
    pub post_nms: usize,
    /// Overlap above which the worse box goes.
    pub nms: f32,
    /// Smallest side, in pixels of the original picture.
    pub min_size: f32,
}

impl Default for RpnParams {
    /// The numbers of the paper for detection.
    fn default() -> Self {
        Self { anchors: AnchorSpec::default(), pre_nms: 6000, post_nms: 300, nms: 0.7, min_size: 16.0 }
    }
}

impl RpnParams {
    /// The numbers of the paper for training the head.
    pub fn training() -> Self {
        Self { pre_nms: 12000, post_nms: 2000, ..Self::default() }
    }
}

/// Memory reused from picture to picture, and what is computed with.
#[derive(Debug)]
pub struct ProposeScratch {
    kernels: Kernels,
    order: Vec<u64>,
    /// The anchors of the first cell, and what they were made of.
    base: Vec<BBox>,
    base_of: Option<AnchorSpec>,
    kept: Suppressor,
}

impl ProposeScratch {
    /// For certain kernels.
    pub fn new(kernels: Kernels) -> Self {
        Self { kernels, order: Vec::new(), base: Vec::new(), base_of: None, kept: Suppressor::default() }
    }
}

impl Default for ProposeScratch {
    fn default() -> Self {
        Self::new(Kernels::best())
    }
}

/// Proposals of one picture: [`propose_into`] without reuse of memory.
///
/// `scores` and `deltas` are the RPN's raw maps, as in [`RpnMaps`]; `blob_h`×`blob_w` is the size of the network input
/// and `scale` its ratio to the picture. Maps whose length does not fit the anchors hold no proposals; this is logged.
#[expect(clippy::too_many_arguments, reason = "plain numbers for callers that have no context to hand over")]
pub fn propose(
    params: &RpnParams,
    scores: &[f32],
    deltas: &[f32],
    rows: usize,
    cols: usize,
    blob_h: usize,
    blob_w: usize,
    scale: f32,
) -> Vec<Proposal> {
    let mut out = Vec::new();
    let maps = RpnMaps { scores, deltas, rows, cols };
    if let Err(e) = propose_into(params, &maps, (blob_h, blob_w), scale, &mut ProposeScratch::default(), &mut out) {
        log::error!("no proposals: {e}");
    }
    out
}

/// Replaces the contents of `out` by the proposals of one picture, best first; returns how many anchors were left out
/// because their numbers were not finite. `blob` is (rows, columns) of the network input.
pub fn propose_into(
    params: &RpnParams,
    maps: &RpnMaps<'_>,
    blob: (usize, usize),
    scale: f32,
    scratch: &mut ProposeScratch,
    out: &mut Vec<Proposal>,
) -> Result<usize, ProposalError> {
    out.clear();
    let anchors = params.anchors.per_cell();
    let (rows, cols) = (maps.rows, maps.cols);
    let cells = rows * cols;
    for (map, got, want) in
        [("score", maps.scores.len(), 2 * anchors * cells), ("delta", maps.deltas.len(), 4 * anchors * cells)]
    {
        if got != want {
            return Err(ProposalError::MapSize { map, got, want, anchors, rows, cols });
        }
    }

    let ProposeScratch { kernels, order, base, base_of, kept } = scratch;
    let non_finite = rank(maps.scores, anchors, cells, order);
    if base_of.as_ref() != Some(&params.anchors) {
        *base = params.anchors.base_anchors();
        *base_of = Some(params.anchors.clone());
    }
    kept.restart(params.nms);
    Ok(non_finite + kernels.run(Walk { params, maps, blob, scale, order, base, kept, out }))
}

/// The way from the best anchor down, until enough boxes are kept.
struct Walk<'a> {
    params: &'a RpnParams,
    maps: &'a RpnMaps<'a>,
    blob: (usize, usize),
    scale: f32,
    order: &'a mut [u64],
    base: &'a [BBox],
    kept: &'a mut Suppressor,
    out: &'a mut Vec<Proposal>,
}

impl Work for Walk<'_> {
    /// Anchors whose numbers were not finite.
    type Out = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        let Self { params, maps, order, base, kept, out, .. } = self;
        let (anchors, cols, cells) = (base.len(), maps.cols, maps.rows * maps.cols);
        let (blob_h, blob_w) = (self.blob.0 as f32, self.blob.1 as f32);
        let min_side = params.min_size * self.scale;
        let (mut entered, mut sorted, mut non_finite) = (0, 0, 0);
        for i in 0..order.len() {
            if entered == params.pre_nms || out.len() == params.post_nms {
                break;
            }
            if i == sorted {
                sorted = sort_more(order, sorted);
            }
            let (score, index) = unpack(order[i]);
            let (cell, anchor) = (index / anchors, index % anchors);
            let d: delta::Delta = std::array::from_fn(|k| maps.deltas[(4 * anchor + k) * cells + cell]);
            let placed = params.anchors.at_cell(&base[anchor], cell / cols, cell % cols);
            let decoded = delta::decode(&placed, &d);
            // `decode` limits a wild dw or dh, so those two are looked at here.
            if !decoded.is_finite() || d.iter().any(|v| !v.is_finite()) {
                non_finite += 1;
                continue;
            }
            let bbox = decoded.clip(blob_w, blob_h);
            if bbox.width() < min_side || bbox.height() < min_side {
                continue;
            }
            entered += 1;
            if kept.offer(&bbox) {
                out.push(Proposal { bbox, score });
            }
        }
        non_finite
    }
}

/// Keys that are sorted first; each time after that as many as are sorted already.
const FIRST: usize = 2048;

/// Puts more of the best keys in order, behind the first `sorted` ones; returns how many are sorted then.
fn sort_more(order: &mut [u64], sorted: usize) -> usize {
    let end = (2 * sorted).max(FIRST).min(order.len());
    let rest = &mut order[sorted..];
    if end - sorted < rest.len() {
        rest.select_nth_unstable(end - sorted);
    }
    // All keys differ, so the unstable sort has one possible result.
    rest[..end - sorted].sort_unstable();
    end
}

/// Fills `order` with one key per anchor of finite score, in no order; returns how many were not finite.
fn rank(scores: &[f32], anchors: usize, cells: usize, order: &mut Vec<u64>) -> usize {
    order.clear();
    let (background, object) = scores.split_at(anchors * cells);
    for anchor in 0..anchors {
        let plane = anchor * cells..(anchor + 1) * cells;
        for (cell, (&b, &o)) in background[plane.clone()].iter().zip(&object[plane]).enumerate() {
            if b.is_finite() && o.is_finite() {
                order.push(pack(object_probability(b, o), cell * anchors + anchor));
            }
        }
    }
    anchors * cells - order.len()
}

/// Softmax of the pair with the larger one subtracted first, whose own exponential is then exactly 1.
fn object_probability(background: f32, object: f32) -> f32 {
    let other = (-(object - background).abs()).exp();
    if object >= background { 1.0 / (other + 1.0) } else { other / (other + 1.0) }
}

/// Keys rise as the (non-negative) score falls, then as the index rises.
fn pack(score: f32, index: usize) -> u64 {
    u64::from(!score.to_bits()) << 32 | index as u64 & u64::from(u32::MAX)
}

fn unpack(key: u64) -> (f32, usize) {
    (f32::from_bits(!((key >> 32) as u32)), (key & u64::from(u32::MAX)) as usize)
}

/// The RPN as a source.
#[derive(Debug, Default)]
pub struct Rpn {
    params: RpnParams,
    scratch: ProposeScratch,
}

impl Rpn {
    /// A source with these numbers, on certain kernels.
    pub fn new(params: RpnParams, kernels: Kernels) -> Self {
        Self { params, scratch: ProposeScratch::new(kernels) }
    }
}

impl ProposalSource for Rpn {
    fn name(&self) -> &'static str {
        "rpn"
    }

    fn propose(&mut self, context: &ProposalContext<'_>, out: &mut Vec<Proposal>) -> Result<usize, ProposalError> {
        let maps = context.rpn.ok_or(ProposalError::NoRpn)?;
        let blob = (context.blob_height, context.blob_width);
        propose_into(&self.params, &maps, blob, context.scale, &mut self.scratch, out)
    }

    fn set_max(&mut self, max: usize) {
        self.params.post_nms = max;
    }
}

#[cfg(test)]
#[path = "rpn_tests.rs"]
mod tests;
