//! Checkpoints: every tensor, its velocity and the position in the run, in one file.
//!
//! The file is written beside the old one, flushed to disk and renamed over it, so a kill at any moment leaves
//! either the old or the new checkpoint. Everything random is derived from (seed, iteration), so nothing else needs
//! to be saved for a resumed run to repeat the uninterrupted one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor, no_grad};

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
        tensors.push((name.to_owned(), in_memory(&p.value)));
        if let Some(v) = &p.momentum {
            tensors.push((format!("{VELOCITY}{name}"), in_memory(v)));
        }
    }
    let part: PathBuf = path.with_extension("part");
    let tch_error = |source| TrainError::Checkpoint { path: path.to_owned(), source };
    Tensor::save_multi(&tensors, &part).map_err(tch_error)?;
    File::open(&part).and_then(|f| f.sync_all()).map_err(io)?;
    fs::rename(&part, path).map_err(io)
}

/// A checkpoint made on a GPU is read where there is none.
fn in_memory(t: &Tensor) -> Tensor {
    t.detach().to_device(Device::Cpu)
}

/// What a file of [`save`] holds, by name.
struct Saved {
    tensors: BTreeMap<String, Tensor>,
    iteration: u64,
}

fn read(path: &Path) -> Result<Saved, TrainError> {
    // libtorch's own words for a missing file are a page long.
    File::open(path).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
    let loaded = Tensor::load_multi(path).map_err(|source| TrainError::Checkpoint { path: path.to_owned(), source })?;
    let tensors: BTreeMap<String, Tensor> = loaded.into_iter().collect();
    let iteration = number(&tensors, ITERATION)
        .ok_or_else(|| TrainError::Config(format!("{}: not a checkpoint of this trainer", path.display())))?;
    Ok(Saved { tensors, iteration: iteration as u64 })
}

fn number(tensors: &BTreeMap<String, Tensor>, name: &str) -> Option<i64> {
    tensors.get(name).filter(|t| t.kind() == Kind::Int64).map(|t| t.int64_value(&[0]))
}

/// Restores the run described by `fingerprint`, velocities included; returns the number of its finished iterations.
/// A checkpoint of a run with other options, or of another network, is refused.
pub fn resume(path: &Path, params: &mut Params, fingerprint: u64) -> Result<u64, TrainError> {
    let saved = read(path)?;
    if number(&saved.tensors, FINGERPRINT) != Some(fingerprint as i64) {
        return Err(TrainError::Config(format!(
            "{}: this checkpoint belongs to a run with other options; use the same options, or another --out",
            path.display()
        )));
    }
    let device = params.device();
    for (name, p) in params.iter_mut() {
        let Some(value) = saved.tensors.get(name) else {
            return Err(TrainError::Config(format!("{}: {name} is missing", path.display())));
        };
        let (here, there) = (p.value.size(), value.size());
        if here != there {
            return Err(TrainError::Config(format!(
                "{}: {name} has shape {there:?}, the network has {here:?}",
                path.display()
            )));
        }
        no_grad(|| p.value.copy_(value));
        p.momentum = saved.tensors.get(&format!("{VELOCITY}{name}")).map(|v| v.to_device(device));
    }
    Ok(saved.iteration)
}

/// Takes over the values of a checkpoint of any run, as far as name and shape fit: how a detector starts from a
/// pre-trained trunk. Returns the names of the tensors that were not in it and stay as they are.
pub fn initialise(path: &Path, params: &mut Params) -> Result<Vec<String>, TrainError> {
    let saved = read(path)?;
    let mut fresh = Vec::new();
    for (name, p) in params.iter_mut() {
        match saved.tensors.get(name) {
            Some(value) if value.size() == p.value.size() => no_grad(|| p.value.copy_(value)),
            _ => {
                log::info!("{name}: not in {}, starts fresh", path.display());
                fresh.push(name.to_owned());
            }
        }
    }
    Ok(fresh)
}
