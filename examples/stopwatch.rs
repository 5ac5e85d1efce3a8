//! Runs one part of a bundle whenever it is asked to, and says how many milliseconds it took: this program's half of
//! `benches/peers`, where engines take turns.
//!
//! ```sh
//! cargo run --release --example stopwatch -- ENGINE PART BUNDLE INPUT OUT THREADS [KERNELS]
//! ```
//!
//! ENGINE is `edge-rcnn`, or `tract`: the graph engine alone, on the bundle's ONNX files. PART is `trunk` (INPUT holds
//! 3·600·1000 numbers, f32), `head` (300·9216 numbers) or `frame` (a picture). KERNELS may be `bf16`. After a warm-up the outputs lie in OUT, a line of
//! JSON says that all is ready, and each line `run` on standard input is answered by a line with a number.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use edge_rcnn::detector::{Detector, DetectorOptions, Precision};
use edge_rcnn::frame::{Blob, Picture, Pixels};
use edge_rcnn::head::{Head, HeadOutput, QuantHead};
use edge_rcnn::kernels::{Bf16, Kernels, Team, int8::Dot};
use edge_rcnn::model::Bundle;
use edge_rcnn::trunk::{QuantTrunk, Trunk};
use tract_onnx::prelude::*;

/// Rows and columns of the picture, and RoIs of the head.
const PICTURE: (usize, usize) = (600, 1000);
const ROIS: usize = 300;
const WARM_UP: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// Output tensors by name, or a line of JSON.
type Outputs = Vec<(String, Vec<u8>)>;
/// Runs once; the outputs if asked for.
type Run = Box<dyn FnMut(bool) -> Result<Outputs>>;

