//! The layers of a `.prototxt`, old or new form, under the new form's type names.

use super::prototxt::{Message, ParseError, Position};

/// One layer as the file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NetLayer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type, under the new form's name (`Convolution`).
    pub kind: &'a str,
    /// The blobs it reads.
    pub bottoms: Vec<&'a str>,
    /// The blobs it writes; the same name as a bottom means in place.
    pub tops: Vec<&'a str>,
    /// Its parameters.
    pub message: &'a Message,
    /// Where it stands in the file.
    pub at: Position,
}

/// The layers that take part in testing, in file order.
pub fn layers(net: &Message) -> Result<Vec<NetLayer<'_>>, ParseError> {
    let mut out = Vec::new();
    for field in &net.fields {
        let super::prototxt::Value::Message(message) = &field.value else { continue };
        if !matches!(field.name.as_str(), "layer" | "layers") || !runs_in_testing(message)? {
            continue;
        }
        out.push(NetLayer {
            name: message.text("name")?.unwrap_or_default(),
            kind: modern(message.text("type")?.unwrap_or_default()),
            bottoms: message.texts("bottom")?,
            tops: message.texts("top")?,
            message,
            at: field.at,
        });
    }
    Ok(out)
}

/// `include { phase: TRAIN }` and `exclude { phase: TEST }` take a layer out of testing.
fn runs_in_testing(layer: &Message) -> Result<bool, ParseError> {
    let mut included = true;
    for rule in layer.messages("include") {
        included &= !matches!(rule.text("phase")?, Some("TRAIN" | "0"));
    }
    for rule in layer.messages("exclude") {
        included &= !matches!(rule.text("phase")?, Some("TEST" | "1"));
    }
    Ok(included)
}

/// The new form's name of an old (V1) type; every other type stays as it is.
fn modern(kind: &str) -> &str {
    match kind {
        "CONVOLUTION" => "Convolution",
        "INNER_PRODUCT" => "InnerProduct",
        "RELU" => "ReLU",
        "POOLING" => "Pooling",
        "ROI_POOLING" => "ROIPooling",
        "DROPOUT" => "Dropout",
        "SOFTMAX" => "Softmax",
        "RESHAPE" => "Reshape",
        "SLICE" => "Slice",
        "SPLIT" => "Split",
        "SOFTMAX_LOSS" => "SoftmaxWithLoss",
        "SMOOTH_L1_LOSS" => "SmoothL1Loss",
        "WINDOW_DATA" => "WindowData",
        "DATA" => "Data",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::import::prototxt::parse;

    #[test]
    fn both_forms_give_the_same_layers_and_training_layers_are_left_out() {
        let net = parse(
            b"input: 'data' layers { name: 'c' type: CONVOLUTION bottom: 'data' top: 'c' }\
              layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' }\
              layer { name: 'loss' type: 'X' include { phase: TRAIN } }\
              layers { name: 'acc' type: RELU exclude: { phase: TEST } }",
        )
        .unwrap();
        let all = layers(&net).unwrap();
        assert_eq!(all.len(), 2);
        for l in &all {
            assert_eq!((l.name, l.kind, &l.bottoms[..], &l.tops[..]), ("c", "Convolution", &["data"][..], &["c"][..]));
        }
    }
}
