//! What a prototxt says about anchors and proposals.
//!
//! The authors' Caffe runs proposals in a Python layer whose `param_str` is YAML: `'feat_stride': 16` and, for COCO,
//! `'scales': !!python/tuple [4, 8, 16, 32]`. Files rewritten for other programs have a `Proposal` layer with a
//! `proposal_param` instead. What neither says has the defaults of the released Python code.

use super::Problem;
use super::net::NetLayer;
use super::prototxt::{Message, ParseError};
use crate::boxes::AnchorSpec;
use crate::model::arch::FEATURE_STRIDE;

/// Anchors, and the numbers of the proposal stage where the file states them.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposals {
    /// The anchors.
    pub anchors: AnchorSpec,
    /// Boxes that enter the suppression.
    pub pre_nms: Option<usize>,
    /// Boxes that leave it.
    pub post_nms: Option<usize>,
    /// Overlap of the suppression.
    pub nms: Option<f32>,
    /// Shortest side in pixels of the original picture.
    pub min_size: Option<f32>,
}

/// True for the Python layer that makes proposals.
pub fn is_proposal(layer: &NetLayer<'_>) -> bool {
    let module = layer.message.message("python_param").text("layer");
    matches!(module, Ok(Some("ProposalLayer")))
}

/// Reads the proposal layer; `scores` is the number of outputs of `rpn_cls_score`, two per anchor.
pub fn read(layers: &[NetLayer<'_>], scores: Option<usize>) -> Result<Proposals, Problem> {
    let default = AnchorSpec::default();
    let mut found = Proposals { anchors: default, pre_nms: None, post_nms: None, nms: None, min_size: None };
    let layer = layers.iter().find(|l| l.kind == "Proposal" || (l.kind == "Python" && is_proposal(l)));
    let name = layer.map_or("proposal", |l| l.name);
    let bad = |e: ParseError| Problem::new(name, e.to_string());
    match layer {
        Some(l) if l.kind == "Proposal" => from_param(&mut found, l.message.message("proposal_param")).map_err(bad)?,
        Some(l) => {
            let text = l.message.message("python_param").text("param_str").map_err(bad)?.unwrap_or_default();
            from_yaml(&mut found.anchors, text);
        }
        None => {}
    }
    let anchors = &mut found.anchors;
    let stride = anchors.stride;
    if stride != FEATURE_STRIDE as f32 {
        return Err(Problem::new(name, format!("feat_stride is {stride}, the networks have {FEATURE_STRIDE}")));
    }
    let per_cell = anchors.per_cell();
    match scores {
        Some(n) if n == 2 * per_cell && per_cell > 0 => Ok(found),
        Some(n) => {
            let what = format!(
                "num_output is {n}, but the proposal layer's {} ratios × {} scales need {}",
                anchors.ratios.len(),
                anchors.scales.len(),
                2 * per_cell
            );
            Err(Problem::new("rpn_cls_score", what))
        }
        None => Err(Problem::new("rpn_cls_score", "is missing from the prototxt or has no num_output".into())),
    }
}

fn from_param(found: &mut Proposals, p: &Message) -> Result<(), ParseError> {
    let set = |into: &mut Vec<f32>, values: Vec<f32>| {
        if !values.is_empty() {
            *into = values;
        }
    };
    set(&mut found.anchors.ratios, p.numbers("ratio")?);
    set(&mut found.anchors.scales, p.numbers("scale")?);
    found.anchors.stride = p.number("feat_stride")?.unwrap_or(found.anchors.stride);
    found.anchors.base = p.number("base_size")?.unwrap_or(found.anchors.base);
    found.pre_nms = p.number("pre_nms_topn")?;
    found.post_nms = p.number("post_nms_topn")?;
    found.nms = p.number("nms_thresh")?;
    found.min_size = p.number("min_size")?;
    Ok(())
}

/// Reads the few keys of the YAML that the Python layer knows, without a YAML parser.
fn from_yaml(anchors: &mut AnchorSpec, text: &str) {
    let after = |key: &str| text.find(key).map(|at| &text[at + key.len()..]);
    let first_number = |s: &str| {
        let rest = s.trim_start_matches(|c: char| matches!(c, '\'' | '"' | ':') || c.is_whitespace());
        rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next().and_then(|n| n.parse::<f32>().ok())
    };
    let list = |s: &str| -> Option<Vec<f32>> {
        let inside = s.split_once('[')?.1.split_once(']')?.0;
        inside.split(',').map(|n| n.trim().parse().ok()).collect()
    };
    if let Some(stride) = after("feat_stride").and_then(first_number) {
        anchors.stride = stride;
    }
    if let Some(scales) = after("scales").and_then(list) {
        anchors.scales = scales;
    }
    if let Some(ratios) = after("ratios").and_then(list) {
        anchors.ratios = ratios;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{net, prototxt};
    use super::*;

    fn proposals(text: &str, scores: usize) -> Result<Proposals, Problem> {
        let message = prototxt::parse(text.as_bytes()).unwrap();
        read(&net::layers(&message).unwrap(), Some(scores))
    }

    fn python(param: &str) -> String {
        format!(
            "layer {{ name: 'proposal' type: 'Python' python_param {{ layer: 'ProposalLayer' param_str: \"{param}\" }} }}"
        )
    }

    #[test]
    fn the_python_layer_of_voc_has_nine_anchors_and_that_of_coco_twelve() {
        let voc = proposals(&python("'feat_stride': 16"), 18).unwrap();
        assert_eq!(voc.anchors, AnchorSpec::default());
        let coco = proposals(&python("'feat_stride': 16 \\n'scales': !!python/tuple [4, 8, 16, 32]"), 24).unwrap();
        assert_eq!(coco.anchors.scales, [4.0, 8.0, 16.0, 32.0]);
    }

    #[test]
    fn a_proposal_layer_states_anchors_and_counts() {
        let text =
            "layer { name: 'p' type: 'Proposal' proposal_param { ratio: 1 ratio: 2 scale: 8 post_nms_topn: 100 } }";
        let p = proposals(text, 4).unwrap();
        assert_eq!((p.anchors.ratios, p.anchors.scales, p.post_nms), (vec![1.0, 2.0], vec![8.0], Some(100)));
    }

    #[test]
    fn anchors_that_do_not_fit_the_scores_or_the_stride_are_problems() {
        let e = proposals(&python("'feat_stride': 16"), 24).unwrap_err().to_string();
        assert_eq!(e, "layer `rpn_cls_score`: num_output is 24, but the proposal layer's 3 ratios × 3 scales need 18");
        let e = proposals(&python("'feat_stride': 8"), 18).unwrap_err().to_string();
        assert_eq!(e, "layer `proposal`: feat_stride is 8, the networks have 16");
    }
}
