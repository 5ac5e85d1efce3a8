#![allow(clippy::unwrap_used)]
use super::*;
use crate::model::arch::{CAFFENET, ZF_PLAIN};
use crate::model::{Bundle, BundleError, Manifest, Quantization, StorageType, Tensor};

fn ranges(flow: &Dataflow, range: f32) -> Ranges {
    flow.inputs().flat_map(|(_, map)| [map, CONV5]).map(|map| (map.to_string(), range)).collect()
}

fn weights(rank: Option<usize>) -> Weights {
    Weights::he_random(&ZF_PLAIN, 2, Some(9), rank, 3)
}

fn made(weights: &Weights, means: Option<&Means>) -> Quantized {
    let flow = Dataflow::of(&ZF_PLAIN, weights);
    quantize(weights, &flow, crate::model::MEAN_BGR, &ranges(&flow, 51.0), means).unwrap()
}

fn bundle(weights: &Weights) -> (Bundle, Quantized) {
    let manifest = Manifest::new("test", &ZF_PLAIN, vec!["cat".into(), "dog".into()]);
    let real = Bundle::from_weights(&ZF_PLAIN, weights, manifest, StorageType::F32).unwrap();
    let quantized = made(weights, None);
    (real.with_quantized(&quantized, Quantization::default()).unwrap(), quantized)
}

#[test]
fn every_layer_reads_the_map_that_the_files_give_it() {
    let flow = Dataflow::of(&ZF_PLAIN, &weights(Some(2)));
    let inputs: Vec<_> = flow.inputs().map(|(layer, map)| format!("{layer} {map}")).collect();
    assert_eq!(
        inputs.join(", "),
        "conv1 image, conv2 pool1, conv3 pool2, conv4 conv3.relu, conv5 conv4.relu, rpn_conv conv5, \
         rpn_cls_score rpn_conv.relu, rpn_bbox_pred rpn_conv.relu, fc6_v pooled, fc6_u fc6_v.sum, fc7_v fc6.relu, \
         fc7_u fc7_v.sum, cls_score fc7.relu, bbox_pred fc7.relu"
    );
    let caffenet = Dataflow::of(&CAFFENET, &Weights::he_random(&CAFFENET, 2, None, None, 3));
    assert_eq!(caffenet.trunk_maps(), ["norm1", "norm2", "conv3.relu", "conv4.relu", "conv5"]);
}

#[test]
fn weights_come_back_within_half_a_step_of_their_row() {
    let weights = weights(Some(2));
    let quantized = made(&weights, None);
    for (layer, quant) in &quantized.layers {
        let real = &weights.get(&format!("{layer}.weight")).unwrap().data;
        let window = real.len() / quant.scales.len();
        for (i, (w, q)) in real.iter().zip(&quant.weight).enumerate() {
            let scale = quant.scales[i / window];
            assert!((w - f32::from(*q) * scale).abs() <= scale * 0.5001, "{layer} {i}");
        }
        // Each row uses the whole of -127..=127, but for rows in whose steps a large bias has to be told.
        assert!(quant.weight.chunks(window).all(|row| row.iter().any(|q| q.unsigned_abs() == 127)), "{layer}");
    }
    let pooled = &quantized.activations[POOLED];
    assert_eq!((pooled.scale, &*pooled.zeros), (51.0 / 255.0, &[0u8][..]));
    assert_eq!(quantized.activations["fc6_v.sum"], Activation { scale: 51.0 / 127.0, zeros: vec![128] });
    assert_eq!(quantized.activations[IMAGE], Activation { scale: 1.0, zeros: vec![103, 116, 123] });
}

#[test]
fn an_8_bit_pixel_keeps_its_value_and_the_mean_is_the_zero_point() {
    let image = &made(&weights(Some(2)), None).activations[IMAGE];
    for (channel, mean) in crate::model::MEAN_BGR.into_iter().enumerate() {
        for pixel in 0..=255u8 {
            assert_eq!(image.quantize(f32::from(pixel) - mean, channel), pixel);
        }
        assert_eq!(image.quantize(0.0, channel), image.zeros[channel]);
    }
}

