//! Whole imports: descriptions written here from the facts of the released files, small random weights.

#![allow(clippy::unwrap_used)]

use super::caffemodel::{Blob, TrainedLayer, write};
use super::*;
use crate::model::arch::{CAFFENET, Layer, LrnRegion, VGG_CNN_M_1024, VGG16, ZF};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    New,
    V1,
}

/// A prototxt of `arch` as the authors' files have it.
fn prototxt(arch: &Architecture, form: Form, rpn: Option<&str>, svd: bool, classes: usize) -> String {
    let mut text = String::from("name: \"net\"\ninput: \"data\"\n");
    let mut add = |name: &str, (kind, v1): (&str, &str), bottom: &str, top: &str, param: &str| {
        let (open, kind) = match form {
            Form::New => ("layer", format!("\"{kind}\"")),
            Form::V1 => ("layers", v1.to_string()),
        };
        text += &format!("{open} {{ name: '{name}' type: {kind} bottom: '{bottom}' top: '{top}' {param} }}\n");
    };
    const CONV: (&str, &str) = ("Convolution", "CONVOLUTION");
    const FC: (&str, &str) = ("InnerProduct", "INNER_PRODUCT");
    const RELU: (&str, &str) = ("ReLU", "RELU");
    let mut blob = "data";
    for layer in arch.trunk {
        match *layer {
            Layer::Conv { name, out, kernel, stride, pad, groups } => {
                let p = format!("num_output: {out} kernel_size: {kernel} stride: {stride} pad: {pad} group: {groups}");
                add(name, CONV, blob, name, &format!("convolution_param {{ {p} }}"));
                add(&format!("relu_{name}"), RELU, name, name, "");
                blob = name;
            }
            Layer::Lrn { name, region, size, alpha, beta, k } => {
                let region = if region == LrnRegion::WithinChannel { "WITHIN_CHANNEL" } else { "ACROSS_CHANNELS" };
                let p = format!("local_size: {size} alpha: {alpha} beta: {beta} k: {k} norm_region: {region}");
                add(name, ("LRN", "LRN"), blob, name, &format!("lrn_param {{ {p} }}"));
                blob = name;
            }
            Layer::MaxPool { name, kernel, stride, pad } => {
                let p = format!("pool: MAX kernel_size: {kernel} stride: {stride} pad: {pad}");
                add(name, ("Pooling", "POOLING"), blob, name, &format!("pooling_param {{ {p} }}"));
                blob = name;
            }
        }
    }
    if let Some(conv) = rpn {
        let c = arch.rpn_channels;
        let p = |n, k, pad| format!("convolution_param {{ num_output: {n} kernel_size: {k} pad: {pad} stride: 1 }}");
        add(conv, CONV, blob, "rpn/output", &p(c, 3, 1));
        add("rpn_relu", RELU, "rpn/output", "rpn/output", "");
        add("rpn_cls_score", CONV, "rpn/output", "rpn_cls_score", &p(18, 1, 0));
        add("rpn_bbox_pred", CONV, "rpn/output", "rpn_bbox_pred", &p(36, 1, 0));
        add(
            "proposal",
            ("Python", "Python"),
            "rpn_bbox_pred",
            "rois",
            "python_param { layer: 'ProposalLayer' param_str: \"'feat_stride': 16\" }",
        );
    }
    let s = arch.pool_size;
    let p = format!("roi_pooling_param {{ pooled_w: {s} pooled_h: {s} spatial_scale: 0.0625 }}");
    add("roi_pool5", ("ROIPooling", "ROI_POOLING"), blob, "pool5", &p);
    let fc = |n, bias| format!("inner_product_param {{ num_output: {n} bias_term: {bias} }}");
    let mut blob = "pool5".to_string();
    for (i, out) in arch.fc.into_iter().enumerate() {
        let name = format!("fc{}", i + 6);
        if svd {
            add(&format!("{name}_L"), FC, &blob, &format!("{name}_L"), &fc(8, false));
            add(&format!("{name}_U"), FC, &format!("{name}_L"), &name, &fc(out, true));
        } else {
            add(&name, FC, &blob, &name, &fc(out, true));
        }
        add(&format!("relu{}", i + 6), RELU, &name, &name, "");
        let drop = if arch.name == "zf" { "dropout_ratio: 0.5 scale_train: false" } else { "dropout_ratio: 0.5" };
        add(&format!("drop{}", i + 6), ("Dropout", "DROPOUT"), &name, &name, &format!("dropout_param {{ {drop} }}"));
        blob = name;
    }
    add("cls_score", FC, &blob, "cls_score", &fc(classes + 1, true));
    add("bbox_pred", FC, &blob, "bbox_pred", &fc(4 * (classes + 1), true));
    add("cls_prob", ("Softmax", "SOFTMAX"), "cls_score", "cls_prob", "");
    text
}

