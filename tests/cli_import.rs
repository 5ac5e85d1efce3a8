//! `edge-rcnn import` as users run it: the program, its files, its exit codes.
//!
//! The model is a Fast R-CNN on ZF whose fc layers are SVD pairs of rank 2, so that it is small: 15 MB.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use edge_rcnn::model::Bundle;
use tempfile::TempDir;

/// The convolutions of the corpus file, which has the form of the released ones, and a compressed head.
fn prototxt(classes: usize) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/prototxt/zf.prototxt");
    let whole = fs::read_to_string(path).unwrap();
    let mut text = whole.split("layer {\n  name: \"rpn_conv1\"").next().unwrap().replace("im_info", "rois");
    text += "layer { name: 'roi_pool5' type: 'ROIPooling' bottom: 'conv5' bottom: 'rois' top: 'pool5'\n\
             roi_pooling_param { pooled_w: 6 pooled_h: 6 spatial_scale: 0.0625 } }\n";
    let mut fc = |name: &str, bottom: &str, out: usize, bias: bool| {
        text += &format!(
            "layer {{ name: '{name}' type: 'InnerProduct' bottom: '{bottom}' top: '{name}'\n  \
             inner_product_param {{ num_output: {out} bias_term: {bias} }} }}\n"
        );
        if name.ends_with('U') {
            let drop = "dropout_param { dropout_ratio: 0.5 scale_train: false }";
            text += &format!("layer {{ name: 'relu_{name}' type: 'ReLU' bottom: '{name}' top: '{name}' }}\n");
            text += &format!("layer {{ name: 'drop_{name}' type: 'Dropout' bottom: '{name}' top: '{name}' {drop} }}\n");
        }
    };
    fc("fc6_L", "pool5", 2, false);
    fc("fc6_U", "fc6_L", 4096, true);
    fc("fc7_L", "fc6_U", 2, false);
    fc("fc7_U", "fc7_L", 4096, true);
    fc("cls_score", "fc7_U", classes + 1, true);
    fc("bbox_pred", "fc7_U", 4 * (classes + 1), true);
    text + "layer { name: 'cls_prob' type: 'Softmax' bottom: 'cls_score' top: 'cls_prob' }\n"
}

