//! What one picture teaches: the part of an iteration that is arithmetic over boxes. It runs on the CPU wherever the
//! network runs, for all pictures of an iteration side by side.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::detect::{Learn, Phase, Proposals};
use super::feed::Shown;
use super::roi::{Maxima, to_vec};
use super::targets::{HeadTargets, RpnTargets, head_targets, rpn_targets};
use crate::boxes::{AnchorSpec, BBox};
use crate::head::MapView;
use crate::model::arch::FEATURE_STRIDE;
use crate::proposals::{RpnParams, propose};

/// What trunk and RPN made of a picture, without gradients.
#[derive(Debug)]
pub struct Constants {
    /// The map `[1, C, h, w]`.
    pub map: Tensor,
    /// The RPN's scores and deltas, if it has been asked.
    pub rpn: Option<[Tensor; 2]>,
}

/// What RPN and head are to learn from a picture. One too small for any anchor or RoI teaches nothing.
#[derive(Debug)]
pub struct Lesson {
    /// The RPN's sample.
    pub rpn: Option<RpnTargets>,
    /// The head's sample, and where its RoIs are largest.
    pub head: Option<(HeadTargets, Maxima)>,
}

/// Draws the samples of a picture.
pub fn prepare(
    shown: &Shown,
    constants: &Constants,
    proposals: &Proposals,
    phase: &Phase,
    pool_size: usize,
    rng: &mut ChaCha8Rng,
) -> Lesson {
    let size = constants.map.size();
    let [channels, rows, cols] = [1, 2, 3].map(|axis| size[axis] as usize);
    let rpn = (phase.learn != Learn::Head).then(|| {
        let boxes: Vec<BBox> = shown.objects.iter().map(|o| o.0).collect();
        let anchors = phase.anchors.over_map(rows, cols);
        rpn_targets(&anchors, &boxes, shown.width as f32, shown.height as f32, &phase.rpn, rng)
    });
    let rpn = rpn.filter(|t| !t.anchors.is_empty());
    if phase.learn == Learn::Rpn {
        return Lesson { rpn, head: None };
    }

    let boxes: Vec<BBox> = match (proposals, &constants.rpn) {
        (Proposals::Stored(all), _) => stored(&all[shown.picture], shown),
        (Proposals::Live, Some([scores, deltas])) => live_proposals(scores, deltas, shown, &phase.anchors),
        (Proposals::Live, None) => Vec::new(), // Live proposals always come with RPN maps.
    };
    let targets = head_targets(&boxes, &shown.objects, &phase.head, rng);
    let head = (!targets.rois.is_empty()).then(|| {
        let values = to_vec(&constants.map);
        let view = MapView { data: &values, channels, rows, cols };
        let device = constants.map.device();
        let maxima = Maxima::find(view, &targets.rois, 1.0 / FEATURE_STRIDE as f32, pool_size, device);
        (targets, maxima)
    });
    Lesson { rpn, head }
}

/// Stored boxes carried into the pixels of the network input.
fn stored(boxes: &[BBox], shown: &Shown) -> Vec<BBox> {
    let width = shown.width as f32 / shown.scale;
    boxes
        .iter()
        .map(|b| if shown.flipped { b.flipped(width.round()) } else { *b })
        .map(|b| b.scaled(shown.scale).clip(shown.width as f32, shown.height as f32))
        .collect()
}

/// The proposals the RPN makes now, as constants, in pixels of the network input.
pub fn live_proposals(scores: &Tensor, deltas: &Tensor, shown: &Shown, anchors: &AnchorSpec) -> Vec<BBox> {
    let params = RpnParams { anchors: anchors.clone(), ..RpnParams::training() };
    let [rows, cols] = [2, 3].map(|axis| scores.size()[axis] as usize);
    let (scores, deltas) = (to_vec(scores), to_vec(deltas));
    let found = propose(&params, &scores, &deltas, rows, cols, shown.height, shown.width, shown.scale);
    found.into_iter().map(|p| p.bbox).collect()
}