struct Args {
    part: String,
    bundle: Bundle,
    input: PathBuf,
    threads: usize,
    kernels: Option<String>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [engine, part, bundle, input, out, threads, more @ ..] = &args[..] else {
        return Err("give ENGINE PART BUNDLE INPUT OUT THREADS".into());
    };
    let args = Args {
        part: part.clone(),
        bundle: Bundle::load(Path::new(bundle))?,
        input: input.into(),
        threads: threads.parse()?,
        kernels: more.first().cloned(),
    };
    let (mut run, kernels) = match engine.as_str() {
        "edge-rcnn" => ours(&args)?,
        "tract" => (tract(&args)?, "tract".into()),
        _ => return Err(format!("{engine}: expected edge-rcnn or tract").into()),
    };
    for _ in 1..WARM_UP {
        run(false)?;
    }
    std::fs::create_dir_all(out)?;
    for (name, bytes) in run(true)? {
        std::fs::write(Path::new(out).join(name), bytes)?;
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{{\"kernels\":\"{kernels}\"}}")?;
    stdout.flush()?;
    for line in io::stdin().lock().lines() {
        if line?.trim() != "run" {
            break;
        }
        let start = Instant::now();
        run(false)?;
        writeln!(stdout, "{:.4}", start.elapsed().as_secs_f64() * 1e3)?;
        stdout.flush()?;
    }
    Ok(())
}

/// This program, as its detector runs it.
fn ours(args: &Args) -> Result<(Run, String)> {
    let team = Team::new(args.threads)?;
    let bf16 = args.kernels.as_deref() == Some("bf16");
    let products = if bf16 { Some(Bf16::fast().ok_or("this processor has no bf16")?) } else { None };
    let asked = args.kernels.as_deref().filter(|_| !bf16);
    let kernels = match asked {
        Some(name) => Kernels::by_name(name).ok_or_else(|| format!("{name}: this processor has no such kernels"))?,
        None => Kernels::best(),
    };
    let quantized = args.bundle.quantized()?;
    let dot = args.kernels.as_deref().and_then(Dot::by_name).unwrap_or(Dot::best());
    Ok(match (args.part.as_str(), quantized) {
        ("trunk", None) => {
            let (image, trunk) =
                (floats(&args.input)?, Trunk::with_precision(&args.bundle, &team, Some(kernels), products)?);
            let name = trunk.kernels().to_string();
            (Box::new(move |wanted| named(wanted, trunk.run_planar(&image, PICTURE.0, PICTURE.1)?)), name)
        }
        ("trunk", Some(numbers)) => {
            let (network, flow) = (args.bundle.network()?, args.bundle.dataflow()?);
            let mut trunk = QuantTrunk::new(network, &numbers, &flow, dot, kernels)?;
            let blob = Blob { height: PICTURE.0, width: PICTURE.1, scale: 1.0, data: floats(&args.input)? };
            let pixels = pixels(&blob, trunk.image().scale, &trunk.image().zeros);
            let run = move |wanted| {
                if wanted {
                    return named(true, team.install(|| trunk.run(&blob))?);
                }
                // As in the detector: from bytes, to bytes.
                team.install(|| trunk.run_pixels(&pixels).map(drop))?;
                Ok(Vec::new())
            };
            (Box::new(run), dot.name().into())
        }
        ("head", None) => {
            let (pooled, weights) = (floats(&args.input)?, args.bundle.head_weights()?);
            let mut head = team.install(|| Head::with_precision(weights, kernels, 1, products))?;
            let mut out = HeadOutput::default();
            let run = move |wanted| {
                team.install(|| head.run_into(&pooled, ROIS, &mut out))?;
                Ok(of_head(wanted, &out))
            };
            (Box::new(run), if bf16 { "bf16".into() } else { kernels.name().into() })
        }
        ("head", Some(numbers)) => {
            let pooled = floats(&args.input)?;
            let mut head = QuantHead::new(&numbers, &args.bundle.dataflow()?, dot, 1)?;
            let mut out = HeadOutput::default();
            let run = move |wanted| {
                team.install(|| head.run_into(&pooled, ROIS, &mut out))?;
                Ok(of_head(wanted, &out))
            };
            (Box::new(run), dot.name().into())
        }
        ("frame", _) => {
            let picture = Picture::open(&args.input)?;
            let options = DetectorOptions {
                threads: Some(args.threads),
                kernels: asked.map(String::from),
                precision: if bf16 { Precision::Bf16 } else { Precision::Auto },
                min_score: Some(0.05),
                ..DetectorOptions::default()
            };
            let mut detector = Detector::new(args.bundle.clone(), options)?;
            let name = detector.kernels().to_string();
            let run = move |wanted: bool| {
                let found = detector.detect(&picture)?;
                if !wanted {
                    return Ok(Vec::new());
                }
                let one = |d: &edge_rcnn::detector::Detection| {
                    let corners = [d.rect.x1, d.rect.y1, d.rect.x2, d.rect.y2];
                    serde_json::json!({"class_id": d.class_id, "score": d.score, "box": corners})
                };
                let all: Vec<_> = found.detections.iter().map(one).collect();
                let text = serde_json::json!({"detections": all, "proposals": found.proposals}).to_string();
                Ok(vec![("detections.json".into(), text.into_bytes())])
            };
            (Box::new(run), name)
        }
        (part, _) => return Err(format!("{part}: expected trunk, head or frame").into()),
    })
}

/// tract, and nothing of ours.
fn tract(args: &Args) -> Result<Run> {
    let (onnx, input, shape): (_, _, &[usize]) = match args.part.as_str() {
        "trunk" => (&args.bundle.trunk_onnx, floats(&args.input)?, &[1, 3, PICTURE.0, PICTURE.1]),
        "head" => (&args.bundle.head_onnx, floats(&args.input)?, &[ROIS, 9216]),
        part => return Err(format!("tract has no {part}").into()),
    };
    let reader = tract_onnx::onnx().with_ignore_output_shapes(true);
    let mut model = reader.model_for_read(&mut onnx.as_slice())?;
    model.set_input_fact(0, f32::fact(shape).into())?;
    let names: Vec<String> =
        model.outputs.iter().map(|o| model.outlet_label(*o).unwrap_or(&model.node(o.node).name).to_string()).collect();
    let plan = model.into_optimized()?.into_runnable()?;
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?);
    let executor = match args.threads {
        1 => multithread::Executor::SingleThread,
        _ => multithread::Executor::MultiThread(pool),
    };
    let input: TValue = Tensor::from_shape(shape, &input)?.into();
    Ok(Box::new(move |wanted| {
        let outputs = multithread::multithread_tract_scope(executor.clone(), || plan.run(tvec!(input.clone())))?;
        let of = |(name, value): (&String, &TValue)| Ok((file(name), bytes(value.view().as_slice::<f32>()?)));
        if wanted { names.iter().zip(outputs.iter()).map(of).collect() } else { Ok(Vec::new()) }
    }))
}

/// The planes as bytes: red, green and blue of each pixel.
fn pixels(blob: &Blob, scale: f32, zeros: &[u8]) -> Pixels {
    let plane = blob.height * blob.width;
    let of = |at: usize, channel: usize| {
        ((blob.data[channel * plane + at] / scale).round_ties_even() + f32::from(zeros[channel])) as u8
    };
    let data = (0..plane).flat_map(|at| [of(at, 2), of(at, 1), of(at, 0)]).collect();
    Pixels { height: blob.height, width: blob.width, scale: blob.scale, data }
}

fn named(wanted: bool, maps: edge_rcnn::trunk::Maps) -> Result<Outputs> {
    let conv5 = if wanted { maps.conv5_planes() } else { Vec::new() };
    let (scores, deltas) = maps.rpn.ok_or("the trunk has no RPN")?;
    let all = [("conv5", conv5), ("rpn_cls_score", scores), ("rpn_bbox_pred", deltas)];
    Ok(if wanted { all.iter().map(|(name, map)| (file(name), bytes(map))).collect() } else { Vec::new() })
}

fn of_head(wanted: bool, out: &HeadOutput) -> Outputs {
    let all = [("cls_prob", &out.scores), ("bbox_pred", &out.deltas)];
    if wanted { all.map(|(name, values)| (file(name), bytes(values))).into() } else { Vec::new() }
}

fn file(name: &str) -> String {
    format!("{name}.f32")
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
