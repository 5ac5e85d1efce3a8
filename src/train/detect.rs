//! Detector training: one phase of it.
//!
//! A phase learns the RPN, the head or both ([`Learn`]) from proposals computed on the fly or stored
//! ([`Proposals`]), with some layers frozen. Approximate joint training is a single phase; 4-step alternating
//! training is four of them ([`methods`](super::methods)).

use std::path::PathBuf;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::ahead::side_by_side;
use super::feed::{self, FeedOptions, Sample};
use super::lesson::{self, Constants};
use super::methods::Measure;
use super::net::{Mode, Net};
use super::pass::Pass;
use super::sgd::{Schedule, Sgd};
use super::targets::{HeadSampling, HeadTargets, RpnSampling, RpnTargets};
use super::{RunLog, TrainError, checkpoint, fingerprint, losses};
use crate::boxes::{AnchorSpec, BBox};
use crate::eval::Dataset;

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
        let mut feeder = feed::start(scope, data, &usable, &phase.feed, from..to, net.params.device());
        let began = Instant::now();
        let mut sums = [0.0f64; 4];
        let (mut grad_norm, mut since) = (0.0f64, 0u64);
        for iter in start..phase.iterations {
            tch::manual_seed((phase.feed.seed ^ iter.wrapping_mul(0x9e37_79b9)) as i64);
            let pass = net.pass(Mode::Finetune);
            let batch = feeder.by_ref().take(phase.pictures as usize).collect::<Result<Vec<Sample>, TrainError>>()?;
            if batch.len() < phase.pictures as usize {
                return Err(TrainError::Config("the picture feeder ended early".into()));
            }
            let losses = losses_of(&pass, &batch, proposals, phase, iter);
            drop(pass);
            for (sum, part) in sums.iter_mut().zip(losses.sums()) {
                *sum += part / phase.pictures as f64;
            }
            if let Some(total) = losses.total() {
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

/// The losses of an iteration's pictures.
#[derive(Default)]
struct Losses {
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
    fn sums(&self) -> [f64; 4] {
        let sum = |part: &Vec<Tensor>| {
            if part.is_empty() { 0.0 } else { Tensor::stack(part, 0).sum(Kind::Double).double_value(&[]) }
        };
        self.parts.each_ref().map(sum)
    }

    /// The sum of all; none if no picture teaches anything.
    fn total(self) -> Option<Tensor> {
        self.parts.into_iter().flatten().reduce(|a, b| a + b)
    }
}

/// The losses of an iteration over these pictures, which are its `iter`-th.
fn losses_of(pass: &Pass<'_>, samples: &[Sample], proposals: &Proposals, phase: &Phase, iter: u64) -> Losses {
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
