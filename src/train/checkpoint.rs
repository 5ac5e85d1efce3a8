//! Checkpoints: every tensor, its velocity and the position in the run, in one file.
//!
//! The file is written beside the old one, flushed to disk and renamed over it, so a kill at any moment leaves
//! either the old or the new checkpoint. Everything random is derived from (seed, iteration), so nothing else needs
//! to be saved for a resumed run to repeat the uninterrupted one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor, no_grad};

use super::TrainError;
use super::params::Params;

const ITERATION: &str = "run.iteration";
const FINGERPRINT: &str = "run.fingerprint";
const VELOCITY: &str = "velocity.";

/// Writes a checkpoint after `iteration` finished iterations of the run described by `fingerprint`.
pub fn save(path: &Path, params: &Params, iteration: u64, fingerprint: u64) -> Result<(), TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(io)?;
    }
    let mut tensors = vec![
        (ITERATION.to_owned(), Tensor::from_slice(&[iteration as i64])),
        (FINGERPRINT.to_owned(), Tensor::from_slice(&[fingerprint as i64])),
    ];
    for (name, p) in params.iter() {
        tensors.push((name.to_owned(), p.value.detach()));
        if let Some(v) = &p.momentum {
            tensors.push((format!("{VELOCITY}{name}"), v.detach()));
        }
    }
    let part: PathBuf = path.with_extension("part");
    let tch_error = |source| TrainError::Checkpoint { path: path.to_owned(), source };
    Tensor::save_multi(&tensors, &part).map_err(tch_error)?;
    File::open(&part).and_then(|f| f.sync_all()).map_err(io)?;
    fs::rename(&part, path).map_err(io)
}

/// Restores what [`save`] wrote; returns the number of finished iterations. A checkpoint of another run (other
/// options) is refused unless `any_run`, which also ignores its iteration and velocities: that is how a detector
/// starts from a pre-trained trunk.
pub fn load(path: &Path, params: &mut Params, fingerprint: u64, any_run: bool) -> Result<u64, TrainError> {
    let tch_error = |source| TrainError::Checkpoint { path: path.to_owned(), source };
    let saved: std::collections::BTreeMap<String, Tensor> =
        Tensor::load_multi(path).map_err(tch_error)?.into_iter().collect();
    let number = |name: &str| saved.get(name).filter(|t| t.kind() == Kind::Int64).map(|t| t.int64_value(&[0]));
    let iteration = number(ITERATION)
        .ok_or_else(|| TrainError::Config(format!("{}: not a checkpoint of this trainer", path.display())))?;
    if !any_run && number(FINGERPRINT) != Some(fingerprint as i64) {
        return Err(TrainError::Config(format!(
            "{}: this checkpoint belongs to a run with other options; use the same options, or another --out",
            path.display()
        )));
    }
    let device = params.device();
    for (name, p) in params.iter_mut() {
        match saved.get(name) {
            Some(t) if t.size() == p.value.size() => no_grad(|| p.value.copy_(t)),
            Some(t) if !any_run => {
                return Err(TrainError::Config(format!(
                    "{}: {name} has shape {:?}, the network has {:?}",
                    path.display(),
                    t.size(),
                    p.value.size()
                )));
            }
            None if !any_run => {
                return Err(TrainError::Config(format!("{}: {name} is missing", path.display())));
            }
            _ => log::info!("{name}: not in {}, starts fresh", path.display()),
        }
        if !any_run {
            p.momentum = saved.get(&format!("{VELOCITY}{name}")).map(|v| v.to_device(device));
        }
    }
    Ok(if any_run { 0 } else { iteration as u64 })
}
