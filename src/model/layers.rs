//! Which tensors a network consists of, and whether a set of weights fits.
//!
//! One list serves the ONNX writer, the check of a bundle at load time, import and `info`.

use std::collections::BTreeMap;

use super::nearest::nearest;
use super::{Architecture, WeightsError};

/// The file of a bundle that a layer lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `trunk.onnx`: convolutions and RPN.
    Trunk,
    /// `head.onnx`: fully connected layers.
    Head,
}

/// A layer with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerShape {
    /// Layer name; the tensors are `<name>.weight` and `<name>.bias`.
    pub name: &'static str,
    /// Shape of the weight tensor; the bias has the first of these dimensions.
    pub weight: Vec<usize>,
    /// Where it lives.
    pub part: Part,
}

impl Architecture {
    /// All layers with weights, in the order of computation. `anchors` is the number per cell; `None` means no RPN.
    pub fn layers(&self, classes: usize, anchors: Option<usize>) -> Vec<LayerShape> {
        let trunk = |name, weight| LayerShape { name, weight, part: Part::Trunk };
        let head = |name, weight| LayerShape { name, weight, part: Part::Head };
        let mut layers: Vec<_> =
            self.convs().iter().map(|c| trunk(c.name, vec![c.out, c.input / c.groups, c.kernel, c.kernel])).collect();
        if let Some(a) = anchors {
            layers.push(trunk("rpn_conv", vec![self.rpn_channels, self.map_channels(), 3, 3]));
            layers.push(trunk("rpn_cls_score", vec![2 * a, self.rpn_channels, 1, 1]));
            layers.push(trunk("rpn_bbox_pred", vec![4 * a, self.rpn_channels, 1, 1]));
        }
        layers.push(head("fc6", vec![self.fc[0], self.fc_inputs()]));
        layers.push(head("fc7", vec![self.fc[1], self.fc[0]]));
        layers.push(head("cls_score", vec![classes + 1, self.fc[1]]));
        layers.push(head("bbox_pred", vec![4 * (classes + 1), self.fc[1]]));
        layers
    }
}

/// Checks tensor names and shapes against the network. Head layers may be SVD pairs `<layer>_v`, `<layer>_u`.
pub fn check_shapes(
    network: &Architecture,
    classes: usize,
    anchors: Option<usize>,
    shapes: &BTreeMap<&str, &[usize]>,
    part: Option<Part>,
) -> Result<(), WeightsError> {
    let layers = network.layers(classes, anchors);
    let of_a_layer = |tensor: &str| {
        let after = |l: &LayerShape| tensor.strip_prefix(l.name).is_some_and(|rest| rest.starts_with(['.', '_']));
        layers.iter().any(after)
    };
    let strangers = shapes.keys().copied().filter(|t| !of_a_layer(t)).collect();
    let mut check = Check { network: network.name, classes, left: shapes.clone(), strangers };
    for layer in layers.iter().filter(|l| part.is_none_or(|p| p == l.part)) {
        let (name, out, input) = (layer.name, layer.weight[0], &layer.weight[1..]);
        let rank = check.left.get(format!("{name}_v.weight").as_str()).and_then(|s| s.first().copied());
        match rank.filter(|_| layer.part == Part::Head) {
            Some(rank) => {
                check.take(&format!("{name}_v.weight"), &[&[rank], input].concat())?;
                check.take(&format!("{name}_u.weight"), &[out, rank])?;
                check.take(&format!("{name}_u.bias"), &[out])?;
            }
            None => {
                check.take(&format!("{name}.weight"), &layer.weight)?;
                check.take(&format!("{name}.bias"), &[out])?;
            }
        }
    }
    match check.left.keys().next() {
        Some(tensor) => Err(WeightsError::Unexpected { tensor: tensor.to_string(), network: network.name.into() }),
        None => Ok(()),
    }
}

/// The tensors not yet accounted for.
struct Check<'a> {
    network: &'a str,
    classes: usize,
    left: BTreeMap<&'a str, &'a [usize]>,
    /// Tensors that belong to no layer: one of them may be a missing one under another name.
    strangers: Vec<&'a str>,
}

