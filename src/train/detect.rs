//! Detector training: one phase of it.
//!
//! A phase learns the RPN, the head or both ([`Learn`]) from proposals computed on the fly or stored
//! ([`Proposals`]), with some layers frozen. Approximate joint training is a single phase; 4-step alternating
//! training is four of them ([`methods`](super::methods)).

use std::path::PathBuf;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor, no_grad};

use super::feed::{self, FeedOptions, Sample};
use super::methods::Measure;
use super::net::{Mode, Net};
use super::pass::Pass;
use super::roi::{roi_pool_tensor, to_vec};
use super::sgd::{Schedule, Sgd};
use super::targets::{HeadSampling, HeadTargets, RpnSampling, head_targets, rpn_targets};
use super::{RunLog, TrainError, checkpoint, fingerprint, losses};
use crate::boxes::{AnchorSpec, BBox};
use crate::eval::Dataset;
use crate::model::arch::FEATURE_STRIDE;
use crate::proposals::{RpnParams, propose};

/// Which losses a phase minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learn {
    /// The RPN alone.
    Rpn,
    /// The head alone (Fast R-CNN).
    Head,
    /// Both at once: approximate joint training, the proposals taken as constants.
    Both,
}

/// Where the head's proposals come from.
#[derive(Debug, Clone)]
pub enum Proposals {
    /// The RPN under training, at each step.
    Live,
    /// Boxes stored for each picture of the data set, in pixels of the original picture.
    Stored(Vec<Vec<BBox>>),
}

/// Options of a phase.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Name, for logs.
    pub name: String,
    /// What is learned.
    pub learn: Learn,
    /// Layers that stay as they are.
    pub freeze: Vec<String>,
    /// Iterations.
    pub iterations: u64,
    /// Pictures per iteration.
    pub pictures: u64,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// Optimiser.
    pub sgd: Sgd,
    /// RPN sampling.
    pub rpn: RpnSampling,
    /// Head sampling.
    pub head: HeadSampling,
    /// Anchors.
    pub anchors: AnchorSpec,
    /// Pictures and augmentation.
    pub feed: FeedOptions,
    /// Checkpoint and log go here.
    pub out: PathBuf,
    /// Iterations between lines of the log.
    pub log_every: u64,
    /// Iterations between checkpoints.
    pub checkpoint_every: u64,
    /// Iterations between measurements on the validation split; 0 for none.
    pub eval_every: u64,
}

/// What the head is to learn from one picture: its pooled RoIs `[n, C·P·P]` and what they should become.
struct ForHead {
    pooled: Tensor,
    targets: HeadTargets,
}

/// Runs or resumes a phase. `measure` is called every [`Phase::eval_every`] iterations and at the end; what it returns
/// is logged.
pub fn run(
    net: &mut Net,
    data: &Dataset,
    proposals: &Proposals,
    phase: &Phase,
    measure: &mut Measure<'_>,
) -> Result<(), TrainError> {
    let frozen: Vec<&str> = phase.freeze.iter().map(String::as_str).collect();
    net.params.freeze(&frozen);
    let usable = feed::usable(data);
    if usable.is_empty() {
        return Err(TrainError::Config("no picture of the data set has an object to learn".into()));
    }
    let print =
        fingerprint(&(&phase.name, phase.iterations, phase.pictures, phase.schedule, &phase.feed, data.images.len()));
    let file = phase.out.join("checkpoint.pt");
    let start = if file.exists() { checkpoint::resume(&file, &mut net.params, print)? } else { 0 };
    if start > 0 {
        log::info!("{}: resumed at iteration {start} of {}", phase.name, phase.iterations);
    }
    let mut log = RunLog::open(&phase.out.join("log.jsonl"), start)?;
    std::thread::scope(|scope| {
        let (from, to) = (start * phase.pictures, phase.iterations * phase.pictures);
        let samples = feed::start(scope, data, &usable, &phase.feed, from, to);
        let began = Instant::now();
        let mut sums = [0.0f64; 4];
        let (mut grad_norm, mut since) = (0.0f64, 0u64);
        for iter in start..phase.iterations {
            tch::manual_seed((phase.feed.seed ^ iter.wrapping_mul(0x9e37_79b9)) as i64);
            let pass = net.pass(Mode::Finetune);
            let mut parts: [Vec<Tensor>; 4] = Default::default();
            let mut heads = Vec::new();
            for part in 0..phase.pictures {
                let sample = match samples.recv() {
                    Ok(sample) => sample?,
                    Err(_) => return Err(TrainError::Config("the picture feeder ended early".into())),
                };
                let step = iter * phase.pictures + part;
                let mut rng = ChaCha8Rng::seed_from_u64(phase.feed.seed.wrapping_mul(131) ^ step);
                heads.extend(look(&pass, &sample, proposals, phase, &mut rng, &mut parts));
            }
            for (class, boxes) in head_losses(&pass, &heads) {
                parts[2].push(class);
                parts[3].push(boxes);
            }
            drop(pass);
            for (sum, losses) in sums.iter_mut().zip(&parts) {
                *sum += losses.iter().map(|l| l.double_value(&[])).sum::<f64>() / phase.pictures as f64;
            }
            // A picture too small for any anchor or RoI teaches nothing.
            if let Some(total) = parts.into_iter().flatten().reduce(|a, b| a + b) {
                (total / phase.pictures as f64).backward();
            }
            let lr = phase.schedule.rate(iter, phase.iterations);
            grad_norm += phase.sgd.step(&mut net.params, lr);
            since += 1;
            let done = iter + 1;
            if done.is_multiple_of(phase.log_every) || done == phase.iterations {
                let mean = sums.map(|s| s / since as f64);
                if !mean.iter().sum::<f64>().is_finite() {
                    return Err(TrainError::Diverged { iteration: done, lr });
                }
                let per_iter = began.elapsed().as_secs_f64() / (done - start) as f64;
                log.write(&serde_json::json!({"phase": phase.name, "iter": done, "total": phase.iterations, "lr": lr,
                    "rpn_class": mean[0], "rpn_box": mean[1], "class": mean[2], "box": mean[3],
                    "grad_norm": grad_norm / since as f64, "s_per_iter": per_iter,
                    "left_s": (per_iter * (phase.iterations - done) as f64).round()}))?;
                (sums, grad_norm, since) = ([0.0; 4], 0.0, 0);
            }
            let last = done == phase.iterations;
            if done.is_multiple_of(phase.checkpoint_every) || last {
                checkpoint::save(&file, &net.params, done, print)?;
            }
            if phase.eval_every > 0 && (done.is_multiple_of(phase.eval_every) || last) {
                let result = measure(net)?;
                log.write(&serde_json::json!({"phase": phase.name, "iter": done, "eval": result}))?;
            }
        }
        Ok(())
    })
}

