//! From a trained network to a bundle.

use super::TrainError;
use super::net::Net;
use super::targets::HeadSampling;
use crate::boxes::AnchorSpec;
use crate::model::{Bundle, Manifest, StorageType};

/// Makes a bundle of a detector. The head's deltas stay divided by the standard deviations of training; the manifest
/// says so.
pub fn bundle(
    net: &Net,
    name: &str,
    classes: &[String],
    anchors: &AnchorSpec,
    storage: StorageType,
    provenance: String,
) -> Result<Bundle, TrainError> {
    let mut weights = net.export();
    // The classifier of pre-training is not part of a detector.
    weights.0.retain(|layer, _| !layer.starts_with("fc8."));
    let mut manifest = Manifest::new(name, net.config.arch, classes.to_vec());
    manifest.anchors = anchors.clone();
    manifest.boxes.normalised = true;
    manifest.boxes.stds = HeadSampling::default().stds;
    manifest.provenance = provenance;
    manifest.licence = "MIT OR Apache-2.0".into();
    Ok(Bundle::from_weights(net.config.arch, &weights, manifest, storage)?)
}
