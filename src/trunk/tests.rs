//! The trunk against plain loops written from the layers' definitions.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::model::arch::{ALL, Layer, LrnRegion, VGG16, ZF, pooled_len};
use crate::model::{Architecture, Manifest, StorageType, Tensor as WeightTensor, Weights, normals};
use prost::Message as _;
use rand::SeedableRng;
use tract_onnx::pb::{ModelProto, NodeProto};

/// One map: channels, rows, columns, data.
type Map = (usize, usize, usize, Vec<f32>);

fn conv((c, h, w, x): &Map, weight: &WeightTensor, bias: &[f32], stride: usize, pad: usize, groups: usize) -> Map {
    let [out, per_group, k, _] = weight.shape[..] else { panic!("not a convolution") };
    assert_eq!(per_group * groups, *c);
    let (oh, ow) = ((h + 2 * pad - k) / stride + 1, (w + 2 * pad - k) / stride + 1);
    let mut y = vec![0.0; out * oh * ow];
    for o in 0..out {
        let first = o / (out / groups) * per_group;
        for (r, q) in (0..oh).flat_map(|r| (0..ow).map(move |q| (r, q))) {
            let mut sum = f64::from(bias[o]);
            for (i, dy) in (0..per_group).flat_map(|i| (0..k).map(move |dy| (i, dy))) {
                let row = (r * stride + dy).wrapping_sub(pad);
                for col in (0..k).map(|dx| (q * stride + dx).wrapping_sub(pad)) {
                    if row < *h && col < *w {
                        let tap = ((o * per_group + i) * k + dy) * k + (col + pad - q * stride);
                        sum += f64::from(x[((first + i) * h + row) * w + col]) * f64::from(weight.data[tap]);
                    }
                }
            }
            y[(o * oh + r) * ow + q] = sum as f32;
        }
    }
    (out, oh, ow, y)
}

fn relu(mut map: Map) -> Map {
    map.3.iter_mut().for_each(|v| *v = v.max(0.0));
    map
}

fn max_pool((c, h, w, x): &Map, k: usize, stride: usize, pad: usize) -> Map {
    let (oh, ow) = (pooled_len(*h, k, stride, pad), pooled_len(*w, k, stride, pad));
    let mut y = Vec::with_capacity(c * oh * ow);
    for i in 0..*c {
        for (r, q) in (0..oh).flat_map(|r| (0..ow).map(move |q| (r, q))) {
            let rows = (r * stride).saturating_sub(pad)..(r * stride + k - pad).min(*h);
            let cols = (q * stride).saturating_sub(pad)..(q * stride + k - pad).min(*w);
            let window = rows.flat_map(|row| cols.clone().map(move |col| x[(i * h + row) * w + col]));
            y.push(window.fold(f32::NEG_INFINITY, f32::max));
        }
    }
    (*c, oh, ow, y)
}

fn lrn((c, h, w, x): &Map, region: LrnRegion, size: usize, [alpha, beta, k]: [f32; 3]) -> Map {
    let half = (size - 1) / 2;
    let square = |i: usize, r: usize, q: usize| {
        if i < *c && r < *h && q < *w { f64::from(x[(i * h + r) * w + q]).powi(2) } else { 0.0 }
    };
    let mut y = Vec::with_capacity(x.len());
    for (i, r) in (0..*c).flat_map(|i| (0..*h).map(move |r| (i, r))) {
        for q in 0..*w {
            let near = |n: usize| (0..size).map(move |d| (n + d).wrapping_sub(half));
            let (sum, n): (f64, usize) = match region {
                LrnRegion::AcrossChannels => (near(i).map(|i| square(i, r, q)).sum(), size),
                LrnRegion::WithinChannel => {
                    (near(r).flat_map(|r| near(q).map(move |q| square(i, r, q))).sum(), size * size)
                }
            };
            let base = f64::from(k) + f64::from(alpha) / n as f64 * sum;
            y.push((f64::from(x[(i * h + r) * w + q]) / base.powf(f64::from(beta))) as f32);
        }
    }
    (*c, *h, *w, y)
}

