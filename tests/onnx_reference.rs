//! Our trunk and head against onnxruntime, on the bundle's own files and seeded random weights.
//!
//! Needs the Python that `EDGE_RCNN_PYTHON` names, with the packages of tests/python/requirements.txt, and for VGG16
//! about 3 GB of memory. Without that variable the tests say on standard error that they were skipped.
#![allow(clippy::unwrap_used)]

#[path = "common/reference_python.rs"]
mod reference_python;

use std::fs;
use std::path::Path;
use std::process::Command;

use edge_rcnn::calibrate::{Calibrator, Method};
use edge_rcnn::frame::{Blob, Picture};
use edge_rcnn::head::{Head, HeadOutput, QuantHead};
use edge_rcnn::kernels::{Kernels, int8::Dot};
use edge_rcnn::model::arch::{CAFFENET, VGG_CNN_M_1024, VGG16, ZF, ZF_PLAIN};
use edge_rcnn::model::{
    Architecture, Bundle, CompressOptions, HEAD_FILE, Manifest, StorageType, TRUNK_FILE, Weights, compress, normals,
};
use edge_rcnn::trunk::{Maps, QuantTrunk, Trunk};
use rand::SeedableRng;
use reference_python::python;
use serde_json::{Value, json};

const CLASSES: usize = 20;

fn random(count: usize, std: f32) -> Vec<f32> {
    normals(&mut rand_chacha::ChaCha8Rng::seed_from_u64(5), count, std)
}

fn bundle(network: &Architecture, anchors: Option<usize>, rank: Option<usize>, storage: StorageType) -> Bundle {
    let weights = Weights::he_random(network, CLASSES, anchors, rank, 17);
    let manifest = Manifest::new("test", network, (1..=CLASSES).map(|i| format!("class {i}")).collect());
    Bundle::from_weights(network, &weights, manifest, storage).unwrap()
}

/// A case for the script: files of tensors, and the list of runs that use them.
struct Case<'a> {
    dir: &'a Path,
    runs: Vec<Value>,
}

impl<'a> Case<'a> {
    fn new(dir: &'a Path, bundle: &Bundle) -> Self {
        bundle.save(dir).unwrap();
        Self { dir, runs: Vec::new() }
    }

