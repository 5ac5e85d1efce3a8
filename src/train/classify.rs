//! Pre-training: the trunk and hidden fc layers as an image classifier.
//!
//! The picture is one RoI: its map is max-pooled to the head's grid exactly as RoI pooling would, so that fc6 and fc7
//! are pre-trained on what the detector will give them. Sides grow over the run (small pictures first: cheap
//! iterations while the features are still rough), the rate follows warm-up and half a cosine.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor, no_grad};

use super::ahead::{self, side_by_side};
use super::images::{ClassFolders, Sample};
use super::net::{Mode, Net, NetConfig};
use super::order::Order;
use super::sgd::{Schedule, Sgd};
use super::{RunLog, TrainError, checkpoint, fingerprint};
use crate::model::Bundle;

/// Options of a pre-training run.
#[derive(Debug, Clone)]
pub struct ClassifyOptions {
    /// Class folders to learn from.
    pub train: PathBuf,
    /// Class folders to measure on.
    pub val: Option<PathBuf>,
    /// Picture side and epochs of each phase.
    pub phases: Vec<(usize, f64)>,
    /// Pictures per iteration.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Label smoothing.
    pub smoothing: f64,
    /// Checkpoint of another run, or bundle, to start from.
    pub init: Option<PathBuf>,
    /// Seed of everything random.
    pub seed: u64,
    /// Folder for checkpoint and log.
    pub out: PathBuf,
    /// Iterations between checkpoints.
    pub checkpoint_every: u64,
}

/// What the classifier multiplies fc7 by.
const FEATURE_SCALE: f64 = 0.125;

struct Batch {
    iter: u64,
    side: usize,
    pixels: Vec<u8>,
    labels: Vec<i64>,
}

/// Runs or resumes pre-training; leaves `checkpoint.pt` and `log.jsonl` in the output folder.
pub fn run(options: &ClassifyOptions, config: NetConfig, device: Device) -> Result<(), TrainError> {
    let data = ClassFolders::load(&options.train)?;
    let val = options.val.as_deref().map(ClassFolders::load).transpose()?;
    if let Some(v) = val.as_ref().filter(|v| v.classes != data.classes) {
        return Err(TrainError::Config(format!(
            "training and validation folders have different classes ({} and {})",
            data.classes.len(),
            v.classes.len()
        )));
    }
    log::info!("{} pictures of {} classes", data.samples.len(), data.classes.len());

    // All batches have one size, or one for each phase: on a GPU it pays to try which convolution is fastest.
    tch::Cuda::cudnn_set_benchmark(device.is_cuda());
    tch::manual_seed(options.seed as i64);
    let mut net = Net::new(config.clone(), device);
    net.add_classifier(data.classes.len());
    match &options.init {
        Some(bundle) if bundle.is_dir() => start_from_bundle(&mut net, bundle, &data, options)?,
        Some(other) => {
            checkpoint::initialise(other, &mut net.params)?;
        }
        None => {}
    }
    let per_epoch = (data.samples.len() / options.batch).max(1) as u64;
    let ends: Vec<(usize, u64)> = options
        .phases
        .iter()
        .scan(0.0, |epochs, &(side, n)| {
            *epochs += n;
            Some((side, (*epochs * per_epoch as f64).round() as u64))
        })
        .collect();
    let total = ends.last().map_or(0, |e| e.1);
    let print =
        fingerprint(&(&options.phases, options.batch, options.lr, options.seed, &config.arch.name, config.ranks));
    let file = options.out.join("checkpoint.pt");
    let start = if file.exists() { checkpoint::resume(&file, &mut net.params, print)? } else { 0 };
    let mut log = RunLog::open(&options.out.join("log.jsonl"), start)?;
    let schedule = Schedule::Cosine { base: options.lr, warmup: (total / 40).max(1) };
    let sgd = Sgd::default();

    std::thread::scope(|scope| {
        let (data, ends) = (&data, &ends);
        let order = || Order::new(data.samples.len(), options.seed);
        let batches = ahead::start(scope, start..total, order, move |order, iter| {
            let side = ends.iter().find(|e| iter < e.1).map_or(64, |e| e.0);
            let first = (iter % per_epoch) as usize * options.batch;
            let places = first..data.samples.len().min(first + options.batch);
            let samples = places.map(|place| &data.samples[order.at(iter / per_epoch, place)]);
            make_batch(samples, options.seed, iter, side)
        });
        let began = Instant::now();
        let (mut loss_sum, mut right, mut seen) = (0.0, 0.0, 0usize);
        for batch in batches {
            tch::manual_seed((options.seed ^ batch.iter.wrapping_mul(0x9e37_79b9)) as i64);
            let (n, iter) = (batch.labels.len(), batch.iter);
            let labels = Tensor::from_slice(&batch.labels).to_device(device);
            let scores = classify(&net, &pictures(&batch.pixels, batch.side, device), Mode::Pretrain);
            let loss = scores.cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Mean, -100, options.smoothing);
            loss.backward();
            let lr = schedule.rate(iter, total);
            sgd.step(&mut net.params, lr);
            loss_sum += loss.double_value(&[]) * n as f64;
            right += correct(&scores, &labels);
            seen += n;
            let done = iter + 1;
            if done.is_multiple_of(50) || done == total {
                let loss = loss_sum / seen as f64;
                if !loss.is_finite() {
                    return Err(TrainError::Diverged { iteration: done, lr });
                }
                let left = began.elapsed().as_secs_f64() / (done - start) as f64 * (total - done) as f64;
                log.write(&serde_json::json!({"iter": done, "total": total, "side": batch.side, "lr": lr,
                    "loss": loss, "top1": right / seen as f64,
                    "pictures_per_s": (done - start) as f64 * options.batch as f64 / began.elapsed().as_secs_f64(),
                    "left_s": left.round()}))?;
                (loss_sum, right, seen) = (0.0, 0.0, 0);
            }
            if done.is_multiple_of(options.checkpoint_every) || done == total {
                checkpoint::save(&file, &net.params, done, print)?;
            }
            if let Some(v) = val.as_ref().filter(|_| done.is_multiple_of(per_epoch) || done == total) {
                let top1 = accuracy(&net, v, batch.side, options.batch, device);
                log.write(&serde_json::json!({"iter": done, "epoch": done as f64 / per_epoch as f64,
                    "side": batch.side, "val_top1": top1}))?;
            }
        }
        Ok(())
    })
}