/// The sample as a channels-last tensor `[1, 3, h, w]`.
pub fn input_tensor(sample: &Sample, device: Device) -> Tensor {
    let planar = Tensor::from_slice(&sample.data).view([1, 3, sample.height as i64, sample.width as i64]);
    planar.to_device(device).permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
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

/// What trunk and RPN make of one picture: the RPN's losses (the first two of `parts`: classes and boxes) and the head's RoIs.
fn look(
    pass: &Pass<'_>,
    sample: &Sample,
    proposals: &Proposals,
    phase: &Phase,
    rng: &mut ChaCha8Rng,
    parts: &mut [Vec<Tensor>; 4],
) -> Option<ForHead> {
    let net = pass.net();
    let device = net.params.device();
    let map = pass.trunk(&input_tensor(sample, device));
    let live = phase.learn != Learn::Head || matches!(proposals, Proposals::Live);
    let rpn = live.then(|| pass.rpn(&map));

    if let Some((scores, deltas)) = rpn.as_ref().filter(|_| phase.learn != Learn::Head) {
        let size = map.size();
        let anchors = phase.anchors.over_map(size[2] as usize, size[3] as usize);
        let boxes: Vec<BBox> = sample.objects.iter().map(|o| o.0).collect();
        let t = rpn_targets(&anchors, &boxes, sample.width as f32, sample.height as f32, &phase.rpn, rng);
        if !t.anchors.is_empty() {
            let sampled = by_anchor(scores, 2, true).index_select(0, &indices(&t.anchors, device));
            let positive = by_anchor(deltas, 4, false).index_select(0, &indices(&t.anchors[..t.positives], device));
            let (class, boxes) = losses::rpn_loss(&sampled, &positive, &rows(&t.deltas, device));
            parts[0].push(class);
            parts[1].push(boxes);
        }
    }
    if phase.learn == Learn::Rpn {
        return None;
    }

    let boxes: Vec<BBox> = match (proposals, &rpn) {
        (Proposals::Stored(all), _) => stored(&all[sample.picture], sample),
        (Proposals::Live, Some((scores, deltas))) => live_proposals(scores, deltas, sample, &phase.anchors),
        (Proposals::Live, None) => Vec::new(), // Live proposals always come with RPN maps.
    };
    let targets = head_targets(&boxes, &sample.objects, &phase.head, rng);
    (!targets.rois.is_empty()).then(|| {
        let pooled = roi_pool_tensor(&map, &targets.rois, 1.0 / FEATURE_STRIDE as f32, net.config.arch.pool_size);
        ForHead { pooled, targets }
    })
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

/// Stored boxes carried into the pixels of the network input.
fn stored(boxes: &[BBox], sample: &Sample) -> Vec<BBox> {
    let width = sample.width as f32 / sample.scale;
    boxes
        .iter()
        .map(|b| if sample.flipped { b.flipped(width.round()) } else { *b })
        .map(|b| b.scaled(sample.scale).clip(sample.width as f32, sample.height as f32))
        .collect()
}

/// The proposals the RPN makes now, as constants, in pixels of the network input.
pub fn live_proposals(scores: &Tensor, deltas: &Tensor, sample: &Sample, anchors: &AnchorSpec) -> Vec<BBox> {
    no_grad(|| {
        let size = scores.size();
        let params = RpnParams { anchors: anchors.clone(), ..RpnParams::training() };
        let found = propose(
            &params,
            &to_vec(scores),
            &to_vec(deltas),
            size[2] as usize,
            size[3] as usize,
            sample.height,
            sample.width,
            sample.scale,
        );
        found.into_iter().map(|p| p.bbox).collect()
    })
}
