//! An iteration's losses, from its pictures to what is to become smaller.
//!
//! Trunk and RPN look at one picture after the other; what each is to teach is found on all cores ([`lesson`]); the head looks at
//! the RoIs of all together.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::ahead::side_by_side;
use super::detect::{Learn, Phase, Proposals};
use super::feed::Sample;
use super::lesson::{self, Constants};
use super::losses;
use super::pass::Pass;
use super::targets::{HeadTargets, RpnTargets};

/// The losses of an iteration's pictures.
#[derive(Default)]
pub(super) struct Losses {
    /// RPN classes, RPN boxes, classes, boxes.
    parts: [Vec<Tensor>; 4],
}

impl Losses {
    fn rpn(&mut self, (class, boxes): (Tensor, Tensor)) {
        self.parts[0].push(class);
        self.parts[1].push(boxes);
    }

    fn head(&mut self, (class, boxes): (Tensor, Tensor)) {
        self.parts[2].push(class);
        self.parts[3].push(boxes);
    }

    /// The sum of each part.
    pub(super) fn sums(&self) -> [f64; 4] {
        let sum = |part: &Vec<Tensor>| {
            if part.is_empty() { 0.0 } else { Tensor::stack(part, 0).sum(Kind::Double).double_value(&[]) }
        };
        self.parts.each_ref().map(sum)
    }

    /// The sum of all; none if no picture teaches anything.
    pub(super) fn total(self) -> Option<Tensor> {
        self.parts.into_iter().flatten().reduce(|a, b| a + b)
    }
}

/// The losses of an iteration over these pictures, which are its `iter`-th.
pub(super) fn losses_of(
    pass: &Pass<'_>,
    samples: &[Sample],
    proposals: &Proposals,
    phase: &Phase,
    iter: u64,
) -> Losses {
    let ask_rpn = phase.learn != Learn::Head || matches!(proposals, Proposals::Live);
    let seen: Vec<Seen> = samples.iter().map(|sample| Seen::new(pass, sample, ask_rpn)).collect();
    let tasks = samples.iter().zip(&seen).zip(iter * phase.pictures..);
    let tasks = tasks.map(|((sample, seen), step)| (&sample.shown, seen.constants(), step)).collect();
    let pool_size = pass.net().config.arch.pool_size;
    let lessons = side_by_side(tasks, |(shown, constants, step)| {
        let mut rng = ChaCha8Rng::seed_from_u64(phase.feed.seed.wrapping_mul(131) ^ step);
        lesson::prepare(shown, &constants, proposals, phase, pool_size, &mut rng)
    });
    let mut losses = Losses::default();
    let mut heads = Vec::new();
    for (seen, lesson) in seen.iter().zip(lessons) {
        if let Some(both) = lesson.rpn.and_then(|t| seen.rpn_losses(&t)) {
            losses.rpn(both);
        }
        if let Some((targets, maxima)) = lesson.head {
            heads.push(ForHead { pooled: maxima.gather(&seen.map), targets });
        }
    }
    head_losses(pass, &heads).into_iter().for_each(|both| losses.head(both));
    losses
}

/// What trunk and RPN make of one picture, with gradients.
struct Seen {
    map: Tensor,
    rpn: Option<(Tensor, Tensor)>,
}

impl Seen {
    fn new(pass: &Pass<'_>, sample: &Sample, ask_rpn: bool) -> Self {
        let map = pass.trunk(&sample.input);
        let rpn = ask_rpn.then(|| pass.rpn(&map));
        Self { map, rpn }
    }

    /// The same without gradients, for another thread.
    fn constants(&self) -> Constants {
        let rpn = self.rpn.as_ref().map(|(scores, deltas)| [scores.detach(), deltas.detach()]);
        Constants { map: self.map.detach(), rpn }
    }

    /// The RPN's losses, classes and boxes.
    fn rpn_losses(&self, t: &RpnTargets) -> Option<(Tensor, Tensor)> {
        let (scores, deltas) = self.rpn.as_ref()?;
        let device = scores.device();
        let sampled = by_anchor(scores, 2, true).index_select(0, &indices(&t.anchors, device));
        let positive = by_anchor(deltas, 4, false).index_select(0, &indices(&t.anchors[..t.positives], device));
        Some(losses::rpn_loss(&sampled, &positive, &rows(&t.deltas, device)))
    }
}

/// What the head is to learn from one picture: its pooled RoIs `[n, C·P·P]` and what they should become.
struct ForHead {
    pooled: Tensor,
    targets: HeadTargets,
}

/// The head's losses of each picture, classes and boxes. The RoIs of all go through its layers together: the gradients of
/// their weights, the largest there are, are then computed once.
fn head_losses(pass: &Pass<'_>, heads: &[ForHead]) -> Vec<(Tensor, Tensor)> {
    if heads.is_empty() {
        return Vec::new();
    }
    let device = pass.net().params.device();
    let pooled: Vec<&Tensor> = heads.iter().map(|h| &h.pooled).collect();
    let x = pass.fc(&Tensor::cat(&pooled, 0));
    let (scores, deltas) = (pass.output(&x, "cls_score"), pass.output(&x, "bbox_pred"));
    let mut first = 0;
    let of_picture = |ForHead { targets: t, .. }: &ForHead| {
        let n = t.rois.len() as i64;
        let (scores, deltas) = (scores.narrow(0, first, n), deltas.narrow(0, first, n));
        first += n;
        losses::head_loss(&scores, &indices(&t.classes, device), &deltas, &rows(&t.deltas, device))
    };
    heads.iter().map(of_picture).collect()
}

/// RPN output in anchor order (row, column, anchor): `[n, per]` from `[1, per·A, h, w]`. Scores are grouped by kind
/// (`kind_major`), deltas by anchor.
fn by_anchor(map: &Tensor, per: i64, kind_major: bool) -> Tensor {
    let s = map.size();
    let (a, h, w) = (s[1] / per, s[2], s[3]);
    let split = if kind_major {
        map.contiguous().view([per, a, h, w]).permute([2, 3, 1, 0])
    } else {
        map.contiguous().view([a, per, h, w]).permute([2, 3, 0, 1])
    };
    split.contiguous().view([-1, per])
}

fn indices(of: &[usize], device: Device) -> Tensor {
    Tensor::from_slice(&of.iter().map(|&i| i as i64).collect::<Vec<_>>()).to_device(device)
}

fn rows(of: &[[f32; 4]], device: Device) -> Tensor {
    Tensor::from_slice(of.as_flattened()).view([-1, 4]).to_device(device)
}
