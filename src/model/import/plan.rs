//! From a network description to the list of weights to fetch: the prototxt is walked along its blobs and compared,
//! layer by layer and number by number, with one of our architectures.
//!
//! 1. The trunk: every convolution by name, its ReLU, and the normalisations and poolings between them in order.
//! 2. The RPN, if there is one (Fast R-CNN has none): `rpn_conv/3x3` or, in the alternating release, `rpn_conv1`.
//! 3. RoI pooling, `fc6` and `fc7` (or their SVD pairs `_L`, `_U`), `cls_score` and `bbox_pred`.
//! 4. Nothing that computes may be left over.
//!
//! Nothing stops at the first difference: all of them are reported, each with the layer, what it has and what is needed.

use super::Problem;
use super::net::NetLayer;
use super::proposal::{self, Proposals};
use super::prototxt::{Message, ParseError};
use crate::model::arch::{Architecture, FEATURE_STRIDE, Layer, LrnRegion};

/// Weights to fetch from the caffemodel for one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Name of the layer in the Caffe files.
    pub caffe: String,
    /// Our name.
    pub ours: String,
    /// Shape of the weight: `[out, in/groups, kernel, kernel]` or `[out, in]`.
    pub shape: Vec<usize>,
    /// Whether there is a bias of `out` numbers.
    pub bias: bool,
    /// Factor on the weight (not the bias): dropout that is a multiplication at test time.
    pub factor: f32,
}

/// What to fetch and what the network description says about the rest of the detector.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The network.
    pub architecture: &'static Architecture,
    /// Weights to fetch, in network order.
    pub wanted: Vec<Wanted>,
    /// Classes without the background.
    pub classes: usize,
    /// Anchors and proposal numbers; `None` without an RPN.
    pub proposals: Option<Proposals>,
}

/// Compares the layers with the architecture.
pub fn plan(layers: &[NetLayer<'_>], architecture: &'static Architecture) -> Result<Plan, Vec<Problem>> {
    let mut walk =
        Walk { layers, used: vec![false; layers.len()], arch: architecture, problems: Vec::new(), wanted: Vec::new() };
    let map = walk.trunk();
    let proposals = walk.rpn(&map);
    let classes = walk.head(&map);
    walk.leftovers();
    match classes {
        Some(classes) if walk.problems.is_empty() => Ok(Plan { architecture, wanted: walk.wanted, classes, proposals }),
        _ => Err(walk.problems),
    }
}

struct Walk<'a, 'n> {
    layers: &'a [NetLayer<'n>],
    used: Vec<bool>,
    arch: &'static Architecture,
    problems: Vec<Problem>,
    wanted: Vec<Wanted>,
}

/// Name of a blob.
type BlobName = String;

/// The output of a layer that was looked for.
enum Behind {
    Layer {
        layer: String,
        blob: BlobName,
    },
    /// It is not there; by Caffe's habit its blob would have had the layer's name.
    Missing {
        blob: BlobName,
    },
}

impl Behind {
    fn layer(l: &NetLayer<'_>) -> Self {
        Self::Layer { layer: l.name.into(), blob: top(l) }
    }

    fn missing(layer: &str) -> Self {
        Self::Missing { blob: layer.into() }
    }

    fn name(&self) -> &str {
        match self {
            Self::Layer { blob, .. } | Self::Missing { blob } => blob,
        }
    }
}

