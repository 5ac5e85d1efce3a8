//! Which boxes are trained towards what: target assignment and sampling of the RPN and of the head.
//!
//! Pure arithmetic over boxes, following the reference Python code (`anchor_target_layer`, `proposal_target_layer`)
//! number for number; the random draws come from a generator the caller seeds.

use rand::Rng;
use rand::seq::SliceRandom;

use crate::boxes::BBox;
use crate::boxes::delta::{self, Delta};

/// Constants of RPN sampling (Faster R-CNN §3.1.3).
#[derive(Debug, Clone, Copy)]
pub struct RpnSampling {
    /// Anchors per picture.
    pub batch: usize,
    /// At most this share of them positive.
    pub positive_share: f32,
    /// Positive from this overlap on.
    pub positive_iou: f32,
    /// Negative below this one.
    pub negative_iou: f32,
}

impl Default for RpnSampling {
    fn default() -> Self {
        Self { batch: 256, positive_share: 0.5, positive_iou: 0.7, negative_iou: 0.3 }
    }
}

/// What one picture teaches the RPN.
#[derive(Debug, Clone, PartialEq)]
pub struct RpnTargets {
    /// Anchor indices of the sample, positives first.
    pub anchors: Vec<usize>,
    /// How many of them are positive.
    pub positives: usize,
    /// Regression target of each positive.
    pub deltas: Vec<Delta>,
}

/// Assigns and samples anchors. `objects` and the picture size are in pixels of the network input.
///
/// Anchors that cross the picture's border are ignored. Positive: the best anchor(s) of each object, and every
/// anchor with an overlap of at least `positive_iou`. Negative: below `negative_iou` with every object.
pub fn rpn_targets(
    anchors: &[BBox],
    objects: &[BBox],
    width: f32,
    height: f32,
    sampling: &RpnSampling,
    rng: &mut impl Rng,
) -> RpnTargets {
    let inside: Vec<usize> = (0..anchors.len())
        .filter(|&i| {
            let a = &anchors[i];
            a.x1 >= 0.0 && a.y1 >= 0.0 && a.x2 < width && a.y2 < height
        })
        .collect();
    let mut best = vec![(0.0f32, 0usize); inside.len()];
    let mut best_of_object = vec![0.0f32; objects.len()];
    for (n, &i) in inside.iter().enumerate() {
        for (o, object) in objects.iter().enumerate() {
            let iou = anchors[i].iou(object);
            if iou > best[n].0 {
                best[n] = (iou, o);
            }
            best_of_object[o] = best_of_object[o].max(iou);
        }
    }
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for (n, &i) in inside.iter().enumerate() {
        let is_best =
            objects.iter().zip(&best_of_object).any(|(object, &top)| top > 0.0 && anchors[i].iou(object) == top);
        if is_best || best[n].0 >= sampling.positive_iou {
            positive.push((i, best[n].1));
        } else if best[n].0 < sampling.negative_iou {
            negative.push(i);
        }
    }
    let most = (sampling.positive_share * sampling.batch as f32) as usize;
    keep_random(&mut positive, most, rng);
    keep_random(&mut negative, sampling.batch - positive.len(), rng);
    let deltas = positive.iter().map(|&(i, o)| delta::encode(&anchors[i], &objects[o])).collect();
    let positives = positive.len();
    let anchors = positive.into_iter().map(|p| p.0).chain(negative).collect();
    RpnTargets { anchors, positives, deltas }
}

/// Constants of head sampling (Fast R-CNN §2.3).
#[derive(Debug, Clone, Copy)]
pub struct HeadSampling {
    /// RoIs per picture.
    pub batch: usize,
    /// At most this share of them on objects.
    pub object_share: f32,
    /// An RoI is on an object from this overlap on.
    pub object_iou: f32,
    /// Background from this overlap on …
    pub background_low: f32,
    /// … up to this one, excluded.
    pub background_high: f32,
    /// Targets are divided by these.
    pub stds: [f32; 4],
}

impl Default for HeadSampling {
    fn default() -> Self {
        Self {
            batch: 128,
            object_share: 0.25,
            object_iou: 0.5,
            background_low: 0.1,
            background_high: 0.5,
            stds: [0.1, 0.1, 0.2, 0.2],
        }
    }
}