#[test]
fn corrected_biases_give_the_mean_that_real_weights_give() {
    let weights = weights(Some(2));
    let means: Means = [("fc7.relu".to_string(), (0..4096).map(|i| f64::from(i % 7)).collect())].into();
    let mean_output = |quantized: &Quantized, o: usize| {
        let (layer, map) = (&quantized.layers["cls_score"], &quantized.activations["fc7.relu"]);
        let scale = f64::from(layer.scales[o]);
        let row = layer.weight[o * 4096..][..4096].iter().zip(&means["fc7.relu"]);
        let bias = f64::from(layer.bias.as_ref().unwrap()[o]) * f64::from(map.scale) * scale;
        row.map(|(w, x)| f64::from(*w) * scale * x).sum::<f64>() + bias
    };
    let (plain, corrected) = (made(&weights, None), made(&weights, Some(&means)));
    for o in 0..3 {
        let row = weights.get("cls_score.weight").unwrap().data[o * 4096..][..4096].iter().zip(&means["fc7.relu"]);
        let want = row.map(|(w, x)| f64::from(*w) * x).sum::<f64>()
            + f64::from(weights.get("cls_score.bias").unwrap().data[o]);
        let step = f64::from(plain.layers["cls_score"].scales[o] * plain.activations["fc7.relu"].scale);
        assert!((mean_output(&corrected, o) - want).abs() < step, "{o}: {want}, {}", mean_output(&corrected, o));
        assert!((mean_output(&plain, o) - want).abs() > step, "{o}: the test would see no correction");
    }
}

#[test]
fn a_row_of_zeros_keeps_its_bias() {
    let mut weights = weights(Some(2));
    let shape = weights.get("cls_score.weight").unwrap().shape.clone();
    weights.insert("cls_score.weight", Tensor { data: vec![0.0; shape.iter().product()], shape });
    let quantized = made(&weights, None);
    let (layer, map) = (&quantized.layers["cls_score"], &quantized.activations["fc7.relu"]);
    for (o, want) in weights.get("cls_score.bias").unwrap().data.iter().enumerate() {
        let got = layer.bias.as_ref().unwrap()[o] as f32 * layer.scales[o] * map.scale;
        assert!((got - want).abs() < 1e-5 * want.abs(), "{got} {want}");
    }
}

#[test]
fn a_bundle_in_8_bits_gives_its_numbers_back_and_is_small() {
    let weights = weights(Some(64));
    let (bundle, quantized) = bundle(&weights);
    assert_eq!(bundle.quantized().unwrap().unwrap(), quantized);
    assert!(bundle.trunk_onnx.len() + bundle.head_onnx.len() < weights.parameters() * 21 / 20);
    let back = bundle.weights().unwrap();
    let conv = |w: &Weights| w.get("conv2.weight").unwrap().data.clone();
    assert!(conv(&back).iter().zip(conv(&weights)).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn files_that_say_anything_else_are_refused() {
    let (bundle, quantized) = bundle(&weights(Some(2)));
    let refused = |change: &dyn Fn(&mut Quantized)| {
        let mut changed = quantized.clone();
        change(&mut changed);
        bundle.with_quantized(&changed, Quantization::default()).unwrap_err().to_string()
    };
    let message = refused(&|q| q.activations.get_mut(POOLED).unwrap().scale = 1.0);
    assert!(message.contains("do not belong together"), "{message}");
    let message = refused(&|q| q.layers.get_mut("conv3").unwrap().scales[7] = 0.0);
    assert!(message.contains("conv3"), "{message}");
    let message = refused(&|q| q.layers.get_mut("conv3").unwrap().bias.as_mut().unwrap()[0] = i32::MIN);
    assert!(message.contains("32 bits"), "{message}");

    let without = Manifest { quantization: None, ..bundle.manifest.clone() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    Bundle { manifest: without, ..bundle.clone() }.save(&path).unwrap();
    assert!(matches!(Bundle::load(&path).unwrap_err(), BundleError::Quantization { said: false, .. }));

    // A network of the same tensors but other arithmetic: a pooling layer less.
    use prost::Message as _;
    let mut model = crate::model::onnx::messages::ModelProto::decode(bundle.trunk_onnx.as_slice()).unwrap();
    model.graph.as_mut().unwrap().node.iter_mut().find(|n| n.op_type == "MaxPool").unwrap().attribute.pop();
    Bundle { trunk_onnx: model.encode_to_vec(), ..bundle }.save(&path).unwrap();
    let message = Bundle::load(&path).unwrap_err().to_string();
    assert!(message.contains("pool1") && message.contains("zf-plain"), "{message}");
}