/// Trunk and hidden fc layers of a finished detector. A layer that does not fit starts fresh.
fn start_from_bundle(
    net: &mut Net,
    bundle: &Path,
    data: &ClassFolders,
    options: &ClassifyOptions,
) -> Result<(), TrainError> {
    let unused = net.import(&Bundle::load(bundle)?.weights()?);
    log::info!("{}: not used: {}", bundle.display(), unused.join(", "));
    if net.config.batch_norm {
        let side = options.phases.first().map_or(64, |p| p.0);
        // Statistics over a few hundred pictures of all classes are good to a few per cent, and the first hundred
        // iterations refine them.
        let spread = data.samples.iter().step_by((data.samples.len() / 512).max(1));
        let batch = make_batch(spread, options.seed, 0, side);
        net.unfold(&pictures(&batch.pixels, side, net.params.device()));
    }
    Ok(())
}

fn make_batch<'a>(samples: impl Iterator<Item = &'a Sample>, seed: u64, iter: u64, side: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.rotate_left(32) ^ iter);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for sample in samples {
        sample.random_crop(side, &mut rng, &mut pixels);
        labels.push(sample.class as i64);
    }
    Batch { iter, side, pixels, labels }
}

/// BGR bytes `[n, side, side, 3]` to a channels-last `[n, 3, side, side]` with the mean subtracted.
fn pictures(pixels: &[u8], side: usize, device: Device) -> Tensor {
    let s = side as i64;
    let mean = Tensor::from_slice(&crate::model::MEAN_BGR).to_device(device);
    // Bytes travel to the device, a quarter of what numbers would take.
    let x = Tensor::from_slice(pixels).to_device(device).view([-1, s, s, 3]).to_kind(Kind::Float) - mean;
    x.permute([0, 3, 1, 2])
}

fn classify(net: &Net, pictures: &Tensor, mode: Mode) -> Tensor {
    let p = net.config.arch.pool_size as i64;
    let pass = net.pass(mode);
    let map = pass.trunk(pictures);
    let pooled = map.adaptive_max_pool2d([p, p]).0.contiguous().flatten(1, -1);
    // Thousands of activations of size one would make the classifier's rows learn far faster than everything below
    // them; scaled down, one learning rate fits all layers.
    let features = pass.fc(&pooled) * FEATURE_SCALE;
    pass.output(&features, "fc8")
}

fn correct(scores: &Tensor, labels: &Tensor) -> f64 {
    scores.argmax(1, false).eq_tensor(labels).sum(Kind::Float).double_value(&[])
}

fn accuracy(net: &Net, data: &ClassFolders, side: usize, batch: usize, device: Device) -> f64 {
    no_grad(|| {
        let mut right = 0.0;
        for chunk in data.samples.chunks(batch) {
            let centre = |s: &Sample| {
                let mut pixels = Vec::with_capacity(side * side * 3);
                s.centre(side, &mut pixels);
                pixels
            };
            let pixels = side_by_side(chunk.iter().collect(), centre).concat();
            let labels: Vec<i64> = chunk.iter().map(|s| s.class as i64).collect();
            let scores = classify(net, &pictures(&pixels, side, device), Mode::Eval);
            right += correct(&scores, &Tensor::from_slice(&labels).to_device(device));
        }
        right / data.samples.len() as f64
    })
}
