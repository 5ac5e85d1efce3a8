//! Pictures for detector training, prepared ahead of the trainer in a thread of their own.

use std::thread::Scope;

use crossbeam::channel::{self, Receiver};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::TrainError;
use super::order::Order;
use crate::boxes::BBox;
use crate::eval::Dataset;
use crate::frame::{Blob, Picture, Scaling, preprocess};
use crate::model::MEAN_BGR;

/// One training picture, scaled and perhaps mirrored.
#[derive(Debug)]
pub struct Sample {
    /// Index of the picture in the data set.
    pub picture: usize,
    /// True if it was mirrored.
    pub flipped: bool,
    /// Network input, planar BGR.
    pub data: Vec<f32>,
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
fn load(data: &Dataset, index: usize, options: &FeedOptions, step: u64) -> Result<Sample, TrainError> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed.rotate_left(32) ^ step);
    let record = &data.images[index];
    let picture = Picture::open(&record.path).map_err(|e| TrainError::Config(e.to_string()))?;
    let scales = options.scales_at(step);
    if scales.is_empty() {
        return Err(TrainError::Config("no scale to train at: --scales is empty".into()));
    }
    let short = scales[rng.random_range(0..scales.len())];
    let flipped = options.flip && rng.random_range(0..2) == 1;
    let mut blob = Blob::default();
    let scaling = Scaling { short, long_max: short * 5 / 3 };
    preprocess(&picture, scaling, MEAN_BGR, &mut blob);
    if flipped {
        blob.data.chunks_exact_mut(blob.width).for_each(<[f32]>::reverse);
    }
    let scale = blob.scale;
    let objects = record
        .objects
        .iter()
        .filter(|o| o.trainable())
        .map(|o| {
            let upright = if flipped { o.bbox.flipped(picture.width as f32) } else { o.bbox };
            (upright.scaled(scale), o.class_id)
        })
        .collect();
    let (height, width) = (blob.height, blob.width);
    Ok(Sample { picture: index, flipped, data: blob.data, height, width, scale, objects })
}

/// Starts the feeder; samples of steps `from..to` arrive in order.
pub fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    data: &'env Dataset,
    usable: &'env [usize],
    options: &'env FeedOptions,
    from: u64,
    to: u64,
) -> Receiver<Result<Sample, TrainError>> {
    let (tx, rx) = channel::bounded(4);
    scope.spawn(move || {
        let mut order = Order::new(usable.len(), options.seed);
        for step in from..to {
            let n = usable.len() as u64;
            let index = usable[order.at(step / n, (step % n) as usize)];
            if tx.send(load(data, index, options, step)).is_err() {
                return; // The trainer stopped with an error.
            }
        }
    });
    rx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other_and_the_last_one_goes_on() {
        let stage = |scales: &[u32], until| Stage { scales: scales.to_vec(), until };
        let options = FeedOptions { stages: vec![stage(&[200, 300], 5), stage(&[600], 8)], flip: false, seed: 0 };
        let seen: Vec<usize> = [0, 4, 5, 7, 8, 100].map(|step| options.scales_at(step).len()).to_vec();
        assert_eq!(seen, [2, 2, 1, 1, 1, 1]);
    }
}