impl<'a, 'n> Walk<'a, 'n> {
    /// Checks the shared convolutions and returns the blob of the last map.
    fn trunk(&mut self) -> BlobName {
        let mut blob = self.layers.iter().find_map(|l| l.bottoms.first()).map_or("data", |b| b).to_string();
        let mut channels = 3;
        for layer in self.arch.trunk {
            blob = match *layer {
                Layer::Conv { name, out, kernel, stride, pad, groups } => {
                    let numbers = ConvNumbers { out, kernel, stride, pad, groups };
                    let next = self.conv(&[name], name, &blob, channels, &numbers);
                    channels = out;
                    self.relu(next)
                }
                Layer::Lrn { name, region, size, alpha, beta, k } => {
                    let Some(l) = self.following("LRN", &blob, name) else { continue };
                    let p = l.message.message("lrn_param");
                    let across = region == LrnRegion::AcrossChannels;
                    let got = p.text("norm_region").map(|r| !matches!(r, Some("WITHIN_CHANNEL" | "1")));
                    if self.value(l, got).is_some_and(|got| got != across) {
                        let (got, need) = if across { ("within", "across") } else { ("across", "within") };
                        self.problem(l.name, format!("normalises {got} channels, {} {need}", self.arch.name));
                    }
                    self.same(l, "local_size", p.number("local_size"), 5usize, size);
                    self.close(l, "alpha", p.number("alpha"), 1.0, alpha);
                    self.close(l, "beta", p.number("beta"), 0.75, beta);
                    self.close(l, "k", p.number("k"), 1.0, k);
                    top(l)
                }
                Layer::MaxPool { name, kernel, stride, pad } => {
                    let Some(l) = self.following("Pooling", &blob, name) else { continue };
                    let p = l.message.message("pooling_param");
                    let pool = p.text("pool").map(|t| t.unwrap_or("MAX"));
                    if let Some(other) = self.value(l, pool).filter(|t| !matches!(*t, "MAX" | "0")) {
                        self.problem(l.name, format!("pool is {other}, {} needs MAX", self.arch.name));
                    }
                    if matches!(p.text("round_mode"), Ok(Some("FLOOR" | "1")))
                        || p.boolean("ceil_mode") == Ok(Some(false))
                    {
                        self.problem(l.name, "rounds its output size down, Caffe's rule is up".into());
                    }
                    self.square(l, p, "kernel_size", ("kernel_h", "kernel_w"), 0, kernel);
                    self.square(l, p, "stride", ("stride_h", "stride_w"), 1, stride);
                    self.square(l, p, "pad", ("pad_h", "pad_w"), 0, pad);
                    top(l)
                }
            };
        }
        blob
    }

    /// Checks the RPN, if the file has one.
    fn rpn(&mut self, map: &str) -> Option<Proposals> {
        const CONV: [&str; 2] = ["rpn_conv/3x3", "rpn_conv1"];
        const PARTS: [&str; 4] = [CONV[0], CONV[1], "rpn_cls_score", "rpn_bbox_pred"];
        if !self.layers.iter().any(|l| PARTS.contains(&l.name)) {
            return None;
        }
        let channels = self.arch.rpn_channels;
        let three = ConvNumbers { out: channels, kernel: 3, stride: 1, pad: 1, groups: 1 };
        let blob = self.conv(&CONV, "rpn_conv", map, self.arch.map_channels(), &three);
        let blob = self.relu(blob);
        let proposals = match proposal::read(self.layers, self.outputs("rpn_cls_score")) {
            Ok(proposals) => proposals,
            Err(problem) => {
                self.problems.push(problem);
                return None;
            }
        };
        let anchors = proposals.anchors.per_cell();
        for (name, per_anchor) in [("rpn_cls_score", 2), ("rpn_bbox_pred", 4)] {
            let one = ConvNumbers { out: per_anchor * anchors, kernel: 1, stride: 1, pad: 0, groups: 1 };
            self.conv(&[name], name, &blob, channels, &one);
        }
        Some(proposals)
    }

    /// Checks RoI pooling and the fully connected layers; returns the number of classes.
    fn head(&mut self, map: &str) -> Option<usize> {
        let pool = self.following("ROIPooling", map, "roi_pool5");
        let mut blob = pool.map(top).unwrap_or_default();
        if let Some(l) = pool {
            let p = l.message.message("roi_pooling_param");
            self.same(l, "pooled_h", p.number("pooled_h"), 0, self.arch.pool_size);
            self.same(l, "pooled_w", p.number("pooled_w"), 0, self.arch.pool_size);
            self.close(l, "spatial_scale", p.number("spatial_scale"), 1.0, 1.0 / FEATURE_STRIDE as f32);
        }
        let (mut inputs, mut factor) = (self.arch.fc_inputs(), 1.0);
        for (name, out) in ["fc6", "fc7"].into_iter().zip(self.arch.fc) {
            let (first, second) = (format!("{name}_L"), format!("{name}_U"));
            if self.find(&[name]).is_none() && self.find(&[&first, &second]).is_some() {
                // A truncated SVD: W ≈ U·L, no bias between the two.
                let rank = self.outputs(&first).unwrap_or(0);
                let half = self.fc(&first, &format!("{name}_v"), &blob, [rank, inputs], false, factor);
                let whole = self.fc(&second, &format!("{name}_u"), half.name(), [out, rank], true, 1.0);
                blob = self.relu(whole);
            } else {
                let whole = self.fc(name, name, &blob, [out, inputs], true, factor);
                blob = self.relu(whole);
            }
            (blob, factor) = self.dropout(blob);
            inputs = out;
        }
        let scores = self.outputs("cls_score").unwrap_or(0);
        if scores == 1 {
            self.problem("cls_score", "has 1 output; background and at least one class are needed".into());
        }
        self.fc("cls_score", "cls_score", &blob, [scores, inputs], true, factor);
        self.fc("bbox_pred", "bbox_pred", &blob, [4 * scores, inputs], true, factor);
        scores.checked_sub(1)
    }

