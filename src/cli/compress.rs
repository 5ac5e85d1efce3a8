//! `edge-rcnn compress`: truncated SVD of a model's fully connected layers.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use edge_rcnn::model::{Bundle, CompressError, CompressOptions, StorageType, compress};

use super::data::Data;
use super::scoring::Scoring;
use super::{Failure, count, model};

mod target;

/// Arguments of `compress`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A layer of u outputs and v inputs costs u·v multiply-adds, compressed to rank t it costs t·(u+v). \
                        Measure what it does to the accuracy with `edge-rcnn eval`."
)]
pub struct Args {
    /// Folder of the model to compress, one of real numbers
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder to write the compressed model to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Layer and rank, for example fc6=1024; once per layer
    #[arg(long = "rank", required_unless_present = "target_drop", value_name = "LAYER=RANK", value_parser = layer_and_rank)]
    ranks: Vec<(String, usize)>,
    /// Choose ranks of fc6 and fc7 by measuring: the cheapest that lose at most so many points (of 100) of mAP on --data
    #[arg(long, value_name = "POINTS", conflicts_with_all = ["ranks", "force"], requires = "data")]
    target_drop: Option<f64>,
    /// Marked pictures to measure on: `voc:DIR` or `coco:FILE`
    #[arg(long, value_name = "KIND:PATH", requires = "target_drop")]
    data: Option<Data>,
    /// Split of those
    #[arg(long, default_value = "val", value_name = "NAME")]
    split: String,
    /// Measure on the first N of them, as `eval --limit` does
    #[arg(long, value_name = "N", default_value = "200")]
    limit: NonZeroUsize,
    /// Threads to measure with [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Also accept ranks that make a layer larger
    #[arg(long)]
    force: bool,
    /// How to store the head's weights [default: as the model does]
    #[arg(long, value_enum, value_name = "TYPE")]
    storage: Option<model::Storage>,
    /// With --target-drop, say all that was measured as a line of JSON, too
    #[arg(long, requires = "target_drop")]
    json: bool,
    /// Seed of the randomised method; equal seeds give equal models
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn layer_and_rank(text: &str) -> Result<(String, usize), String> {
    let (layer, rank) = text.split_once('=').ok_or("write LAYER=RANK, for example fc6=1024")?;
    let rank = rank.parse().map_err(|_| format!("`{rank}` is not a rank; write for example {layer}=256"))?;
    Ok((layer.to_string(), rank))
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let bundle = model::open(Some(&args.model))?;
    let storage = match args.storage {
        Some(storage) => storage.into(),
        None => bundle.storage().map_err(Failure::config)?,
    };
    if let (Some(points), Some(data)) = (args.target_drop, &args.data) {
        let scoring = Scoring::new(data, &args.split, args.limit.get(), &bundle)?;
        let threads = args.threads.map(NonZeroUsize::get);
        let search = target::Search { points, seed: args.seed, threads, json: args.json };
        let chosen = search.run(&bundle, &scoring, storage)?;
        return finish(&args.out, &bundle, &chosen, storage);
    }
    let options = CompressOptions { ranks: args.ranks, force: args.force, seed: args.seed };
    log::info!("{}: compressing {}, seed {}", bundle.manifest.name, count(options.ranks.len(), "layer"), options.seed);
    let mut out = io::stdout().lock();
    let mut written = Ok(());
    let mut header = true;
    let mut clock = Instant::now();
    let compressed = compress(&bundle, &options, storage, |l| {
        log::info!("{}: done in {:.1} s", l.layer, clock.elapsed().as_secs_f64());
        clock = Instant::now();
        // Only now, because a refused request prints nothing.
        if std::mem::take(&mut header) {
            written = writeln!(
                out,
                "{:<12}{:>14}{:>7}{:>12}{:>14}{:>14}",
                "layer", "size", "rank", "error", "before", "after"
            );
        }
        let size = format!("{}×{}", l.outputs, l.inputs);
        let line = writeln!(
            out,
            "{:<12}{size:>14}{:>7}{:>12.5}{:>14}{:>14}",
            l.layer, l.rank, l.relative_error, l.parameters_before, l.parameters_after
        );
        if written.is_ok() {
            written = line;
        }
    })
    .map_err(|error| match error {
        CompressError::Bundle(_) => Failure::config(error),
        _ => Failure::usage(error),
    })?;
    written.map_err(Failure::output)?;
    drop(out);
    finish(&args.out, &bundle, &compressed, storage)
}

/// Writes the model and says how large it has become.
fn finish(folder: &Path, bundle: &Bundle, compressed: &Bundle, storage: StorageType) -> Result<(), Failure> {
    compressed.save(folder).map_err(Failure::runtime)?;
    let bytes = |b: &Bundle| b.head_onnx.len() as f64 / 1e6;
    writeln!(
        io::stdout(),
        "{}: head.onnx {:.1} MB ({}), was {:.1} MB",
        folder.display(),
        bytes(compressed),
        if storage == StorageType::F16 { "f16" } else { "f32" },
        bytes(bundle),
    )
    .map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::layer_and_rank;

    #[test]
    fn a_rank_is_written_layer_equals_number() {
        assert_eq!(layer_and_rank("fc6=1024"), Ok(("fc6".into(), 1024)));
        for wrong in ["fc6", "fc6=", "fc6=-1", "fc6=x"] {
            assert!(layer_and_rank(wrong).is_err(), "{wrong}");
        }
    }
}
