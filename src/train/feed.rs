//! Pictures for detector training, prepared ahead of the trainer.

use std::ops::Range;
use std::thread::Scope;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use super::TrainError;
use super::ahead::{self, Ahead};
use super::crop::Window;
use super::order::Order;
use crate::boxes::BBox;
use crate::eval::Dataset;
use crate::frame::{Blob, Picture, Scaling, preprocess};
use crate::model::MEAN_BGR;

/// One training picture, or a window of it, scaled and perhaps mirrored.
#[derive(Debug)]
pub struct Sample {
    /// Network input `[1, 3, h, w]`, BGR, in channels-last order.
    pub input: Tensor,
    /// What it shows.
    pub shown: Shown,
}

/// What a network input shows.
#[derive(Debug)]
pub struct Shown {
    /// Index of the picture in the data set.
    pub picture: usize,
    /// True if it was mirrored.
    pub flipped: bool,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Input pixels per picture pixel.
    pub scale: f32,
    /// Boxes and classes (from 1) in pixels of the input.
    pub objects: Vec<(BBox, usize)>,
}

/// A stretch of a run whose pictures have the same choice of sizes. Small pictures first make cheap iterations while
/// the features are still rough.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Shorter sides to draw from.
    pub scales: Vec<u32>,
    /// The first step (picture) after it.
    pub until: u64,
}

/// What the feeder needs to know.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// The stages in order; the last one goes on for as long as the run does.
    pub stages: Vec<Stage>,
    /// Mirror half of the pictures.
    pub flip: bool,
    /// The share of pictures of which only a random window is shown.
    pub crop: f64,
    /// How much brighter or darker pictures become at the most, as a share; each colour a third as much by itself.
    pub light: f32,
    /// Seed.
    pub seed: u64,
}

impl FeedOptions {
    /// Shorter sides to draw from at a step.
    fn scales_at(&self, step: u64) -> &[u32] {
        let stage = self.stages.iter().find(|s| step < s.until).or(self.stages.last());
        stage.map_or(&[], |s| &s.scales)
    }
}

/// Indices of pictures with at least one object to learn.
pub fn usable(data: &Dataset) -> Vec<usize> {
    (0..data.images.len()).filter(|&i| data.images[i].objects.iter().any(|o| o.trainable())).collect()
}

/// Loads the sample of one step.
fn load(data: &Dataset, index: usize, options: &FeedOptions, step: u64, device: Device) -> Result<Sample, TrainError> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed.rotate_left(32) ^ step);
    let record = &data.images[index];
    let mut picture = Picture::open(&record.path).map_err(|e| TrainError::Config(e.to_string()))?;
    let scales = options.scales_at(step);
    if scales.is_empty() {
        return Err(TrainError::Config("no scale to train at: --scales is empty".into()));
    }
    let short = scales[rng.random_range(0..scales.len())];
    let flipped = options.flip && rng.random_range(0..2) == 1;
    let mut objects: Vec<(BBox, usize)> =
        record.objects.iter().filter(|o| o.trainable()).map(|o| (o.bbox, o.class_id)).collect();
    if options.crop > 0.0 && rng.random_bool(options.crop) {
        let window = Window::draw(&picture, &mut rng);
        let seen: Vec<_> = objects.iter().filter_map(|(b, class)| Some((window.see(b)?, *class))).collect();
        // Without an object it would teach nothing.
        if !seen.is_empty() {
            (picture, objects) = (window.cut(&picture), seen);
        }
    }
    let mut blob = Blob::default();
    let scaling = Scaling { short, long_max: short * 5 / 3 };
    preprocess(&picture, scaling, MEAN_BGR, &mut blob);
    if options.light > 0.0 {
        relight(&mut blob.data, options.light, &mut rng);
    }
    if flipped {
        blob.data.chunks_exact_mut(blob.width).for_each(<[f32]>::reverse);
    }
    let scale = blob.scale;
    for (bbox, _) in &mut objects {
        let shown = if flipped { bbox.flipped(picture.width as f32) } else { *bbox };
        *bbox = shown.scaled(scale);
    }
    let shown = Shown { picture: index, flipped, height: blob.height, width: blob.width, scale, objects };
    Ok(Sample { input: input(&blob, device), shown })
}

