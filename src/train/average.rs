//! Averaging the weights of runs that started from the same network ("model soups", Wortsman et al. 2022): the average
//! lies deeper in the basin they share than each of them, as an ensemble would, at the cost of one.

use std::path::{Path, PathBuf};

use super::TrainError;
use super::checkpoint;
use super::net::Net;

/// Loads into `net` the mean of checkpoints, each with its weight. Every tensor of the network must be in every one.
pub fn average(net: &mut Net, checkpoints: &[(PathBuf, f64)]) -> Result<(), TrainError> {
    let total: f64 = checkpoints.iter().map(|c| c.1).sum();
    if checkpoints.is_empty() || !(total > 0.0 && total.is_finite()) || checkpoints.iter().any(|c| c.1 < 0.0) {
        return Err(TrainError::Config("the weights of an average must be positive numbers".into()));
    }
    let mut sums: Vec<(String, tch::Tensor)> = Vec::new();
    for (path, weight) in checkpoints {
        load(path, net)?;
        let share = weight / total;
        let parts = net.params.iter().map(|(name, p)| (name.to_owned(), tch::no_grad(|| p.value.detach() * share)));
        if sums.is_empty() {
            sums = parts.collect();
        } else {
            // Params are in the order of their names, the same each time.
            sums.iter_mut().zip(parts).for_each(|(sum, (_, part))| sum.1 += part);
        }
    }
    for ((_, p), (_, sum)) in net.params.iter_mut().zip(&sums) {
        tch::no_grad(|| p.value.copy_(sum));
        p.momentum = None;
    }
    Ok(())
}

fn load(path: &Path, net: &mut Net) -> Result<(), TrainError> {
    let fresh = checkpoint::initialise(path, &mut net.params)?;
    match fresh.first() {
        None => Ok(()),
        Some(name) => Err(TrainError::Config(format!(
            "{}: {name} is missing or has another shape; runs that are averaged have the same --architecture, \
             --batch-norm, --ranks and classes",
            path.display()
        ))),
    }
}
