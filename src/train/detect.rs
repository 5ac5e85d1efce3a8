//! Detector training: one phase of it.
//!
//! A phase learns the RPN, the head or both ([`Learn`]) from proposals computed on the fly or stored
//! ([`Proposals`]), with some layers frozen. Approximate joint training is a single phase; 4-step alternating
//! training is four of them ([`methods`](super::methods)).

use std::path::PathBuf;
use std::time::Instant;

use super::feed::{self, FeedOptions, Sample};
use super::iteration::losses_of;
use super::methods::Measure;
use super::net::{Mode, Net};
use super::sgd::{Schedule, Sgd};
use super::targets::{HeadSampling, RpnSampling};
use super::{RunLog, TrainError, checkpoint, fingerprint};
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
