//! Writes a bundle with random weights and next to nothing in its large layers into the folder given: a model that finds
//! nothing, for tests on emulated processors.
//!
//! ```sh
//! cargo run --release --example tiny_bundle -- DIR
//! ```

use std::error::Error;
use std::path::PathBuf;

use edge_rcnn::model::{Bundle, StorageType, Weights};

/// Of the factors of fc6 and fc7.
const RANK: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).ok_or("give the folder to write to")?;
    let like = Bundle::builtin()?;
    let (network, classes) = (like.network()?, like.manifest.classes.len());
    let anchors = like.manifest.anchors.ratios.len() * like.manifest.anchors.scales.len();
    let weights = Weights::he_random(network, classes, Some(anchors), Some(RANK), 1);
    Bundle::from_weights(network, &weights, like.manifest, StorageType::F16)?.save(&dir)?;
    Ok(())
}