    fn tensor(&self, name: &str, shape: &[usize], data: &[f32]) -> Value {
        let file = format!("{name}-{}.f32", self.runs.len());
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        fs::write(self.dir.join(&file), data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        json!({ "name": name, "file": file, "shape": shape })
    }

    fn trunk(&mut self, trunk: &Trunk, height: usize, width: usize) {
        let image = random(3 * height * width, 60.0);
        let maps = trunk.run_planar(&image, height, width).unwrap();
        self.maps(&image, &maps, height, width);
    }

    fn maps(&mut self, image: &[f32], maps: &Maps, height: usize, width: usize) {
        let map = |channels| [1, channels, maps.rows, maps.cols];
        let mut outputs = vec![self.tensor("conv5", &map(maps.channels), &maps.conv5_planes())];
        if let Some((scores, deltas)) = &maps.rpn {
            outputs.push(self.tensor("rpn_cls_score", &map(18), scores));
            outputs.push(self.tensor("rpn_bbox_pred", &map(36), deltas));
        }
        let input = self.tensor("image", &[1, 3, height, width], image);
        self.runs.push(json!({ "model": TRUNK_FILE, "input": input, "outputs": outputs }));
    }

    fn head(&mut self, bundle: &Bundle, n: usize) {
        let mut head = Head::from_weights(bundle.head_weights().unwrap()).unwrap();
        let pooled: Vec<f32> = random(n * head.inputs(), 1.0).iter().map(|v| v.max(0.0)).collect();
        let out = head.run(&pooled, n).unwrap();
        self.boxes(&pooled, &out, n);
    }

    fn boxes(&mut self, pooled: &[f32], out: &HeadOutput, n: usize) {
        let outputs = vec![
            self.tensor("cls_prob", &[n, CLASSES + 1], &out.scores),
            self.tensor("bbox_pred", &[n, 4 * (CLASSES + 1)], &out.deltas),
        ];
        let input = self.tensor("pooled", &[n, pooled.len() / n], pooled);
        self.runs.push(json!({ "model": HEAD_FILE, "input": input, "outputs": outputs }));
    }

    /// These are runs of a network in 8 bits, which onnxruntime computes with the same bits or nearly so.
    fn quantised(&mut self, exactly: bool) {
        self.runs.iter_mut().for_each(|run| run["int8"] = if exactly { "exactly" } else { "nearly" }.into());
    }

    /// Writes the list and lets the script compare.
    fn compare(self) {
        fs::write(self.dir.join("case.json"), Value::from(self.runs).to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/onnx_reference.py");
        let output = Command::new(python("onnx_reference").unwrap()).arg(script).arg(self.dir).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Trunk at one even and one odd size, and head.
fn agrees(name: &str, bundle: &Bundle, sizes: &[(usize, usize)]) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join(name);
    let mut case = Case::new(&dir, bundle);
    let trunk = Trunk::new(bundle, 2).unwrap();
    for (height, width) in sizes {
        case.trunk(&trunk, *height, *width);
    }
    case.head(bundle, 7);
    case.compare();
}

#[test]
fn every_small_network_agrees_with_onnxruntime() {
    if python("every_small_network_agrees_with_onnxruntime").is_none() {
        return;
    }
    for network in [&ZF, &ZF_PLAIN, &VGG_CNN_M_1024, &CAFFENET] {
        agrees(network.name, &bundle(network, Some(9), None, StorageType::F32), &[(160, 224), (203, 151)]);
    }
}

#[test]
fn vgg16_agrees_with_onnxruntime() {
    if python("vgg16_agrees_with_onnxruntime").is_none() {
        return;
    }
    agrees("vgg16", &bundle(&VGG16, Some(9), None, StorageType::F32), &[(160, 224)]);
}

#[test]
fn half_precision_and_svd_pairs_agree_with_onnxruntime() {
    if python("half_precision_and_svd_pairs_agree_with_onnxruntime").is_none() {
        return;
    }
    let whole = bundle(&ZF, None, None, StorageType::F16);
    let options = CompressOptions { ranks: vec![("fc6".into(), 64), ("fc7".into(), 32)], ..Default::default() };
    agrees("zf-svd-f16", &compress(&whole, &options, StorageType::F16, |_| ()).unwrap(), &[(64, 96)]);
}

#[test]
fn pooling_rounds_up_as_in_onnxruntime_for_every_remainder() {
    if python("pooling_rounds_up_as_in_onnxruntime_for_every_remainder").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for network in [&ZF, &VGG_CNN_M_1024, &CAFFENET, &VGG16] {
        let bundle = bundle(network, None, Some(1), StorageType::F32);
        let dir = dir.path().join(network.name);
        let mut case = Case::new(&dir, &bundle);
        let trunk = Trunk::new(&bundle, 2).unwrap();
        // Four poolings of stride 2 have 16 remainders; the other side runs through its own at the same time.
        let (sides, height) = if *network == VGG16 { (33..49, 20) } else { (96..112, 60) };
        for width in sides {
            case.trunk(&trunk, height + width * 7 % 16, width);
        }
        case.compare();
    }
}

/// Networks with pixel-sized inputs whose maps are of the order of 1, calibrated on noise.
fn calibrated(network: &'static Architecture, rank: Option<usize>) -> Bundle {
    let mut weights = Weights::he_random(network, CLASSES, Some(9), rank, 17);
    weights.0.get_mut("conv1.weight").unwrap().data.iter_mut().for_each(|w| *w /= 60.0);
    let mut manifest = Manifest::new("test", network, (1..=CLASSES).map(|i| format!("class {i}")).collect());
    (manifest.input.short_side, manifest.input.long_max) = (160, 224);
    let real = Bundle::from_weights(network, &weights, manifest, StorageType::F32).unwrap();
    let rgb = random(224 * 160 * 3, 60.0).iter().map(|v| (v + 115.0).clamp(0.0, 255.0) as u8).collect();
    let mut calibrator = Calibrator::new(&real, 1).unwrap();
    calibrator.see(&Picture::new(224, 160, rgb).unwrap()).unwrap();
    calibrator.quantized(&real, Method::Percentile(99.9), true, "noise").unwrap()
}

/// The same with all scales powers of two. Then f32 holds every value of the file's own arithmetic exactly.
fn with_exact_scales(bundle: &Bundle) -> Bundle {
    let round = |scale: &mut f32| *scale = scale.log2().round().exp2();
    let mut numbers = bundle.quantized().unwrap().unwrap();
    numbers.activations.values_mut().for_each(|map| round(&mut map.scale));
    numbers.layers.values_mut().for_each(|layer| layer.scales.iter_mut().for_each(round));
    bundle.with_quantized(&numbers, bundle.manifest.quantization.clone().unwrap()).unwrap()
}

#[test]
fn models_in_8_bits_agree_with_onnxruntime() {
    if python("models_in_8_bits_agree_with_onnxruntime").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // LRN is computed in real numbers, so with it nothing is exact.
    for (network, rank, exactly) in
        [(&ZF_PLAIN, Some(64), true), (&ZF_PLAIN, Some(64), false), (&ZF, None, false), (&CAFFENET, Some(32), false)]
    {
        let bundle = calibrated(network, rank);
        let bundle = if exactly { with_exact_scales(&bundle) } else { bundle };
        let dir = dir.path().join(format!("{}-{exactly}", network.name));
        let mut case = Case::new(&dir, &bundle);
        let (numbers, flow) = (bundle.quantized().unwrap().unwrap(), bundle.dataflow().unwrap());
        let mut trunk = QuantTrunk::new(network, &numbers, &flow, Dot::best(), Kernels::best()).unwrap();
        for (height, width) in [(160, 224), (203, 151)] {
            let data = random(3 * height * width, 60.0);
            let blob = Blob { height, width, scale: 1.0, data };
            case.maps(&blob.data, &trunk.run(&blob).unwrap(), height, width);
        }
        let mut head = QuantHead::new(&numbers, &flow, Dot::best(), 1).unwrap();
        let range = numbers.activations["pooled"].scale * 255.0;
        let pooled: Vec<f32> = random(7 * head.inputs(), range / 3.0).iter().map(|v| v.max(0.0)).collect();
        let mut out = HeadOutput::default();
        head.run_into(&pooled, 7, &mut out).unwrap();
        case.boxes(&pooled, &out, 7);
        case.quantised(exactly);
        case.compare();
    }
}