fn reference(network: &Architecture, weights: &Weights, image: Map) -> [Map; 3] {
    let layer = |x: &Map, name: &str, stride, pad, groups| {
        let bias = &weights.get(&format!("{name}.bias")).unwrap().data;
        conv(x, weights.get(&format!("{name}.weight")).unwrap(), bias, stride, pad, groups)
    };
    let mut x = image;
    for l in network.trunk {
        x = match *l {
            Layer::Conv { name, stride, pad, groups, .. } => relu(layer(&x, name, stride, pad, groups)),
            Layer::MaxPool { kernel, stride, pad, .. } => max_pool(&x, kernel, stride, pad),
            Layer::Lrn { region, size, alpha, beta, k, .. } => lrn(&x, region, size, [alpha, beta, k]),
        };
    }
    let hidden = relu(layer(&x, "rpn_conv", 1, 1, 1));
    let (scores, deltas) = (layer(&hidden, "rpn_cls_score", 1, 0, 1), layer(&hidden, "rpn_bbox_pred", 1, 0, 1));
    [x, scores, deltas]
}

fn image(height: usize, width: usize) -> Vec<f32> {
    normals(&mut rand_chacha::ChaCha8Rng::seed_from_u64(9), 3 * height * width, 60.0)
}

fn bundle(network: &Architecture, anchors: Option<usize>, storage: StorageType) -> (Bundle, Weights) {
    let weights = Weights::he_random(network, 1, anchors, Some(1), 11);
    let manifest = Manifest::new("test", network, vec!["thing".into()]);
    (Bundle::from_weights(network, &weights, manifest, storage).unwrap(), weights)
}

#[track_caller]
fn assert_close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want.iter().fold(0f32, |m, v| m.max(v.abs()));
    let (at, worst) = got
        .iter()
        .zip(want)
        .map(|(g, w)| (g - w).abs())
        .enumerate()
        .fold((0, 0f32), |m, e| if e.1 > m.1 { e } else { m });
    assert!(worst <= tolerance * scale, "{name}[{at}]: got {}, want {}, scale {scale}", got[at], want[at]);
}

/// The trunk on the engine's own kernels, on ours of every instruction set this processor has, and on rounded numbers; and how far
/// from the definition each may be.
fn trunks(bundle: &Bundle) -> Vec<(Trunk, f32)> {
    let single = std::iter::once(None).chain(Kernels::available().into_iter().map(Some));
    let rounded = Bf16::available().into_iter().map(|bf16| (Some(Kernels::best()), Some(bf16), 5e-2));
    single
        .map(|kernels| (kernels, None, 1e-5))
        .chain(rounded)
        .map(|(kernels, bf16, tolerance)| {
            (Trunk::with_precision(bundle, &Team::new(1).unwrap(), kernels, bf16).unwrap(), tolerance)
        })
        .collect()
}

#[test]
fn every_network_computes_what_its_layers_say_at_even_and_odd_sizes_on_all_kernels() {
    for network in ALL {
        let (bundle, weights) = bundle(network, Some(9), StorageType::F32);
        let trunks = trunks(&bundle);
        for (h, w) in if **network == VGG16 { vec![(32, 47)] } else { vec![(64, 96), (67, 89), (70, 51)] } {
            let want = reference(network, &weights, (3, h, w, image(h, w)));
            for (trunk, tolerance) in &trunks {
                let maps = trunk.run_planar(&image(h, w), h, w).unwrap();
                let name = format!("{} {h}×{w} on {}", network.name, trunk.kernels());
                assert_eq!((maps.channels, maps.rows, maps.cols), (want[0].0, want[0].1, want[0].2), "{name}");
                assert_eq!((maps.rows, maps.cols), network.map_size(h, w), "{name}");
                assert_close(&name, &maps.conv5_planes(), &want[0].3, *tolerance);
                let (scores, deltas) = maps.rpn.unwrap();
                assert_close(&name, &scores, &want[1].3, *tolerance);
                assert_close(&name, &deltas, &want[2].3, *tolerance);
            }
        }
    }
}

#[test]
fn all_layers_run_on_our_kernels_and_maps_change_layout_only_at_the_ends() {
    for network in ALL {
        let (bundle, _) = bundle(network, Some(9), StorageType::F16);
        let model = read(&bundle.trunk_onnx, Some(Kernels::best()), None).unwrap().into_decluttered().unwrap();
        let count = |name: &str| model.nodes().iter().filter(|n| n.op.name() == name).count();
        let layers = |kind: fn(&Layer) -> bool| network.trunk.iter().filter(|l| kind(l)).count();
        // Three more of the RPN.
        assert_eq!(count("EdgeRcnnConv"), layers(|l| matches!(l, Layer::Conv { .. })) + 3, "{}", network.name);
        // A pooling is on its own, or joined to the convolution before it.
        let joined = model.nodes().iter().filter(|n| n.op.info().unwrap().concat().contains("pool=")).count();
        let pools = layers(|l| matches!(l, Layer::MaxPool { .. }));
        assert_eq!(count("EdgeRcnnMaxPool") + joined, pools, "{}", network.name);
        assert_eq!(joined, usize::from(**network != VGG16), "{}", network.name);
        // The picture in; scores and deltas out.
        assert_eq!(count("EdgeRcnnLayout"), 3, "{}", network.name);
        for gone in ["Conv", "MaxPool", "Max", "EinSum"] {
            assert_eq!(count(gone), 0, "{gone} in {}", network.name);
        }
    }
}