impl Check<'_> {
    /// Accounts for one tensor.
    fn take(&mut self, tensor: &str, expected: &[usize]) -> Result<(), WeightsError> {
        let network = self.network.to_string();
        let Some(found) = self.left.remove(tensor) else {
            let hint = nearest(tensor, self.strangers.iter().copied()).map(String::from);
            return Err(WeightsError::Missing { tensor: tensor.into(), network, hint });
        };
        let layer = tensor.split('.').next().unwrap_or(tensor).trim_end_matches("_u");
        if matches!(layer, "cls_score" | "bbox_pred") && found.first() != expected.first() {
            let found = found.first().copied().unwrap_or(0);
            return Err(WeightsError::HeadWidth {
                layer: layer.into(),
                found,
                expected: expected[0],
                classes: self.classes,
            });
        }
        if found != expected {
            return Err(WeightsError::Shape {
                tensor: tensor.into(),
                network,
                found: found.to_vec(),
                expected: expected.to_vec(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::arch::{VGG16, ZF};

    fn shapes_of(layers: &[LayerShape]) -> BTreeMap<String, Vec<usize>> {
        let mut shapes = BTreeMap::new();
        for l in layers {
            shapes.insert(format!("{}.weight", l.name), l.weight.clone());
            shapes.insert(format!("{}.bias", l.name), vec![l.weight[0]]);
        }
        shapes
    }

    fn check(shapes: &BTreeMap<String, Vec<usize>>, classes: usize) -> Result<(), WeightsError> {
        let view = shapes.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
        check_shapes(&ZF, classes, Some(9), &view, None)
    }

    #[test]
    fn zf_and_vgg16_have_the_parameters_of_the_released_models() {
        let count = |a: &Architecture| a.layers(20, Some(9)).iter().map(|l| l.weight.iter().product::<usize>()).sum();
        let (zf, vgg): (usize, usize) = (count(&ZF), count(&VGG16));
        assert_eq!(zf, 3_725_088 + 589_824 + 54 * 256 + 9216 * 4096 + 4096 * 4096 + 105 * 4096);
        assert_eq!(vgg, 14_710_464 + 2_359_296 + 54 * 512 + 25088 * 4096 + 4096 * 4096 + 105 * 4096);
    }

    #[test]
    fn a_complete_set_fits_and_svd_pairs_fit_too() {
        let mut shapes = shapes_of(&ZF.layers(20, Some(9)));
        check(&shapes, 20).unwrap();
        shapes.remove("fc6.weight");
        shapes.remove("fc6.bias");
        shapes.insert("fc6_v.weight".into(), vec![64, 9216]);
        shapes.insert("fc6_u.weight".into(), vec![4096, 64]);
        shapes.insert("fc6_u.bias".into(), vec![4096]);
        check(&shapes, 20).unwrap();
    }

    #[test]
    fn a_renamed_layer_is_missing_and_its_stand_in_named() {
        let mut shapes = shapes_of(&ZF.layers(20, Some(9)));
        let tensor = shapes.remove("conv3.weight").unwrap();
        shapes.insert("conv_3.weight".into(), tensor);
        let message = check(&shapes, 20).unwrap_err().to_string();
        assert!(message.contains("conv3.weight") && message.contains("conv_3.weight"), "{message}");
    }

    #[test]
    fn a_class_list_that_does_not_fit_the_head_is_refused() {
        let shapes = shapes_of(&ZF.layers(20, Some(9)));
        let error = check(&shapes, 3).unwrap_err();
        assert!(matches!(error, WeightsError::HeadWidth { found: 21, expected: 4, classes: 3, .. }), "{error}");
    }

    #[test]
    fn a_tensor_of_no_layer_is_refused() {
        let mut shapes = shapes_of(&ZF.layers(20, Some(9)));
        shapes.insert("fc8.weight".into(), vec![1]);
        assert!(matches!(check(&shapes, 20).unwrap_err(), WeightsError::Unexpected { .. }));
    }
}