/// Weights for every layer that the prototxt asks for; number `i` of a layer is `(i mod 251) + 1`.
fn trained(text: &str, arch: &'static Architecture) -> Vec<TrainedLayer> {
    let message = super::prototxt::parse(text.as_bytes()).unwrap();
    let plan = plan::plan(&net::layers(&message).unwrap(), arch).unwrap();
    let blob = |shape: &[usize]| {
        let n = shape.iter().product::<usize>();
        Blob { shape: shape.to_vec(), data: (0..n).map(|i| (i % 251 + 1) as f32).collect() }
    };
    plan.wanted
        .iter()
        .map(|w| {
            let mut blobs = vec![blob(&w.shape)];
            if w.bias {
                blobs.push(blob(&w.shape[..1]));
            }
            TrainedLayer { name: w.caffe.clone(), blobs }
        })
        .collect()
}

fn run(text: &str, layers: &[TrainedLayer], form: Form) -> Result<Imported, ImportError> {
    import(text.as_bytes(), &write::caffemodel(layers, form == Form::V1, false), None, &[])
}

/// A network of the right structure but few numbers, so that tests stay quick.
static SMALL: Architecture = Architecture { fc: [12, 10], ..ZF_BASE };
const ZF_BASE: Architecture = Architecture { name: "zf", trunk: ZF.trunk, rpn_channels: 256, pool_size: 6, fc: [0, 0] };

fn small() -> (String, Vec<TrainedLayer>) {
    let text = prototxt(&SMALL, Form::New, Some("rpn_conv/3x3"), false, 2);
    let layers = trained(&text, &SMALL);
    (text, layers)
}

fn run_small(text: &str, layers: &[TrainedLayer]) -> Result<Imported, String> {
    import(text.as_bytes(), &write::caffemodel(layers, false, false), Some(&SMALL), &[]).map_err(|e| e.to_string())
}

#[test]
fn every_released_network_is_recognised_in_both_forms() {
    for (arch, rpn) in [
        (&ZF, Some("rpn_conv/3x3")),
        (&ZF, Some("rpn_conv1")),
        (&VGG16, Some("rpn_conv/3x3")),
        (&VGG_CNN_M_1024, Some("rpn_conv/3x3")),
        (&VGG_CNN_M_1024, None),
        (&CAFFENET, None),
        (&VGG16, None),
    ] {
        for form in [Form::New, Form::V1] {
            for svd in [false, true] {
                let text = prototxt(arch, form, rpn, svd, 20);
                let message = super::prototxt::parse(text.as_bytes()).unwrap();
                let plan = guess(&net::layers(&message).unwrap()).unwrap();
                assert_eq!((plan.architecture.name, plan.classes), (arch.name, 20));
                assert_eq!(plan.proposals.is_some(), rpn.is_some());
                let names: Vec<&str> = plan.wanted.iter().map(|w| w.ours.as_str()).collect();
                assert_eq!(names.contains(&"fc6_v"), svd);
                assert_eq!(names.contains(&"rpn_conv"), rpn.is_some());
            }
        }
    }
}