/// What one picture teaches the head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadTargets {
    /// The sample, RoIs on objects first.
    pub rois: Vec<BBox>,
    /// Class of each, 0 for background.
    pub classes: Vec<usize>,
    /// Normalised regression targets of those on objects.
    pub deltas: Vec<Delta>,
}

/// Samples RoIs out of proposals (the objects themselves are added, as in the reference code).
pub fn head_targets(
    proposals: &[BBox],
    objects: &[(BBox, usize)],
    sampling: &HeadSampling,
    rng: &mut impl Rng,
) -> HeadTargets {
    let (mut on_object, mut background) = (Vec::new(), Vec::new());
    for roi in proposals.iter().chain(objects.iter().map(|o| &o.0)) {
        let mut best = (0.0f32, 0usize);
        for (o, (object, _)) in objects.iter().enumerate() {
            let iou = roi.iou(object);
            if iou > best.0 {
                best = (iou, o);
            }
        }
        if best.0 >= sampling.object_iou {
            on_object.push((*roi, best.1));
        } else if best.0 >= sampling.background_low && best.0 < sampling.background_high {
            background.push(*roi);
        }
    }
    let most = (sampling.object_share * sampling.batch as f32).round() as usize;
    keep_random(&mut on_object, most, rng);
    keep_random(&mut background, sampling.batch - on_object.len(), rng);
    let deltas = on_object
        .iter()
        .map(|(roi, o)| {
            let d = delta::encode(roi, &objects[*o].0);
            std::array::from_fn(|i| d[i] / sampling.stds[i])
        })
        .collect();
    let classes = on_object.iter().map(|(_, o)| objects[*o].1).chain(background.iter().map(|_| 0)).collect();
    let rois = on_object.into_iter().map(|r| r.0).chain(background).collect();
    HeadTargets { rois, classes, deltas }
}

/// Keeps at most `most` elements, chosen at random; the order stays.
fn keep_random<T>(items: &mut Vec<T>, most: usize, rng: &mut impl Rng) {
    if items.len() <= most {
        return;
    }
    let mut keep: Vec<bool> = (0..items.len()).map(|i| i < most).collect();
    keep.shuffle(rng);
    let mut flags = keep.into_iter();
    items.retain(|_| flags.next().unwrap_or(false));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_best_anchor_of_an_object_is_positive_even_when_it_overlaps_little() {
        let anchors = [BBox::new(0.0, 0.0, 9.0, 9.0), BBox::new(20.0, 20.0, 29.0, 29.0)];
        let objects = [BBox::new(0.0, 0.0, 19.0, 4.0)];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let t = rpn_targets(&anchors, &objects, 40.0, 40.0, &RpnSampling::default(), &mut rng);
        assert_eq!((t.anchors, t.positives), (vec![0, 1], 1));
        assert_eq!(t.deltas, vec![delta::encode(&anchors[0], &objects[0])]);
    }

    #[test]
    fn anchors_across_the_border_are_never_sampled() {
        let anchors = [BBox::new(-1.0, 0.0, 9.0, 9.0), BBox::new(0.0, 0.0, 40.0, 9.0), BBox::new(0.0, 0.0, 9.0, 9.0)];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let t = rpn_targets(&anchors, &[], 40.0, 40.0, &RpnSampling::default(), &mut rng);
        assert_eq!((t.anchors, t.positives), (vec![2], 0));
    }

    #[test]
    fn at_most_a_quarter_of_the_rois_lie_on_objects_and_far_background_is_left_out() {
        let object = BBox::new(100.0, 100.0, 199.0, 199.0);
        let mut proposals = vec![object; 100];
        proposals.extend(vec![BBox::new(100.0, 100.0, 139.0, 199.0); 200]); // IoU 0.4
        proposals.extend(vec![BBox::new(500.0, 500.0, 599.0, 599.0); 200]); // IoU 0
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let t = head_targets(&proposals, &[(object, 7)], &HeadSampling::default(), &mut rng);
        assert_eq!(t.rois.len(), 128);
        assert_eq!(t.classes.iter().filter(|&&c| c == 7).count(), 32);
        assert_eq!(t.classes.iter().filter(|&&c| c == 0).count(), 96);
        assert!(t.rois.iter().all(|r| r.x1 < 400.0));
        assert_eq!(t.deltas, vec![[0.0; 4]; 32]);
    }
}
