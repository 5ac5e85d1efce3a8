//! What a bundle is, for people and programs: the verb `info`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arch::{Layer, pooled_len};
use super::layers::Part;
use super::onnx::tensor_shapes;
use super::{Architecture, Bundle, BundleError, HEAD_FILE, Manifest, TRUNK_FILE};

/// Everything `info` says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The manifest, with the checksums of the files.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Checksum of the whole model.
    pub sha256: String,
    /// Bytes of `trunk.onnx`.
    pub trunk_bytes: usize,
    /// Bytes of `head.onnx`.
    pub head_bytes: usize,
    /// Weights and biases.
    pub parameters: usize,
    /// The input size that sizes and costs are for, rows and columns.
    pub at: [usize; 2],
    /// Rows and columns of the map.
    pub map: [usize; 2],
    /// Multiply-adds of one frame.
    pub multiply_adds: u64,
    /// The layers in the order of computation.
    pub layers: Vec<LayerRow>,
}

/// One layer with weights; an SVD pair counts as one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRow {
    /// Layer name.
    pub layer: String,
    /// Shape of the weights, as if uncompressed.
    pub shape: Vec<usize>,
    /// Rank of the SVD pair that stands for the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// `f32`, `f16` or `int8`.
    pub storage: &'static str,
    /// Weights and biases.
    pub parameters: usize,
    /// Multiply-adds of one frame; of the head, for all proposals together.
    pub multiply_adds: u64,
}

impl Summary {
    /// Describes a bundle; costs are for a network input of `height`×`width` and the manifest's number of proposals.
    pub fn of(bundle: &Bundle, height: usize, width: usize) -> Result<Self, BundleError> {
        let manifest = bundle.manifest.clone();
        let network = bundle.network()?;
        let scan = |bytes: &[u8], file: &str| {
            tensor_shapes(bytes).map_err(|source| BundleError::Onnx { path: file.into(), source })
        };
        let mut tensors = scan(&bundle.trunk_onnx, TRUNK_FILE)?;
        let head = scan(&bundle.head_onnx, HEAD_FILE)?;
        tensors.shapes.extend(head.shapes);
        tensors.element_bytes.extend(head.element_bytes);
        let (rows, cols) = network.map_size(height, width);
        let cells = conv_cells(network, height, width);
        let anchors = manifest.has_rpn.then(|| manifest.anchors.per_cell());
        let layers: Vec<LayerRow> = network
            .layers(manifest.classes.len(), anchors)
            .into_iter()
            .map(|l| {
                // How often the weights are used in one frame.
                let uses = match l.part {
                    Part::Trunk => cells.get(l.name).copied().unwrap_or(rows * cols),
                    Part::Head => manifest.proposals.post_nms,
                };
                let count = |suffix: &str| {
                    tensors.shapes.get(&format!("{}{suffix}", l.name)).map_or(0, |s| s.iter().product::<usize>())
                };
                let weights = count(".weight") + count("_v.weight") + count("_u.weight");
                let rank = tensors.shapes.get(&format!("{}_v.weight", l.name)).and_then(|s| s.first().copied());
                let stored = if rank.is_some() { "_v.weight" } else { ".weight" };
                let storage = match tensors.element_bytes.get(&format!("{}{stored}", l.name)) {
                    Some(1) => "int8",
                    Some(2) => "f16",
                    _ => "f32",
                };
                LayerRow {
                    layer: l.name.into(),
                    shape: l.weight,
                    rank,
                    storage,
                    parameters: weights + count(".bias") + count("_u.bias"),
                    multiply_adds: weights as u64 * uses as u64,
                }
            })
            .collect();
        Ok(Self {
            sha256: bundle.sha256()?,
            trunk_bytes: bundle.trunk_onnx.len(),
            head_bytes: bundle.head_onnx.len(),
            parameters: layers.iter().map(|l| l.parameters).sum(),
            at: [height, width],
            map: [rows, cols],
            multiply_adds: layers.iter().map(|l| l.multiply_adds).sum(),
            layers,
            manifest,
        })
    }
}

/// Output positions of each convolution of the trunk.
fn conv_cells(network: &Architecture, height: usize, width: usize) -> BTreeMap<&'static str, usize> {
    let (mut rows, mut cols) = (height, width);
    let mut cells = BTreeMap::new();
    for layer in network.trunk {
        match *layer {
            Layer::Conv { name, kernel, stride, pad, .. } => {
                let side = |n: usize| (n + 2 * pad).saturating_sub(kernel) / stride + 1;
                (rows, cols) = (side(rows), side(cols));
                cells.insert(name, rows * cols);
            }
            Layer::MaxPool { kernel, stride, pad, .. } => {
                (rows, cols) = (pooled_len(rows, kernel, stride, pad), pooled_len(cols, kernel, stride, pad));
            }
            Layer::Lrn { .. } => {}
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::arch::ZF;
    use crate::model::{StorageType, Weights};

    #[test]
    fn the_costs_are_those_of_the_paper_sized_frame() {
        let weights = Weights::he_random(&ZF, 20, Some(9), Some(2), 1);
        let manifest = Manifest::new("zf", &ZF, (0..20).map(|i| i.to_string()).collect());
        let bundle = Bundle::from_weights(&ZF, &weights, manifest, StorageType::F16).unwrap();
        let summary = Summary::of(&bundle, 600, 1000).unwrap();
        let giga = |layer: &str| {
            let row = summary.layers.iter().find(|l| l.layer == layer).unwrap();
            (row.multiply_adds as f64 / 1e8).round() / 10.0
        };
        let got: Vec<f64> = ["conv1", "conv2", "conv3", "conv4", "conv5", "rpn_conv"].map(giga).to_vec();
        assert_eq!(got, [2.1, 5.9, 2.2, 3.3, 2.2, 1.5]);
        assert_eq!(summary.map, [39, 64]);
        assert_eq!(summary.parameters, weights.parameters());
        let fc6 = summary.layers.iter().find(|l| l.layer == "fc6").unwrap();
        assert_eq!((fc6.rank, fc6.storage, fc6.multiply_adds), (Some(2), "f16", 300 * 2 * (9216 + 4096)));
    }
}
