//! `edge-rcnn info`: what a model is.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use edge_rcnn::model::Summary;

use super::{Failure, model};

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the model [default: the one compiled into the program]
    #[arg(value_name = "DIR")]
    model: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The frame that costs are given for: the paper's.
const FRAME: (usize, usize) = (600, 1000);

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let bundle = model::open(args.model.as_deref())?;
    let summary = Summary::of(&bundle, FRAME.0, FRAME.1).map_err(Failure::config)?;
    let text = if args.json {
        serde_json::to_string(&summary).map_err(Failure::runtime)? + "\n"
    } else {
        describe(&summary).map_err(Failure::runtime)?
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::output)
}

fn describe(s: &Summary) -> Result<String, std::fmt::Error> {
    let m = &s.manifest;
    let mut t = String::new();
    writeln!(t, "name          {}", m.name)?;
    writeln!(t, "architecture  {}{}", m.architecture, if m.has_rpn { "" } else { ", without RPN" })?;
    writeln!(t, "classes       {}: {}", m.classes.len(), m.classes.join(", "))?;
    writeln!(t, "licence       {}", m.licence)?;
    writeln!(t, "provenance    {}", m.provenance)?;
    if let Some(q) = &m.quantization {
        let corrected = if q.bias_correction { ", biases corrected" } else { "" };
        writeln!(t, "8 bits        ranges by {} on {}{corrected}", q.method, super::count(q.images, "picture"))?;
        writeln!(t, "              list of pictures sha256 {}", q.images_sha256)?;
    }
    writeln!(t, "sha256        {}", s.sha256)?;
    writeln!(t, "trunk.onnx    {:>11} bytes  sha256 {}", s.trunk_bytes, m.files.trunk_sha256)?;
    writeln!(t, "head.onnx     {:>11} bytes  sha256 {}", s.head_bytes, m.files.head_sha256)?;
    let [b, g, r] = m.input.mean_bgr;
    writeln!(
        t,
        "input         shorter side {}, longer at most {}, minus {b} {g} {r} (blue, green, red)",
        m.input.short_side, m.input.long_max
    )?;
    let a = &m.anchors;
    writeln!(t, "anchors       base {}, ratios {:?}, scales {:?}, stride {}", a.base, a.ratios, a.scales, a.stride)?;
    let p = &m.proposals;
    writeln!(
        t,
        "proposals     {} → NMS {} → {}, sides of at least {} pixels",
        p.pre_nms, p.nms, p.post_nms, p.min_size
    )?;
    let d = &m.thresholds;
    writeln!(t, "detections    score above {}, NMS {}, at most {}", d.score, d.nms, d.max_detections)?;
    let boxes = if m.boxes.normalised { "normalised" } else { "as they are" };
    writeln!(t, "box deltas    {boxes}, means {:?}, stds {:?}", m.boxes.means, m.boxes.stds)?;
    writeln!(
        t,
        "\nlayers at {}×{}, map {}×{}, {} proposals\n",
        s.at[0], s.at[1], s.map[0], s.map[1], m.proposals.post_nms
    )?;
    writeln!(t, "{:<14}{:>18}{:>7}{:>6}{:>13}{:>11}", "layer", "weights", "rank", "type", "parameters", "G mul-add")?;
    for l in &s.layers {
        let shape = l.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        let rank = l.rank.map_or("-".into(), |r| r.to_string());
        let giga = l.multiply_adds as f64 / 1e9;
        writeln!(t, "{:<14}{shape:>18}{rank:>7}{:>6}{:>13}{giga:>11.3}", l.layer, l.storage, l.parameters)?;
    }
    writeln!(t, "{:<14}{:>44}{:>11.3}", "together", s.parameters, s.multiply_adds as f64 / 1e9)?;
    Ok(t)
}
