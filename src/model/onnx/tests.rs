#![allow(clippy::unwrap_used)]
use super::*;
use crate::model::Weights;
use crate::model::arch::{CAFFENET, ZF};

#[test]
fn equal_weights_give_equal_files() {
    let weights = Weights::he_random(&ZF, 2, Some(9), Some(2), 3);
    let write = || trunk_onnx(&ZF, &weights, StorageType::F16).unwrap();
    assert!(write() == write());
}

#[test]
fn a_trunk_without_rpn_has_one_output() {
    use prost::Message;
    let with = Weights::he_random(&CAFFENET, 2, Some(9), Some(2), 3);
    let without = Weights::he_random(&CAFFENET, 2, None, Some(2), 3);
    let outputs = |w: &Weights| {
        let onnx = trunk_onnx(&CAFFENET, w, StorageType::F16).unwrap();
        let graph = messages::ModelProto::decode(onnx.as_slice()).unwrap().graph.unwrap();
        graph.output.into_iter().map(|o| o.name).collect::<Vec<_>>()
    };
    assert_eq!(outputs(&with), TRUNK_OUTPUTS);
    assert_eq!(outputs(&without), TRUNK_OUTPUTS[..1]);
}

#[test]
fn numbers_of_the_graph_that_are_no_weights_are_not_read_back() {
    let weights = Weights::he_random(&ZF, 2, Some(9), Some(2), 3);
    let read = read_weights(&trunk_onnx(&ZF, &weights, StorageType::F32).unwrap()).unwrap();
    assert!(read.has_layer("conv1") && read.0.keys().all(|k| !k.starts_with("norm")));
}

#[test]
fn damaged_bytes_never_panic() {
    let weights = Weights::he_random(&CAFFENET, 1, None, Some(1), 3);
    let onnx = head_onnx(&CAFFENET, &weights, StorageType::F16).unwrap();
    for i in 0..200 {
        let mut spoiled = onnx.clone();
        // The first bytes hold the structure, the rest mostly numbers.
        spoiled[i * 7 % 1500] ^= 1 << (i % 8);
        let _ = tensor_shapes(&spoiled);
        let _ = read_weights(&spoiled[..onnx.len() - i * 31]);
    }
}
