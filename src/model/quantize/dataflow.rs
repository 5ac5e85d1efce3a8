//! Which map each layer reads: the places where a quantised network has a scale.
//!
//! Maps carry the names of the values in the ONNX files: `pool1`, `conv3.relu`, `fc6_v.sum`, … A convolution's output is
//! quantised where the next layer reads it, after pooling and normalisation.

use crate::model::arch::Layer;
use crate::model::{Architecture, Weights};

/// The picture.
pub const IMAGE: &str = "image";
/// The last map of the trunk.
pub const CONV5: &str = "conv5";
/// The pooled RoIs: `conv5` again, with its scale.
pub const POOLED: &str = "pooled";

/// Layers and the maps they read, in the order of computation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataflow {
    inputs: Vec<(String, String)>,
    trunk_layers: usize,
}

impl Dataflow {
    /// The dataflow of a network whose layers are those that `has` knows.
    pub fn new(network: &Architecture, has: impl Fn(&str) -> bool) -> Self {
        let mut inputs: Vec<(String, String)> = Vec::new();
        let mut x = IMAGE.to_string();
        let last = network.convs().last().map_or("", |c| c.name);
        for layer in network.trunk {
            x = match *layer {
                Layer::Conv { name, .. } => {
                    inputs.push((name.into(), x));
                    if name == last { CONV5.into() } else { format!("{name}.relu") }
                }
                Layer::MaxPool { name, .. } | Layer::Lrn { name, .. } => name.into(),
            };
        }
        if has("rpn_conv") {
            inputs.push(("rpn_conv".into(), CONV5.into()));
            for layer in ["rpn_cls_score", "rpn_bbox_pred"] {
                inputs.push((layer.into(), "rpn_conv.relu".into()));
            }
        }
        let trunk_layers = inputs.len();
        for (layer, x) in [("fc6", POOLED), ("fc7", "fc6.relu"), ("cls_score", "fc7.relu"), ("bbox_pred", "fc7.relu")] {
            let (v, u) = (format!("{layer}_v"), format!("{layer}_u"));
            if has(&v) {
                inputs.push((v.clone(), x.into()));
                inputs.push((u, format!("{v}.sum")));
            } else {
                inputs.push((layer.into(), x.into()));
            }
        }
        Self { inputs, trunk_layers }
    }

    /// The dataflow of a network with these weights.
    pub fn of(network: &Architecture, weights: &Weights) -> Self {
        Self::new(network, |layer| weights.has_layer(layer))
    }

    /// Layer and input, in the order of computation.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inputs.iter().map(|(layer, input)| (layer.as_str(), input.as_str()))
    }

    /// The map a layer reads.
    pub fn input_of(&self, layer: &str) -> Option<&str> {
        self.inputs().find(|(l, _)| *l == layer).map(|(_, input)| input)
    }

    /// Maps of the trunk whose ranges have to be seen.
    pub fn trunk_maps(&self) -> Vec<&str> {
        let mut maps: Vec<&str> = self.inputs().take(self.trunk_layers).map(|(_, input)| input).collect();
        // Also read by the head, and not by an RPN if there is none.
        maps.push(CONV5);
        maps.retain(|m| *m != IMAGE);
        maps.dedup();
        maps
    }

    /// True if the map has values of both signs: no ReLU stands between the layers of an SVD pair.
    pub fn is_signed(map: &str) -> bool {
        map.ends_with("_v.sum")
    }
}
