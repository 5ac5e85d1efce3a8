//! What the program reads from files that others made, one function for each kind of file. `tests/corpus.rs` and the
//! fuzz targets in `fuzz/` feed them; the only thing asked of them is that they return, whatever the bytes.
#![allow(dead_code)]

use std::path::Path;

use edge_rcnn::eval::{Dataset, GroundTruth};
use edge_rcnn::frame::Picture;
use edge_rcnn::model::import::{caffemodel, import};
use edge_rcnn::model::{Manifest, onnx};

/// `model.toml` and the two ONNX files.
pub fn bundle(bytes: &[u8]) -> bool {
    let manifest = std::str::from_utf8(bytes).is_ok_and(|text| Manifest::parse(text).is_ok());
    let (weights, shapes) = (onnx::read_weights(bytes), onnx::tensor_shapes(bytes));
    assert_eq!(weights.is_ok(), shapes.is_ok(), "the two readers of ONNX files judge alike");
    manifest || weights.is_ok()
}

/// A network description, up to the comparison with our networks.
pub fn prototxt(bytes: &[u8]) -> bool {
    let caffemodel: &[u8] = &[];
    let _ = import(bytes, caffemodel, None, &[]);
    edge_rcnn::model::import::prototxt::parse(bytes).is_ok()
}

/// Trained weights.
pub fn caffemodel(bytes: &[u8]) -> bool {
    caffemodel::read(bytes).is_ok()
}

/// VOC and COCO annotations.
pub fn annotations(bytes: &[u8]) -> bool {
    let here = Path::new("fuzz");
    let voc = std::str::from_utf8(bytes).is_ok_and(|xml| GroundTruth::from_voc_xml(xml, here).is_ok());
    voc || Dataset::coco_json(bytes, here, here).is_ok()
}

/// Picture files.
pub fn picture(bytes: &[u8]) -> bool {
    Picture::decode(bytes).is_ok_and(|p| {
        assert_eq!(p.rgb.len(), p.width * p.height * 3);
        true
    })
}