/// On a GPU, sides grow to a multiple of this by pixels of the mean: cuDNN plans each layer anew for each size of input, which
/// takes longer than the layers themselves if hardly two pictures have the same.
const GPU_SIDES: i64 = 64;

fn input(blob: &Blob, device: Device) -> Tensor {
    let (height, width) = (blob.height as i64, blob.width as i64);
    let planar = Tensor::from_slice(&blob.data).view([1, 3, height, width]).to_device(device);
    let planar = if device.is_cuda() {
        let missing = |side: i64| (GPU_SIDES - side % GPU_SIDES) % GPU_SIDES;
        planar.constant_pad_nd([0, missing(width), 0, missing(height)])
    } else {
        planar
    };
    planar.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Multiplies the three planes of a network input, blue, green and red without their means, as if there were other light.
fn relight(planes: &mut [f32], most: f32, rng: &mut ChaCha8Rng) {
    let all = 1.0 + rng.random_range(-most..=most);
    let plane_len = planes.len() / 3;
    for (plane, mean) in planes.chunks_exact_mut(plane_len).zip(MEAN_BGR) {
        let gain = all * (1.0 + rng.random_range(-most..=most) / 3.0);
        plane.iter_mut().for_each(|x| *x = ((*x + mean) * gain).min(255.0) - mean);
    }
}

/// Starts the feeder; the samples of these steps arrive in order, on the device.
pub fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    data: &'env Dataset,
    usable: &'env [usize],
    options: &'env FeedOptions,
    steps: Range<u64>,
    device: Device,
) -> Ahead<Result<Sample, TrainError>> {
    let n = usable.len() as u64;
    let order = || Order::new(usable.len(), options.seed);
    ahead::start(scope, steps, order, move |order, step| {
        let index = usable[order.at(step / n, (step % n) as usize)];
        load(data, index, options, step, device)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other_and_the_last_one_goes_on() {
        let stage = |scales: &[u32], until| Stage { scales: scales.to_vec(), until };
        let options = FeedOptions {
            stages: vec![stage(&[200, 300], 5), stage(&[600], 8)],
            flip: false,
            crop: 0.0,
            light: 0.0,
            seed: 0,
        };
        let seen: Vec<usize> = [0, 4, 5, 7, 8, 100].map(|step| options.scales_at(step).len()).to_vec();
        assert_eq!(seen, [2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn other_light_changes_each_colour_by_one_factor_within_bounds() {
        let shade = |plane: usize, i: usize| (i * 20 + plane * 10) as f32;
        let dark: Vec<f32> = (0..15).map(|i| shade(i / 5, i % 5) - MEAN_BGR[i / 5]).collect();
        let mut all_gains = Vec::new();
        for seed in 0..50 {
            let mut planes = dark.clone();
            relight(&mut planes, 0.3, &mut ChaCha8Rng::seed_from_u64(seed));
            let gain = |plane: usize, i: usize| (planes[plane * 5 + i] + MEAN_BGR[plane]) / shade(plane, i);
            let gains = [0, 1, 2].map(|plane| gain(plane, 4));
            for (plane, g) in gains.iter().enumerate() {
                assert!((0.7 * 0.9 - 1e-3..=1.3 * 1.1 + 1e-3).contains(g), "{gains:?}");
                assert!((gain(plane, 2) - g).abs() < 1e-3, "plane {plane}: {} and {g}", gain(plane, 2));
            }
            assert!(gains[0] != gains[1] && gains[1] != gains[2], "{gains:?}");
            all_gains.extend(gains);
        }
        assert!(all_gains.iter().any(|g| *g < 0.85) && all_gains.iter().any(|g| *g > 1.15), "hardly any other light");
    }
}