#[test]
fn test_time_dropout_goes_into_the_weights_behind_it_and_not_into_biases() {
    let (text, layers) = small();
    let imported = run_small(&text, &layers).unwrap();
    let first = |name: &str| imported.weights.get(name).unwrap().data[..2].to_vec();
    assert_eq!(first("fc6.weight"), [1.0, 2.0]);
    for name in ["fc7", "cls_score", "bbox_pred"] {
        assert_eq!(first(&format!("{name}.weight")), [0.5, 1.0]);
        assert_eq!(first(&format!("{name}.bias")), [1.0, 2.0]);
    }
    let plain = run_small(&text.replace("scale_train: false", "scale_train: true"), &layers).unwrap();
    assert_eq!(plain.weights.get("fc7.weight").unwrap().data[1], 2.0);
}

#[test]
fn an_svd_pair_comes_in_as_a_pair_with_the_factor_on_its_first_half() {
    let text = prototxt(&SMALL, Form::V1, None, true, 2);
    let layers = trained(&text, &SMALL);
    let bytes = write::caffemodel(&layers, true, true);
    let imported = import(text.as_bytes(), &bytes, Some(&SMALL), &[]).unwrap();
    assert_eq!(imported.weights.get("fc7_v.weight").unwrap().shape, [8, 12]);
    assert_eq!(imported.weights.get("fc7_v.weight").unwrap().data[1], 1.0);
    assert_eq!(imported.weights.get("fc7_u.weight").unwrap().shape, [10, 8]);
    assert_eq!(imported.weights.get("fc7_u.weight").unwrap().data[1], 2.0);
    assert!(imported.weights.get("fc7_v.bias").is_none());
    assert!(imported.proposals.is_none());
}

#[test]
fn every_difference_in_the_prototxt_names_layer_found_and_needed() {
    let (text, layers) = small();
    let cases = [
        ("kernel_size: 7 stride: 2", "kernel_size: 5 stride: 2", "layer `conv1`: kernel_size is 5, zf needs 7"),
        ("stride: 2 pad: 3", "stride: 4 pad: 3", "layer `conv1`: stride is 4, zf needs 2"),
        ("pad: 3 group: 1", "pad: 3 group: 2", "layer `conv1`: group is 2, zf needs 1"),
        ("num_output: 96 ", "num_output: 64 ", "layer `conv1`: num_output is 64, zf needs 96"),
        ("pad: 3 ", "pad_h: 3 pad_w: 2 ", "layer `conv1`: pad is 2, zf needs 3"),
        ("local_size: 3", "local_size: 5", "layer `norm1`: local_size is 5, zf needs 3"),
        ("alpha: 0.00005", "alpha: 0.0001", "layer `norm1`: alpha is 0.0001, zf needs 0.00005"),
        ("k: 1 norm_region: WITHIN_CHANNEL", "k: 2", "layer `norm1`: normalises across channels, zf within"),
        ("k: 1 norm_region: WITHIN_CHANNEL", "k: 2", "layer `norm1`: k is 2, zf needs 1"),
        ("pool: MAX", "pool: AVE", "layer `pool1`: pool is AVE, zf needs MAX"),
        ("pooled_w: 6", "pooled_w: 7", "layer `roi_pool5`: pooled_w is 7, zf needs 6"),
        ("spatial_scale: 0.0625", "", "layer `roi_pool5`: spatial_scale is 1, zf needs 0.0625"),
        (
            "name: 'conv3'",
            "name: 'conv_3'",
            "layer `conv3`: is missing from the prototxt; the file has these that belong to nothing: conv_3",
        ),
        ("name: 'fc7'", "name: 'fc7_new'", "layer `fc7`: is missing from the prototxt"),
        (
            "name: 'relu_conv2' type: \"ReLU\"",
            "name: 'x' type: 'Sigmoid'",
            "layer `conv2`: is not followed by a ReLU on `conv2`",
        ),
        (
            "name: 'relu_conv2' type: \"ReLU\"",
            "name: 'x' type: 'Sigmoid'",
            "layer `x`: a `Sigmoid` that zf has no place for (line 8)",
        ),
        ("num_output: 18", "num_output: 24", "layer `rpn_cls_score`: num_output is 24"),
        ("num_output: 12 bias_term: true", "num_output: 12 bias_term: no", "layer `bbox_pred`: line"),
        ("bottom: 'conv4'", "bottom: 'conv3'", "layer `conv5`: reads `conv3`, needs to read `conv4`"),
    ];
    for (from, to, expected) in cases {
        assert!(text.contains(from), "{from} not in\n{text}");
        let error = run_small(&text.replace(from, to), &layers).unwrap_err();
        assert!(error.contains(expected), "{from} -> {to}:\n{error}\nlacks: {expected}");
    }
}

