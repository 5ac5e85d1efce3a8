//! What the network computes in one iteration.
//!
//! Parameters are f32; the arithmetic of convolutions and fully connected layers runs in
//! [`NetConfig::precision`](super::net::NetConfig::precision) (bf16 halves the time on processors that have it).
//! Weights are folded and converted once for all pictures of the iteration, and their gradients are converted back
//! once: for a small picture that is a third of its time. Convolution inputs are kept in channels-last order, which is
//! what the CPU library's kernels want.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::net::{Mode, Net};
use crate::model::arch::{Layer, LrnRegion};

/// A pass over the network: any number of pictures go forward, then one `backward` over the sum of their losses.
#[derive(Debug)]
pub struct Pass<'a> {
    net: &'a Net,
    mode: Mode,
    /// Weights and biases in the working precision, by layer.
    ready: RefCell<BTreeMap<String, (Tensor, Option<Tensor>)>>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(net: &'a Net, mode: Mode) -> Self {
        Self { net, mode, ready: RefCell::default() }
    }

    /// The network.
    pub fn net(&self) -> &'a Net {
        self.net
    }

    /// The trunk: pictures `[N, 3, H, W]` to the last map, in the working precision.
    pub fn trunk(&self, pictures: &Tensor) -> Tensor {
        let mut x = pictures.to_kind(self.net.config.precision);
        for layer in self.net.config.arch.trunk {
            x = match *layer {
                Layer::Conv { name, stride, pad, groups, .. } => self.conv(&x, name, stride, pad, groups).relu(),
                Layer::MaxPool { kernel, stride, pad, .. } => {
                    let [k, s, p] = [kernel, stride, pad].map(|n| n as i64);
                    x.max_pool2d([k, k], [s, s], [p, p], [1, 1], true)
                }
                Layer::Lrn { region, size, alpha, beta, k, .. } => lrn(&x, region, size as i64, alpha, beta, k),
            };
        }
        x
    }

    /// RPN heads over the map: scores `[N, 2A, h, w]` and deltas `[N, 4A, h, w]`, f32.
    pub fn rpn(&self, map: &Tensor) -> (Tensor, Tensor) {
        let h = self.conv(map, "rpn_conv", 1, 1, 1).relu();
        let out = |name| self.conv(&h, name, 1, 0, 1).to_kind(Kind::Float);
        (out("rpn_cls_score"), out("rpn_bbox_pred"))
    }

    /// fc6 and fc7 over pooled RoIs `[n, C·P·P]`.
    pub fn fc(&self, pooled: &Tensor) -> Tensor {
        let mut x = pooled.to_kind(self.net.config.precision);
        let dropout = self.net.config.dropout;
        for name in ["fc6", "fc7"] {
            let first = format!("{name}_v");
            let last = if self.net.params.find(&format!("{first}.weight")).is_some() {
                x = x.linear(&self.weight(&first), None::<&Tensor>);
                format!("{name}_u")
            } else {
                name.to_owned()
            };
            x = self.layer(&last, |w, b| x.linear(w, b)).relu();
            if matches!(self.mode, Mode::Pretrain | Mode::Finetune) && dropout > 0.0 {
                x = x.dropout(dropout, true);
            }
        }
        x
    }

    /// A last fully connected layer, f32: `fc8`, `cls_score` or `bbox_pred`.
    pub fn output(&self, x: &Tensor, name: &str) -> Tensor {
        x.linear(&self.weight(name), None::<&Tensor>).to_kind(Kind::Float) + self.param(name, "bias")
    }

    fn conv(&self, x: &Tensor, name: &str, stride: usize, pad: usize, groups: usize) -> Tensor {
        let (s, p) = (stride as i64, pad as i64);
        self.layer(name, |w, b| x.conv2d(w, b, [s, s], [p, p], [1, 1], groups as i64))
    }

    /// A layer, given what it does with weight and bias in the working precision, and its batch normalisation.
    fn layer(&self, name: &str, apply: impl Fn(&Tensor, Option<Tensor>) -> Tensor) -> Tensor {
        let bare = || apply(&self.weight(name), None);
        match self.net.norm(name) {
            Some(bn) if self.mode == Mode::Pretrain => bn.live(&bare()),
            Some(bn) if self.mode == Mode::Unfold => {
                let unchanged = apply(&self.weight(name), Some(self.working(bn.bias)));
                bn.adopt(&bare().to_kind(Kind::Float));
                unchanged
            }
            norm => {
                let (weight, bias) = self.once(name, || match norm {
                    Some(bn) => {
                        let (weight, bias) = bn.fold(self.param(name, "weight"));
                        (self.working(&weight), Some(self.working(&bias)))
                    }
                    None => (self.working(self.param(name, "weight")), Some(self.working(self.param(name, "bias")))),
                });
                apply(&weight, bias)
            }
        }
    }

    /// A weight without its bias.
    fn weight(&self, name: &str) -> Tensor {
        self.once(name, || (self.working(self.param(name, "weight")), None)).0
    }

    fn once(&self, name: &str, make: impl FnOnce() -> (Tensor, Option<Tensor>)) -> (Tensor, Option<Tensor>) {
        let mut ready = self.ready.borrow_mut();
        let (weight, bias) = ready.entry(name.to_owned()).or_insert_with(make);
        (weight.shallow_clone(), bias.as_ref().map(Tensor::shallow_clone))
    }

    fn param(&self, name: &str, part: &str) -> &'a Tensor {
        self.net.params.get(&format!("{name}.{part}"))
    }

    fn working(&self, t: &Tensor) -> Tensor {
        t.to_kind(self.net.config.precision)
    }
}

/// Caffe's local response normalisation, computed in f32.
fn lrn(input: &Tensor, region: LrnRegion, size: i64, alpha: f32, beta: f32, k: f32) -> Tensor {
    let x = input.to_kind(Kind::Float);
    let squares = x.square();
    let half = (size - 1) / 2;
    let mean = match region {
        LrnRegion::WithinChannel => squares.avg_pool2d([size, size], [1, 1], [half, half], false, true, None::<i64>),
        LrnRegion::AcrossChannels => squares
            .unsqueeze(1)
            .avg_pool3d([size, 1, 1], [1, 1, 1], [half, 0, 0], false, true, None::<i64>)
            .squeeze_dim(1),
    };
    let normalised = &x * (mean * f64::from(alpha) + f64::from(k)).pow_tensor_scalar(-f64::from(beta));
    normalised.to_kind(input.kind())
}