    /// Every layer that was not asked for must be one that only rearranges or ends the network.
    fn leftovers(&mut self) {
        const HARMLESS: [&str; 9] =
            ["Input", "Softmax", "Reshape", "Proposal", "Slice", "Split", "DetectionOutput", "Silence", "Flatten"];
        for (l, used) in self.layers.iter().zip(&self.used) {
            if *used || HARMLESS.contains(&l.kind) || (l.kind == "Python" && proposal::is_proposal(l)) {
                continue;
            }
            let training = l.kind.ends_with("Loss") || l.kind.ends_with("Data") || l.kind == "Python";
            let hint = if training { "; this looks like a training file, give the test prototxt" } else { "" };
            let what = format!("a `{}` that {} has no place for (line {}){hint}", l.kind, self.arch.name, l.at.line);
            self.problems.push(Problem::new(l.name, what));
        }
    }

    /// Checks a convolution found by name and asks for its weights.
    fn conv(&mut self, names: &[&str], ours: &str, blob: &str, inputs: usize, need: &ConvNumbers) -> Behind {
        let Some(l) = self.named(names, "Convolution", blob) else { return Behind::missing(names[0]) };
        let p = l.message.message("convolution_param");
        self.same(l, "num_output", p.number("num_output"), 0, need.out);
        self.same(l, "group", p.number("group"), 1, need.groups);
        self.square(l, p, "kernel_size", ("kernel_h", "kernel_w"), 0, need.kernel);
        self.square(l, p, "stride", ("stride_h", "stride_w"), 1, need.stride);
        self.square(l, p, "pad", ("pad_h", "pad_w"), 0, need.pad);
        self.square(l, p, "dilation", ("", ""), 1, 1);
        self.bias(l, p, true);
        let shape = vec![need.out, inputs / need.groups, need.kernel, need.kernel];
        self.wanted.push(Wanted { caffe: l.name.into(), ours: ours.into(), shape, bias: true, factor: 1.0 });
        Behind::layer(l)
    }

    /// Checks a fully connected layer found by name and asks for its weights.
    fn fc(&mut self, name: &str, ours: &str, blob: &str, [out, inputs]: [usize; 2], bias: bool, factor: f32) -> Behind {
        let Some(l) = self.named(&[name], "InnerProduct", blob) else { return Behind::missing(name) };
        let p = l.message.message("inner_product_param");
        self.same(l, "num_output", p.number("num_output"), 0, out);
        self.bias(l, p, bias);
        if p.boolean("transpose") == Ok(Some(true)) {
            self.problem(l.name, "stores its weight transposed, which is not read".into());
        }
        self.wanted.push(Wanted { caffe: l.name.into(), ours: ours.into(), shape: vec![out, inputs], bias, factor });
        Behind::layer(l)
    }

    fn bias(&mut self, l: &NetLayer<'_>, p: &Message, need: bool) {
        if let Some(got) = self.value(l, p.boolean("bias_term").map(|b| b.unwrap_or(true))).filter(|b| *b != need) {
            self.problem(l.name, format!("bias_term is {got}, needs {need}"));
        }
    }

    /// The ReLU behind a layer; the blob behind both.
    fn relu(&mut self, behind: Behind) -> BlobName {
        match (self.unused("ReLU", behind.name()), behind) {
            (Some(l), _) => {
                let slope = l.message.message("relu_param").number::<f32>("negative_slope");
                self.close(l, "negative_slope", slope, 0.0, 0.0);
                top(l)
            }
            (None, Behind::Layer { layer, blob }) => {
                self.problem(&layer, format!("is not followed by a ReLU on `{blob}`"));
                blob
            }
            // The missing layer has been reported already.
            (None, Behind::Missing { blob }) => blob,
        }
    }

    /// Dropout behind a layer, if any, and what it multiplies by at test time.
    fn dropout(&mut self, blob: BlobName) -> (BlobName, f32) {
        let Some(l) = self.unused("Dropout", &blob) else { return (blob, 1.0) };
        let p = l.message.message("dropout_param");
        let ratio = self.value(l, p.number::<f32>("dropout_ratio")).flatten().unwrap_or(0.5);
        let scale_train = self.value(l, p.boolean("scale_train")).flatten().unwrap_or(true);
        if !(0.0..1.0).contains(&ratio) {
            self.problem(l.name, format!("dropout_ratio is {ratio}, needs 0 to 1"));
        }
        (top(l), if scale_train { 1.0 } else { 1.0 - ratio })
    }