#[test]
fn every_difference_in_the_caffemodel_names_layer_found_and_needed() {
    let (text, layers) = small();
    let index = |name: &str| layers.iter().position(|l| l.name == name).unwrap();
    type Change<'a> = &'a dyn Fn(&mut Vec<TrainedLayer>);
    let cases: [(Change, &str); 7] = [
        (&|l| drop(l.remove(index("conv4"))), "layer `conv4`: has no weights in the caffemodel"),
        (
            &|l| l[index("conv4")].name = "conv_4".into(),
            "layer `conv4`: has no weights in the caffemodel; left over there: conv_4",
        ),
        (
            &|l| l[index("conv4")].name = "conv_4".into(),
            "layer `conv_4`: has weights in the caffemodel but no place in zf; if it may be dropped, say --skip-layer conv_4",
        ),
        (
            &|l| l[index("conv1")].blobs[0].shape = vec![96, 7, 7, 3],
            "layer `conv1`: weight is [96, 7, 7, 3] in the caffemodel, needs [96, 3, 7, 7]",
        ),
        (&|l| drop(l[index("fc6")].blobs.pop()), "layer `fc6`: has 1 blobs in the caffemodel, needs 2"),
        (
            &|l| l[index("fc7")].blobs[1].shape = vec![10, 1],
            "layer `fc7`: bias is [10, 1] in the caffemodel, needs [10]",
        ),
        (&|l| l[index("fc7")].blobs[1].data[3] = f32::NAN, "layer `fc7`: has NaN or infinite weights"),
    ];
    for (change, expected) in cases {
        let mut changed = layers.clone();
        change(&mut changed);
        let error = run_small(&text, &changed).unwrap_err();
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
    }
}

#[test]
fn a_layer_named_for_skipping_may_be_left_over() {
    let (text, mut layers) = small();
    let extra = Blob { shape: vec![1], data: vec![1.0] };
    layers.push(TrainedLayer { name: "aux".into(), blobs: vec![extra] });
    let bytes = write::caffemodel(&layers, false, false);
    assert!(import(text.as_bytes(), &bytes, Some(&SMALL), &[]).is_err());
    let imported = import(text.as_bytes(), &bytes, Some(&SMALL), &["aux".into()]).unwrap();
    assert_eq!(imported.skipped, ["aux"]);
}

#[test]
fn a_training_file_is_recognised_as_one() {
    let (text, layers) = small();
    let text = text + "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'cls_score' }";
    let error = run_small(&text, &layers).unwrap_err();
    assert!(error.contains("layer `loss`") && error.contains("give the test prototxt"), "{error}");
}

#[test]
fn a_foreign_network_is_compared_with_the_most_similar_of_ours() {
    let text = prototxt(&ZF, Form::New, None, false, 20).replace("local_size: 3", "local_size: 9");
    let error = run(&text, &[], Form::New).unwrap_err().to_string();
    assert!(error.contains("most similar is zf "), "{error}");
    assert!(error.contains("layer `norm2`: local_size is 9"), "{error}");
    assert!(matches!(import(b"name: 'x'", b"", None, &[]), Err(ImportError::NoLayers)));
}