/// Shapes of weight and, unless it is the first half of a pair, bias.
fn shapes(classes: usize) -> Vec<(&'static str, Vec<usize>)> {
    vec![
        ("conv1", vec![96, 3, 7, 7]),
        ("conv2", vec![256, 96, 5, 5]),
        ("conv3", vec![384, 256, 3, 3]),
        ("conv4", vec![384, 384, 3, 3]),
        ("conv5", vec![256, 384, 3, 3]),
        ("fc6_L", vec![2, 9216]),
        ("fc6_U", vec![4096, 2]),
        ("fc7_L", vec![2, 4096]),
        ("fc7_U", vec![4096, 2]),
        ("cls_score", vec![classes + 1, 4096]),
        ("bbox_pred", vec![4 * (classes + 1), 4096]),
    ]
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 127 {
        out.push((n & 127) as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A length-delimited protobuf field.
fn field(number: usize, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len()), content.to_vec()].concat()
}

/// Weights that grow with their index.
fn caffemodel(shapes: &[(&str, Vec<usize>)]) -> Vec<u8> {
    let blob = |shape: &[usize]| {
        let dims: Vec<u8> = shape.iter().flat_map(|d| varint(*d)).collect();
        let numbers = 0..shape.iter().product::<usize>();
        let data: Vec<u8> = numbers.flat_map(|i| ((i % 1000) as f32 * 1e-5).to_le_bytes()).collect();
        field(7, &[field(7, &field(1, &dims)), field(5, &data)].concat())
    };
    let mut net = field(1, b"ZF");
    for (name, shape) in shapes {
        let mut layer = [field(1, name.as_bytes()), blob(shape)].concat();
        if !name.ends_with("_L") {
            layer.extend(blob(&shape[..1]));
        }
        net.extend(field(100, &layer));
    }
    net
}

struct Case(TempDir);

impl Case {
    fn new(prototxt: &str, caffemodel: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("test.prototxt"), prototxt).unwrap();
        fs::write(dir.path().join("net.caffemodel"), caffemodel).unwrap();
        Self(dir)
    }

    fn import(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
        let files = ["import", "--prototxt", "test.prototxt", "--caffemodel", "net.caffemodel", "--out", "model"];
        command.current_dir(self.0.path()).env_remove("RUST_LOG").args(files).args(args).output().unwrap()
    }

    /// Standard error of a run that has to end with this exit code and leave nothing behind.
    fn refused(&self, args: &[&str], code: i32) -> String {
        let output = self.import(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(output.stdout.is_empty());
        assert!(!self.0.path().join("model").exists());
        said
    }
}

#[test]
fn a_compressed_fast_rcnn_becomes_a_bundle_without_rpn() {
    let case = Case::new(&prototxt(20), &caffemodel(&shapes(20)));
    let output = case.import(&["--box-normalised", "--name", "small", "--licence", "CC0-1.0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("fc7_L") && said.contains("fc7_v") && said.contains("× 0.5 (dropout)"), "{said}");

    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let line: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(line["architecture"], "zf");
    assert_eq!((&line["rpn"], &line["layers"], &line["classes"]), (&false.into(), &11.into(), &20.into()));

    let bundle = Bundle::load(&case.0.path().join("model")).unwrap();
    assert_eq!(line["sha256"], bundle.sha256().unwrap());
    let m = &bundle.manifest;
    assert_eq!((m.name.as_str(), m.licence.as_str(), m.classes[14].as_str()), ("small", "CC0-1.0", "person"));
    assert!(m.boxes.normalised && !m.has_rpn);
    assert!(m.provenance.contains("test.prototxt (sha256 ") && m.provenance.contains("net.caffemodel"));
    let weights = bundle.weights().unwrap();
    let third = |name: &str| weights.get(name).unwrap().data[3];
    assert_eq!((third("fc6_v.weight"), third("fc7_v.weight"), third("fc7_u.weight")), (3e-5, 1.5e-5, 3e-5));
    assert_eq!((third("cls_score.weight"), third("cls_score.bias")), (1.5e-5, 3e-5));
}

#[test]
fn class_names_come_from_a_file_and_must_be_as_many_as_the_model_has() {
    let case = Case::new(&prototxt(2), &caffemodel(&shapes(2)));
    let said = case.refused(&[], 2);
    assert!(said.contains("2 classes") && said.contains("--classes FILE"), "{said}");
    let said = case.refused(&["--classes", "voc"], 2);
    assert!(said.contains("--classes voc: 20 names, the model has 2 classes"), "{said}");
    assert!(case.refused(&["--classes", "nowhere.txt"], 66).contains("nowhere.txt"));
    fs::write(case.0.path().join("names.txt"), "cat\r\n\nsmall dog\n").unwrap();
    assert!(case.import(&["--classes", "names.txt", "--half"]).status.success());
    let bundle = Bundle::load(&case.0.path().join("model")).unwrap();
    assert_eq!(bundle.manifest.classes, ["cat", "small dog"]);
    assert!(bundle.trunk_onnx.len() < 8 << 20, "--half stores two bytes a weight");
}

#[test]
fn files_that_do_not_fit_are_refused_by_layer() {
    let mut renamed = shapes(20);
    renamed[3].0 = "conv_4";
    let case = Case::new(&prototxt(20), &caffemodel(&renamed));
    let said = case.refused(&[], 78);
    assert!(said.contains("test.prototxt with net.caffemodel") && said.contains("does not fit zf"), "{said}");
    assert!(said.contains("layer `conv4`: has no weights in the caffemodel; left over there: conv_4"), "{said}");

    let said = case.refused(&["--architecture", "vgg16"], 78);
    assert!(said.contains("layer `conv1_1`: is missing from the prototxt"), "{said}");
    assert!(case.refused(&["--architecture", "resnet"], 2).contains("vgg-cnn-m-1024"));

    fs::write(case.0.path().join("test.prototxt"), "name: 'x'\nlayer { name: 'a' ").unwrap();
    assert!(case.refused(&[], 78).contains("line 2, column 19: the file ends where `}` is missing"));
    fs::remove_file(case.0.path().join("net.caffemodel")).unwrap();
    assert!(case.refused(&[], 66).contains("net.caffemodel: cannot read"));
}