    /// The layer of one of these names, checked for type and input.
    fn named(&mut self, names: &[&str], kind: &str, blob: &str) -> Option<&'a NetLayer<'n>> {
        let Some(i) = self.find(names) else {
            let spare: Vec<&str> = (self.layers.iter().zip(&self.used))
                .filter(|(l, used)| !**used && l.kind == kind && !self.known(l.name))
                .map(|(l, _)| l.name)
                .collect();
            let spare = match spare.as_slice() {
                [] => String::new(),
                names => format!("; the file has these that belong to nothing: {}", names.join(", ")),
            };
            self.problem(names[0], format!("is missing from the prototxt{spare}"));
            return None;
        };
        self.used[i] = true;
        let l = &self.layers[i];
        if l.kind != kind {
            self.problem(l.name, format!("is a `{}`, needs to be a `{kind}`", l.kind));
            return None;
        }
        if l.bottoms.first() != Some(&blob) {
            let got = l.bottoms.first().unwrap_or(&"nothing");
            self.problem(l.name, format!("reads `{got}`, needs to read `{blob}`"));
        }
        Some(l)
    }

    /// The next layer of that type that reads the blob; `name` is ours, for the message.
    fn following(&mut self, kind: &str, blob: &str, name: &str) -> Option<&'a NetLayer<'n>> {
        let found = self.unused(kind, blob);
        if found.is_none() {
            self.problem(name, format!("is missing from the prototxt: no `{kind}` reads `{blob}`"));
        }
        found
    }

    fn unused(&mut self, kind: &str, blob: &str) -> Option<&'a NetLayer<'n>> {
        let i = (0..self.layers.len()).find(|i| {
            let l = &self.layers[*i];
            !self.used[*i] && l.kind == kind && l.bottoms.first() == Some(&blob)
        })?;
        self.used[i] = true;
        Some(&self.layers[i])
    }

    fn find(&self, names: &[&str]) -> Option<usize> {
        self.layers.iter().position(|l| names.contains(&l.name))
    }

    fn known(&self, name: &str) -> bool {
        self.arch.convs().iter().any(|c| c.name == name)
    }

    fn outputs(&self, name: &str) -> Option<usize> {
        let l = &self.layers[self.find(&[name])?];
        let of = |param: &str| l.message.message(param).number("num_output").ok().flatten();
        of("convolution_param").or_else(|| of("inner_product_param"))
    }

    fn problem(&mut self, layer: &str, what: String) {
        self.problems.push(Problem::new(layer, what));
    }

    /// The value, or a problem if the file's word is not one.
    fn value<T>(&mut self, l: &NetLayer<'_>, read: Result<T, ParseError>) -> Option<T> {
        read.map_err(|e| self.problem(l.name, e.to_string())).ok()
    }

    fn same(
        &mut self,
        l: &NetLayer<'_>,
        field: &str,
        got: Result<Option<usize>, ParseError>,
        default: usize,
        need: usize,
    ) {
        if let Some(got) = self.value(l, got).map(|g| g.unwrap_or(default)).filter(|g| *g != need) {
            self.problem(l.name, format!("{field} is {got}, {} needs {need}", self.arch.name));
        }
    }

    fn close(&mut self, l: &NetLayer<'_>, field: &str, got: Result<Option<f32>, ParseError>, default: f32, need: f32) {
        // Written in decimal by hand: equal up to the last digits of an f32.
        let differs = |g: &f32| (g - need).abs() > 1e-5 * need.abs() || g.is_nan();
        if let Some(got) = self.value(l, got).map(|g| g.unwrap_or(default)).filter(differs) {
            self.problem(l.name, format!("{field} is {got}, {} needs {need}", self.arch.name));
        }
    }

    /// A number given once for both directions, once per direction, or under the names of its two directions.
    fn square(&mut self, l: &NetLayer<'_>, p: &Message, field: &str, sides: (&str, &str), default: usize, need: usize) {
        let Some(mut got) = self.value(l, p.numbers::<usize>(field)) else { return };
        for side in [sides.0, sides.1] {
            got.extend(self.value(l, p.number::<usize>(side)).flatten());
        }
        if got.is_empty() {
            got.push(default);
        }
        if let Some(wrong) = got.into_iter().find(|g| *g != need) {
            self.problem(l.name, format!("{field} is {wrong}, {} needs {need}", self.arch.name));
        }
    }
}

struct ConvNumbers {
    out: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    groups: usize,
}

fn top(l: &NetLayer<'_>) -> BlobName {
    l.tops.first().unwrap_or(&l.name).to_string()
}