#[test]
fn the_map_has_the_predicted_size_for_every_input_length() {
    // One side only changes the number of columns, so a strip of 16 rows shows every case quickly.
    for network in ALL.iter().filter(|n| ***n != VGG16) {
        let trunk = Trunk::new(&bundle(network, None, StorageType::F32).0, 1).unwrap();
        for w in 100..117 {
            let maps = trunk.run_planar(&image(32, w), 32, w).unwrap();
            assert_eq!((maps.rows, maps.cols), network.map_size(32, w), "{} 32×{w}", network.name);
        }
    }
}

#[test]
fn half_precision_storage_runs_and_stays_near() {
    let (exact, half) = (bundle(&ZF, Some(9), StorageType::F32).0, bundle(&ZF, Some(9), StorageType::F16).0);
    let run = |b: &Bundle| Trunk::new(b, 1).unwrap().run_planar(&image(64, 64), 64, 64).unwrap();
    assert_close("conv5", &run(&half).conv5, &run(&exact).conv5, 2e-3);
}

#[test]
fn threads_do_not_change_a_bit() {
    let (bundle, _) = bundle(&ZF, Some(9), StorageType::F32);
    let run = |threads| Trunk::new(&bundle, threads).unwrap().run_planar(&image(96, 128), 96, 128).unwrap();
    assert_eq!(run(1), run(2));
}

#[test]
fn a_trunk_without_rpn_gives_only_the_map() {
    let (bundle, _) = bundle(&ZF, None, StorageType::F32);
    assert!(Trunk::new(&bundle, 1).unwrap().run_planar(&image(32, 32), 32, 32).unwrap().rpn.is_none());
}

#[test]
fn no_more_plans_are_kept_than_the_limit_and_a_kept_one_is_reused() {
    let trunk = Trunk::new(&bundle(&ZF, None, StorageType::F32).0, 1).unwrap();
    for i in 0..PLANS_KEPT + 3 {
        trunk.run_planar(&image(32, 32 + i), 32, 32 + i).unwrap();
    }
    assert_eq!(trunk.lock().len(), PLANS_KEPT);
    assert!(trunk.lock().take((32, 32)).is_none());
    assert!(trunk.lock().take((32, 32 + PLANS_KEPT)).is_some());
}

#[test]
fn a_sliver_of_a_picture_runs_in_every_network() {
    for network in ALL {
        let trunk = Trunk::new(&bundle(network, Some(9), StorageType::F32).0, 1).unwrap();
        for (h, w) in [(1, 1), (1, 40), (40, 3)] {
            let maps = trunk.run_planar(&image(h, w), h, w).unwrap();
            assert_eq!((maps.rows, maps.cols), network.map_size(h, w), "{} {h}×{w}", network.name);
        }
    }
    assert_eq!(pad(&[1., 2., 3., 4., 5., 6.], 1, 2, 2, 3)[..9], [1., 2., 0., 0., 0., 0., 3., 4., 0.]);
}

#[test]
fn inputs_that_cannot_be_run_are_refused() {
    let trunk = Trunk::new(&bundle(&ZF, None, StorageType::F32).0, 1).unwrap();
    for (h, w, len) in [(32, 32, 100), (0, 32, 0), (32, 0, 0)] {
        assert!(matches!(trunk.run_planar(&vec![0.0; len], h, w), Err(TrunkError::Input { .. })));
    }
}

