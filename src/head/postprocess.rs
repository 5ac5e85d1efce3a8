//! From scores and deltas to detections (Fast R-CNN §2.3, the reference code's test loop).
//!
//! In words, for each class: take the RoIs that score above `min_score`; undo the normalisation of their deltas; decode
//! from the RoI divided by the scale; clip to the picture; suppress per class at IoU > `nms`. Over all classes keep the
//! `max_detections` best. Differences from the reference: where several detections tie at the last place, it keeps
//! them all and we keep the first ones in the order below; numbers that are not finite are left out and counted.
//!
//! The result is sorted by falling score, then box (x1, y1, x2, y2), then class, so equal input gives equal output.

use crate::boxes::{BBox, Rect, Suppressor, delta};
use std::cmp::Ordering;

/// What the head says about each pooled RoI.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeadOutput {
    /// Number of RoIs.
    pub rois: usize,
    /// K+1: the classes and the background, which comes first.
    pub outputs: usize,
    /// `rois`×`outputs` probabilities.
    pub scores: Vec<f32>,
    /// `rois`×`outputs`×4 deltas, as the layer gives them.
    pub deltas: Vec<f32>,
}

/// An object found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// From 1; 0 would be the background.
    pub class_id: usize,
    /// Probability in 0…1.
    pub score: f32,
    /// In pixels of the original picture, inside it: `0 ≤ x1 < x2 ≤ width`, likewise for y.
    pub rect: Rect,
}

/// The numbers the regression targets were normalised with in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxNormalisation {
    /// Subtracted from dx, dy, dw, dh.
    pub means: [f32; 4],
    /// What the difference was divided by.
    pub stds: [f32; 4],
}

impl Default for BoxNormalisation {
    /// The numbers of the reference code.
    fn default() -> Self {
        Self { means: [0.0; 4], stds: [0.1, 0.1, 0.2, 0.2] }
    }
}

/// Which detections to report.
#[derive(Debug, Clone, PartialEq)]
pub struct PostParams {
    /// Detections must score more than this.
    pub min_score: f32,
    /// Overlap above which the worse of two detections of a class goes.
    pub nms: f32,
    /// Most detections per picture.
    pub max_detections: usize,
    /// Report only these classes (from 1); all if absent.
    pub classes: Option<Vec<usize>>,
    /// How to undo the normalisation of the deltas; absent if the weights do it.
    pub normalisation: Option<BoxNormalisation>,
}

impl Default for PostParams {
    /// The numbers of the reference code, for weights that undo the normalisation themselves.
    fn default() -> Self {
        Self { min_score: 0.05, nms: 0.3, max_detections: 100, classes: None, normalisation: None }
    }
}

/// Size of the original picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSize {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The detections of one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Postprocessed {
    /// Best first.
    pub detections: Vec<Detection>,
    /// Candidates left out because a number was not finite.
    pub non_finite: usize,
}

/// Memory reused from picture to picture.
#[derive(Debug, Default)]
pub struct PostScratch {
    kept: Suppressor,
    /// Score, number of the RoI, box.
    candidates: Vec<(f32, usize, BBox)>,
}

/// The detections of one picture. `rois` are in pixels of the network input, `scale` is that input's ratio to the
/// picture; `output` must be the head's for these RoIs.
pub fn postprocess(
    output: &HeadOutput,
    rois: &[BBox],
    params: &PostParams,
    picture: PictureSize,
    scale: f32,
) -> Postprocessed {
    let mut all = Postprocessed::default();
    let scratch = &mut PostScratch::default();
    all.non_finite = postprocess_into(&mut all.detections, scratch, output, rois, params, picture, scale);
    all
}

/// [`postprocess`] into memory used before, as its [`Postprocessed::detections`]; returns its
/// [`Postprocessed::non_finite`].
pub fn postprocess_into(
    all: &mut Vec<Detection>,
    scratch: &mut PostScratch,
    output: &HeadOutput,
    rois: &[BBox],
    params: &PostParams,
    picture: PictureSize,
    scale: f32,
) -> usize {
    let PostScratch { kept, candidates } = scratch;
    let mut non_finite = 0;
    all.clear();
    for class_id in 1..output.outputs {
        if params.classes.as_ref().is_some_and(|c| !c.contains(&class_id)) {
            continue;
        }
        candidates.clear();
        for (roi, bbox) in rois.iter().enumerate().take(output.rois) {
            let entry = roi * output.outputs + class_id;
            let score = output.scores[entry];
            if score <= params.min_score {
                continue;
            }
            let delta = std::array::from_fn(|k| output.deltas[4 * entry + k]);
            match locate(bbox, delta, params.normalisation.as_ref(), picture, scale) {
                Some(found) if score.is_finite() => candidates.push((score, roi, found)),
                _ => non_finite += 1,
            }
        }
        // Equal scores stay in the order of the RoIs.
        candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        kept.restart(params.nms);
        for &(score, _, bbox) in &*candidates {
            if kept.offer(&bbox) {
                all.push(Detection { class_id, score, rect: inside(bbox, picture) });
            }
        }
    }
    // Nothing is left to chance: two that are equal in all are the same.
    all.sort_unstable_by(order);
    all.truncate(params.max_detections);
    non_finite
}

/// The box in the picture that a delta makes of an RoI; absent if it is not finite or inside out.
fn locate(
    roi: &BBox,
    mut delta: delta::Delta,
    normalisation: Option<&BoxNormalisation>,
    picture: PictureSize,
    scale: f32,
) -> Option<BBox> {
    if let Some(n) = normalisation {
        delta = std::array::from_fn(|k| delta[k] * n.stds[k] + n.means[k]);
    }
    let original = BBox::new(roi.x1 / scale, roi.y1 / scale, roi.x2 / scale, roi.y2 / scale);
    let decoded = delta::decode(&original, &delta);
    let finite = decoded.is_finite() && delta.iter().all(|v| v.is_finite());
    let bbox = decoded.clip(picture.width as f32, picture.height as f32);
    (finite && bbox.x1 <= bbox.x2 && bbox.y1 <= bbox.y2).then_some(bbox)
}

/// The half-open box. The inclusive one lies inside the picture already; this only guards the strict order against the
/// rounding of `x2 + 1`, which swallows the 1 in pictures wider than 2²⁴ pixels.
fn inside(bbox: BBox, picture: PictureSize) -> Rect {
    let r = Rect::from(bbox);
    let (w, h) = (picture.width as f32, picture.height as f32);
    let (x2, y2) = (r.x2.min(w), r.y2.min(h));
    Rect { x1: r.x1.min(x2.next_down()).max(0.0), y1: r.y1.min(y2.next_down()).max(0.0), x2, y2 }
}

fn order(a: &Detection, b: &Detection) -> Ordering {
    let corners = |d: &Detection| [d.rect.x1, d.rect.y1, d.rect.x2, d.rect.y2];
    let by_box = || corners(a).iter().zip(corners(b)).map(|(p, q)| p.total_cmp(&q)).find(|o| o.is_ne());
    b.score
        .total_cmp(&a.score)
        .then_with(|| by_box().unwrap_or(Ordering::Equal))
        .then_with(|| a.class_id.cmp(&b.class_id))
}

#[cfg(test)]
#[path = "postprocess_tests.rs"]
mod tests;
