//! Writes ZF with and without LRN as bundles with random weights from a seed, in f32 and in 8 bits: the networks that
//! `benches/peers` measures engines on. fc6 and fc7 are pairs of ranks 1024 and 256.
//!
//! ```sh
//! cargo run --release --example seeded_bundles -- PICTURE DIR     # DIR/zf, DIR/zf-int8, DIR/zf-plain, DIR/zf-plain-int8
//! ```
//!
//! Ranges of the 8-bit ones are seen on the picture.

use std::error::Error;
use std::path::PathBuf;

use edge_rcnn::calibrate::{Calibrator, Method};
use edge_rcnn::frame::Picture;
use edge_rcnn::model::arch::{ZF, ZF_PLAIN};
use edge_rcnn::model::{Architecture, Bundle, Manifest, StorageType, Weights};

const CLASSES: usize = 20;
const SEED: u64 = 1;

/// Pixels are in the hundreds, and so is the map of conv1, where LRN does something. From conv2 on numbers are to be
/// about 1, as in a trained network.
const AFTER_CONV1: f32 = 1.0 / 60.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(picture), Some(dir)) = (args.next(), args.next()) else {
        return Err("give a picture and the folder to write to".into());
    };
    let picture = Picture::open(&picture)?;
    std::fs::create_dir_all(&dir)?;
    for network in [&ZF, &ZF_PLAIN] {
        let manifest = Manifest::new(network.name, network, (1..=CLASSES).map(|i| format!("class {i}")).collect());
        let real = Bundle::from_weights(network, &weights(network), manifest, StorageType::F32)?;
        let mut calibrator = Calibrator::new(&real, 1)?;
        calibrator.see(&picture)?;
        let int8 = calibrator.quantized(&real, Method::Percentile(99.99), false, "one picture")?;
        real.save(&dir.join(network.name))?;
        int8.save(&dir.join(format!("{}-int8", network.name)))?;
    }
    Ok(())
}

fn weights(network: &Architecture) -> Weights {
    let of_rank = |rank| Weights::he_random(network, CLASSES, Some(9), Some(rank), SEED);
    let mut weights = of_rank(1024);
    weights.0.extend(of_rank(256).0.into_iter().filter(|(name, _)| name.starts_with("fc7")));
    if let Some(conv2) = weights.0.get_mut("conv2.weight") {
        conv2.data.iter_mut().for_each(|w| *w *= AFTER_CONV1);
    }
    weights
}