/// One golden layer in a network of its own: rows and columns of its map, and its planes. A last 1×1 convolution gives the
/// positive and the negative part, because every convolution ends in a ReLU.
fn run_alone(layer: Layer, image: &[f32], height: usize, width: usize) -> ([usize; 2], Vec<f32>) {
    let last = Layer::Conv { name: "conv5", out: 6, kernel: 1, stride: 1, pad: 0, groups: 1 };
    let network = Architecture { name: "one layer", trunk: Box::leak(Box::new([layer, last])), rpn_channels: 1, ..ZF };
    let mut weights = Weights::default();
    let identity = |i: usize| if i / 3 % 3 == i % 3 { 1.0 - (i / 9 * 2) as f32 } else { 0.0 };
    let data = (0..18).map(identity).collect();
    weights.insert("conv5.weight", WeightTensor { shape: vec![6, 3, 1, 1], data });
    weights.insert("conv5.bias", WeightTensor { shape: vec![6], data: vec![0.0; 6] });
    let onnx = crate::model::onnx::trunk_onnx(&network, &weights, StorageType::F32).unwrap();
    let mut plan = Plan::new(&read(&onnx, Some(Kernels::best()), None).unwrap(), height, width).unwrap();
    let mut maps = Maps::default();
    maps.read(&plan.run(image, &[1, 3, height, width]).unwrap()).unwrap();
    let mut planes = maps.conv5_planes();
    let negative = planes.split_off(planes.len() / 2);
    planes.iter_mut().zip(negative).for_each(|(p, n)| *p -= n);
    ([maps.rows, maps.cols], planes)
}

#[test]
fn every_lrn_becomes_one_operator_and_nothing_of_the_chain_stays() {
    for network in ALL {
        let (bundle, _) = bundle(network, Some(9), StorageType::F16);
        let model = read(&bundle.trunk_onnx, Some(Kernels::best()), None).unwrap().into_decluttered().unwrap();
        let count = |name: &str| model.nodes().iter().filter(|n| n.op.name() == name).count();
        let layers = network.trunk.iter().filter(|l| matches!(l, Layer::Lrn { .. })).count();
        // Or joined to the convolution before it.
        let joined = model.nodes().iter().filter(|n| n.op.info().unwrap().concat().contains("lrn=")).count();
        assert_eq!(count("EdgeRcnnLrn") + joined, layers, "{}", network.name);
        assert_eq!(joined, usize::from(["zf", "vgg-cnn-m-1024"].contains(&network.name)), "{}", network.name);
        for gone in ["Lrn", "SumPool", "Pow", "Div", "Cast"] {
            assert_eq!(count(gone), 0, "{gone} in {}", network.name);
        }
    }
}

#[test]
fn pooling_and_lrn_are_caffes() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/layers.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let floats = |v: &serde_json::Value| -> Vec<f32> {
            v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        let number = |v: &serde_json::Value| v.as_u64().unwrap() as usize;
        let (pool, lrn) = (&case["pool"], &case["lrn"]);
        let layer = if lrn.is_null() {
            let [kernel, stride, pad] = ["kernel", "stride", "pad"].map(|k| number(&pool[k]));
            Layer::MaxPool { name: "pool", kernel, stride, pad }
        } else {
            let region = if lrn["region"] == "across" { LrnRegion::AcrossChannels } else { LrnRegion::WithinChannel };
            let [alpha, beta, k] = ["alpha", "beta", "k"].map(|k| lrn[k].as_f64().unwrap() as f32);
            Layer::Lrn { name: "norm", region, size: number(&lrn["size"]), alpha, beta, k }
        };
        let (height, width) = (number(&case["shape"][1]), number(&case["shape"][2]));
        let (size, planes) = run_alone(layer, &floats(&case["input"]), height, width);
        let out = [number(&case["out"][1]), number(&case["out"][2])];
        assert_eq!(size, out, "{layer:?} of {height}×{width}");
        assert_close(&format!("{layer:?} of {height}×{width}"), &planes, &floats(&case["output"]), 1e-6);
    }
}

#[test]
fn what_a_graph_has_that_is_not_known_is_named() {
    let (bundle, _) = bundle(&ZF, None, StorageType::F16);
    let refused = |spoil: &dyn Fn(&mut NodeProto)| {
        let mut model = ModelProto::decode(bundle.trunk_onnx.as_slice()).unwrap();
        let nodes = &mut model.graph.as_mut().unwrap().node;
        spoil(nodes.iter_mut().find(|n| n.op_type == "Conv").unwrap());
        let trunk_onnx = model.encode_to_vec();
        Trunk::new(&Bundle { trunk_onnx, ..bundle.clone() }, 1).err().unwrap().to_string()
    };
    for (message, want) in [
        (refused(&|n| n.op_type = "Erf".into()), "node conv1.sum: operator Erf is not known"),
        (refused(&|n| n.attribute[0].name = "dilations".into()), "attribute dilations is not known"),
        (refused(&|n| drop(n.attribute.pop())), "has no group"),
        (refused(&|n| n.attribute[1].ints = vec![0, 0]), "has empty windows or steps"),
        (refused(&|n| n.input[0] = "nobody".into()), "nobody"),
        (refused(&|n| n.input.truncate(2)), "has 2 inputs"),
    ] {
        assert!(message.contains(want) && message.contains("export the model again"), "{message}");
    }
}
