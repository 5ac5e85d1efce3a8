//! `edge-rcnn import`: a bundle from the authors' Caffe files.
//!
//! Says on standard error which layer went where; standard output gets one line of JSON about the bundle.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use edge_rcnn::eval::{COCO_CLASSES, VOC_CLASSES, names_in};
use edge_rcnn::model::import::{Imported, import};
use edge_rcnn::model::{Architecture, Bundle, StorageType, sha256};

use super::Failure;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The model is taken whole or not at all: a layer that is missing, renamed, of another shape or \
                        with other parameters is an error that names it. Weights stay in Caffe's channel order, BGR."
)]
pub struct Args {
    /// Network description, the one for testing
    #[arg(long, value_name = "FILE")]
    prototxt: PathBuf,
    /// Trained weights
    #[arg(long, value_name = "FILE")]
    caffemodel: PathBuf,
    /// The network [default: the one that the description fits]
    #[arg(long, value_name = "NAME", value_parser = architecture)]
    architecture: Option<&'static Architecture>,
    /// Class names without the background: `voc`, `coco` or a file with one name a line [default: by their number]
    #[arg(long, value_name = "FILE|voc|coco")]
    classes: Option<PathBuf>,
    /// Directory of the new bundle
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The box deltas are still normalised (means 0, deviations 0.1 0.1 0.2 0.2). The authors' finished models have
    /// that folded into `bbox_pred`; snapshots from the middle of a training do not
    #[arg(long, alias = "bbox-normalized")]
    box_normalised: bool,
    /// A layer of the caffemodel that may be left out; may be given several times
    #[arg(long, value_name = "NAME")]
    skip_layer: Vec<String>,
    /// Name of the model [default: the name of DIR]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Licence of the weights, for the manifest
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    licence: String,
    /// Store weights in 16 bits: half the size, about three decimal digits
    #[arg(long)]
    half: bool,
}

/// The line on standard output.
#[derive(serde::Serialize)]
struct Line<'a> {
    out: &'a Path,
    name: &'a str,
    architecture: &'a str,
    classes: usize,
    rpn: bool,
    layers: usize,
    parameters: usize,
    sha256: String,
}

fn architecture(name: &str) -> Result<&'static Architecture, String> {
    Architecture::by_name(name).ok_or_else(|| format!("the networks are {}", Architecture::names()))
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let prototxt = read(&args.prototxt)?;
    let caffemodel = read(&args.caffemodel)?;
    let imported = import(&prototxt, &caffemodel, args.architecture, &args.skip_layer)
        .map_err(|e| Failure::config(format!("{} with {}: {e}", args.prototxt.display(), args.caffemodel.display())))?;
    log::info!("{}", table(&imported));
    let classes = classes(args.classes.as_deref(), imported.classes)?;
    let stem = args.out.file_name().unwrap_or(args.out.as_os_str()).to_string_lossy();
    let mut manifest = imported.manifest(args.name.as_deref().unwrap_or(&stem), classes);
    manifest.boxes.normalised = args.box_normalised;
    manifest.licence = args.licence;
    let file = |path: &Path, bytes: &[u8]| {
        format!("{} (sha256 {})", path.file_name().unwrap_or_default().to_string_lossy(), sha256(bytes))
    };
    manifest.provenance =
        format!("imported from Caffe: {}, {}", file(&args.prototxt, &prototxt), file(&args.caffemodel, &caffemodel));
    drop(caffemodel);
    let storage = if args.half { StorageType::F16 } else { StorageType::F32 };
    let bundle = Bundle::from_weights(imported.architecture, &imported.weights, manifest, storage);
    let bundle = bundle.map_err(Failure::config)?;
    bundle.save(&args.out).map_err(Failure::runtime)?;
    let line = Line {
        out: &args.out,
        name: &bundle.manifest.name,
        architecture: imported.architecture.name,
        classes: bundle.manifest.classes.len(),
        rpn: bundle.manifest.has_rpn,
        layers: imported.matches.len(),
        parameters: imported.weights.parameters(),
        sha256: bundle.sha256().map_err(Failure::runtime)?,
    };
    let text = serde_json::to_string(&line).map_err(Failure::runtime)?;
    writeln!(io::stdout(), "{text}").map_err(Failure::output)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| Failure::missing(format!("{}: cannot read: {e}", path.display())))
}

/// The class names: a list of ours, or a file with one name a line.
fn classes(given: Option<&Path>, count: usize) -> Result<Vec<String>, Failure> {
    let (from, names): (String, Vec<String>) = match given {
        Some(p) if p == Path::new("voc") => ("voc".into(), VOC_CLASSES.map(String::from).to_vec()),
        Some(p) if p == Path::new("coco") => ("coco".into(), COCO_CLASSES.map(String::from).to_vec()),
        Some(path) => {
            let bytes = read(path)?;
            let lines = String::from_utf8_lossy(&bytes);
            let names = names_in(&lines);
            (path.display().to_string(), names)
        }
        None if count == VOC_CLASSES.len() => return classes(Some(Path::new("voc")), count),
        None if count == COCO_CLASSES.len() => return classes(Some(Path::new("coco")), count),
        None => {
            let what = format!("the model has {count} classes, as neither VOC (20) nor COCO (80) has; name them");
            return Err(Failure::usage(format!("{what} with --classes FILE, one a line, without the background")));
        }
    };
    if names.len() != count {
        let found = names.len();
        return Err(Failure::usage(format!("--classes {from}: {found} names, the model has {count} classes")));
    }
    Ok(names)
}

/// What went where, for people.
fn table(imported: &Imported) -> String {
    let width = imported.matches.iter().map(|m| m.caffe.len()).max().unwrap_or(0);
    let mut text = format!("{} layers of {}:", imported.matches.len(), imported.architecture.name);
    for m in &imported.matches {
        let shape = m.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        let line = format!("\n  {:width$}  ->  {:13}  {shape:16}  {}", m.caffe, m.ours, m.note);
        text += line.trim_end_matches(' ');
    }
    for layer in &imported.skipped {
        text += &format!("\n  {layer:width$}  left out, as asked");
    }
    text
}
