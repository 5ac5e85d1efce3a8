//! The trunk with a view of the maps between its layers, for calibration.

use super::{Maps, Trunk, TrunkError};
use crate::frame::Blob;
use crate::model::onnx::{TRUNK_OUTPUTS, with_outputs};
use crate::model::{Bundle, BundleError, TRUNK_FILE};

/// A trunk whose graph also gives out maps from inside.
pub struct WatchedTrunk {
    trunk: Trunk,
    names: Vec<String>,
    /// Outputs of the trunk itself, which come first.
    own: usize,
}

impl WatchedTrunk {
    /// The trunk of a bundle; `names` are values of `trunk.onnx`, such as `conv3.relu`.
    pub fn new(bundle: &Bundle, names: &[&str], threads: usize) -> Result<Self, TrunkError> {
        let mut bundle = bundle.clone();
        let inside: Vec<&str> = names.iter().copied().filter(|n| !TRUNK_OUTPUTS.contains(n)).collect();
        let changed = with_outputs(&bundle.trunk_onnx, &inside);
        let source = |source| BundleError::Onnx { path: TRUNK_FILE.into(), source };
        bundle.trunk_onnx =
            changed.map_err(|e| TrunkError::Prepare { height: 0, width: 0, reason: source(e).to_string() })?;
        Ok(Self {
            trunk: Trunk::new(&bundle, threads)?,
            names: inside.iter().map(|n| n.to_string()).collect(),
            own: if bundle.manifest.has_rpn { TRUNK_OUTPUTS.len() } else { 1 },
        })
    }

    /// Runs the trunk and shows the maps asked for, channel-major, with their numbers of channels.
    pub fn run(&self, blob: &Blob, mut watch: impl FnMut(&str, &[f32], usize)) -> Result<Maps, TrunkError> {
        let mut maps = Maps::default();
        self.trunk.run_reading(&blob.data, blob.height, blob.width, |outputs| {
            for (name, map) in self.names.iter().zip(&outputs[self.own..]) {
                watch(name, map.view().as_slice::<f32>()?, map.shape()[1]);
            }
            maps.read(&outputs[..self.own])
        })?;
        Ok(maps)
    }
}
