//! The network under training, built from its [`Architecture`].
//!
//! Parameters are f32; the arithmetic of convolutions and fully connected layers runs in [`NetConfig::precision`]
//! (bf16 halves the time on processors that have it). Convolution inputs are kept in channels-last order, which is
//! what the CPU library's kernels want.
//!
//! With `batch_norm`, each trunk convolution and each hidden fc layer is followed by batch normalisation: live
//! statistics while a trunk is pre-trained, frozen ones while a detector is trained; export folds them into weight
//! and bias, so the shipped network has none.

use tch::{Device, Kind, Tensor};

use super::batch_norm::BatchNorm;
use super::params::{Params, Role};
use super::roi::to_vec;
use crate::boxes::AnchorSpec;
use crate::model::arch::{Architecture, Layer, LrnRegion};
use crate::model::{Tensor as Plain, Weights};

/// What is built.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The network.
    pub arch: &'static Architecture,
    /// Batch normalisation after each hidden layer.
    pub batch_norm: bool,
    /// Ranks of fc6 and fc7 when they are trained as factored pairs `_v`, `_u`; `None` trains full matrices.
    pub ranks: Option<[usize; 2]>,
    /// Arithmetic of the large products.
    pub precision: Kind,
    /// Probability of dropping an fc activation.
    pub dropout: f64,
}

/// How batch normalisation takes its statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Set from the batch so that it changes nothing ([`Net::unfold`]); no dropout.
    Unfold,
    /// From the batch, and the running ones are updated; dropout is on.
    Pretrain,
    /// Frozen running statistics; dropout is on.
    Finetune,
    /// Frozen running statistics, no dropout.
    Eval,
}

/// A network and its parameters.
#[derive(Debug)]
pub struct Net {
    /// What was built.
    pub config: NetConfig,
    /// Its tensors.
    pub params: Params,
}

impl Net {
    /// Trunk and hidden fc layers, initialised after He et al. for training from nothing.
    pub fn new(config: NetConfig, device: Device) -> Self {
        let mut net = Self { params: Params::new(device), config };
        let arch = net.config.arch;
        for c in arch.convs() {
            let fan_in = c.input / c.groups * c.kernel * c.kernel;
            let shape = [c.out, c.input / c.groups, c.kernel, c.kernel].map(|n| n as i64);
            net.add_layer(c.name, &shape, (2.0 / fan_in as f64).sqrt(), true);
        }
        let [fc6, fc7] = arch.fc;
        let ranks = net.config.ranks.map_or([None, None], |r| r.map(Some));
        net.add_fc("fc6", arch.fc_inputs(), fc6, ranks[0]);
        net.add_fc("fc7", fc6, fc7, ranks[1]);
        net
    }

    fn add_layer(&mut self, name: &str, shape: &[i64], std: f64, hidden: bool) {
        self.params.add_normal(&format!("{name}.weight"), shape, std, Role::Weight);
        self.params.add_constant(&format!("{name}.bias"), &shape[..1], 0.0, Role::Bias);
        if hidden && self.config.batch_norm {
            self.params.add_constant(&format!("{name}.gain"), &shape[..1], 1.0, Role::Gain);
            self.params.add_constant(&format!("{name}.mean"), &shape[..1], 0.0, Role::Buffer);
            self.params.add_constant(&format!("{name}.var"), &shape[..1], 1.0, Role::Buffer);
        }
    }

    fn add_fc(&mut self, name: &str, inputs: usize, outputs: usize, rank: Option<usize>) {
        let (i, o) = (inputs as i64, outputs as i64);
        match rank {
            None => self.add_layer(name, &[o, i], (2.0 / inputs as f64).sqrt(), true),
            Some(r) => {
                // No ReLU between the two: the first keeps the variance, the second is a He layer.
                let first = (1.0 / inputs as f64).sqrt();
                self.params.add_normal(&format!("{name}_v.weight"), &[r as i64, i], first, Role::Weight);
                self.add_layer(&format!("{name}_u"), &[o, r as i64], (2.0 / r as f64).sqrt(), true);
            }
        }
    }

    /// Adds the classifier of pre-training.
    pub fn add_classifier(&mut self, classes: usize) {
        self.add_layer("fc8", &[classes as i64, self.config.arch.fc[1] as i64], 0.01, false);
    }

    /// Adds the detector's own layers as the papers initialise them: N(0, 0.01), box layer N(0, 0.001).
    pub fn add_detector(&mut self, classes: usize, anchors: &AnchorSpec) {
        let (map, rpn) = (self.config.arch.map_channels() as i64, self.config.arch.rpn_channels as i64);
        let (a, k) = (anchors.per_cell() as i64, classes as i64 + 1);
        let fc7 = self.config.arch.fc[1] as i64;
        self.add_layer("rpn_conv", &[rpn, map, 3, 3], 0.01, false);
        self.add_layer("rpn_cls_score", &[2 * a, rpn, 1, 1], 0.01, false);
        self.add_layer("rpn_bbox_pred", &[4 * a, rpn, 1, 1], 0.01, false);
        self.add_layer("cls_score", &[k, fc7], 0.01, false);
        self.add_layer("bbox_pred", &[4 * k, fc7], 0.001, false);
    }

    /// The trunk: pictures `[N, 3, H, W]` to the last map, in the working precision.
    pub fn trunk(&self, pictures: &Tensor, mode: Mode) -> Tensor {
        let mut x = pictures.to_kind(self.config.precision);
        for layer in self.config.arch.trunk {
            x = match *layer {
                Layer::Conv { name, stride, pad, groups, .. } => self.conv(&x, name, stride, pad, groups, mode).relu(),
                Layer::MaxPool { kernel, stride, pad, .. } => {
                    let [k, s, p] = [kernel, stride, pad].map(|n| n as i64);
                    x.max_pool2d([k, k], [s, s], [p, p], [1, 1], true)
                }
                Layer::Lrn { region, size, alpha, beta, k, .. } => lrn(&x, region, size as i64, alpha, beta, k),
            };
        }
        x
    }

    fn conv(&self, x: &Tensor, name: &str, stride: usize, pad: usize, groups: usize, mode: Mode) -> Tensor {
        let (s, p) = (stride as i64, pad as i64);
        self.layer(name, mode, |w, b| x.conv2d(w, b, [s, s], [p, p], [1, 1], groups as i64))
    }

    /// A layer, given what it does with weight and bias in the working precision, and its batch normalisation.
    fn layer(&self, name: &str, mode: Mode, apply: impl Fn(&Tensor, Option<Tensor>) -> Tensor) -> Tensor {
        let ready = |t: &Tensor| t.to_kind(self.config.precision);
        let weight = self.params.get(&format!("{name}.weight"));
        match self.norm(name) {
            Some(bn) if mode == Mode::Pretrain => bn.live(&apply(&ready(weight), None)),
            Some(bn) if mode == Mode::Unfold => {
                let unchanged = apply(&ready(weight), Some(ready(bn.bias)));
                bn.adopt(&apply(&ready(weight), None).to_kind(Kind::Float));
                unchanged
            }
            Some(bn) => {
                let (weight, bias) = bn.fold(weight);
                apply(&ready(&weight), Some(ready(&bias)))
            }
            None => apply(&ready(weight), Some(ready(&self.bias(name)))),
        }
    }

    fn bias(&self, name: &str) -> Tensor {
        self.params.get(&format!("{name}.bias")).shallow_clone()
    }

    fn norm(&self, name: &str) -> Option<BatchNorm<'_>> {
        let gain = self.params.find(&format!("{name}.gain"))?;
        let get = |part: &str| self.params.get(&format!("{name}.{part}"));
        Some(BatchNorm { gain, bias: get("bias"), mean: get("mean"), var: get("var") })
    }

    /// RPN heads over the map: scores `[N, 2A, h, w]` and deltas `[N, 4A, h, w]`, f32.
    pub fn rpn(&self, map: &Tensor) -> (Tensor, Tensor) {
        let h = self.conv(map, "rpn_conv", 1, 1, 1, Mode::Finetune).relu();
        let out = |name| self.conv(&h, name, 1, 0, 1, Mode::Finetune).to_kind(Kind::Float);
        (out("rpn_cls_score"), out("rpn_bbox_pred"))
    }

    /// fc6 and fc7 over pooled RoIs `[n, C·P·P]`.
    pub fn fc(&self, pooled: &Tensor, mode: Mode) -> Tensor {
        let mut x = pooled.to_kind(self.config.precision);
        for name in ["fc6", "fc7"] {
            let last = match self.params.find(&format!("{name}_v.weight")) {
                Some(v) => {
                    x = x.linear(&v.to_kind(self.config.precision), None::<&Tensor>);
                    format!("{name}_u")
                }
                None => name.to_owned(),
            };
            x = self.layer(&last, mode, |w, b| x.linear(w, b)).relu();
            if matches!(mode, Mode::Pretrain | Mode::Finetune) && self.config.dropout > 0.0 {
                x = x.dropout(self.config.dropout, true);
            }
        }
        x
    }

    /// A last fully connected layer, f32: `fc8`, `cls_score` or `bbox_pred`.
    pub fn output(&self, x: &Tensor, name: &str) -> Tensor {
        let w = self.params.get(&format!("{name}.weight")).to_kind(self.config.precision);
        x.linear(&w, None::<&Tensor>).to_kind(Kind::Float) + self.bias(name)
    }

    /// The weights as they are shipped: batch normalisation folded, names and shapes of [`Weights`].
    pub fn export(&self) -> Weights {
        let mut out = Weights::default();
        for (name, p) in self.params.iter() {
            let Some(layer) = name.strip_suffix(".weight") else { continue };
            let (weight, bias) = match self.norm(layer) {
                Some(bn) => {
                    let (weight, bias) = bn.fold(&p.value);
                    (weight, Some(bias))
                }
                None => {
                    (p.value.shallow_clone(), self.params.find(&format!("{layer}.bias")).map(|b| b.shallow_clone()))
                }
            };
            out.insert(name, plain(&weight));
            if let Some(b) = bias {
                out.insert(format!("{layer}.bias"), plain(&b));
            }
        }
        out
    }

    /// Gives a network whose weights came from a bundle its batch normalisation back: on these pictures
    /// `[N, 3, H, W]` it normalises, and the outputs stay what they were.
    pub fn unfold(&self, pictures: &Tensor) {
        tch::no_grad(|| {
            let p = self.config.arch.pool_size as i64;
            let pooled = self.trunk(pictures, Mode::Unfold).adaptive_max_pool2d([p, p]).0;
            let _ = self.fc(&pooled.contiguous().flatten(1, -1), Mode::Unfold);
        });
    }

    /// Copies all tensors of another network of the same shape.
    pub fn copy_from(&mut self, other: &Net) {
        for (name, p) in self.params.iter_mut() {
            if let Some(value) = other.params.find(name) {
                tch::no_grad(|| p.value.copy_(value));
            }
        }
    }

    /// Copies plain weights in, by name; returns the names of those that do not fit this network.
    pub fn import(&mut self, weights: &Weights) -> Vec<String> {
        let mut unused = Vec::new();
        for (name, w) in &weights.0 {
            let shape: Vec<i64> = w.shape.iter().map(|&n| n as i64).collect();
            match self.params.find(name) {
                Some(t) if t.size() == shape => tch::no_grad(|| {
                    t.shallow_clone().copy_(&Tensor::from_slice(&w.data).view(shape.as_slice()));
                }),
                _ => unused.push(name.clone()),
            }
        }
        unused
    }
}

fn plain(t: &Tensor) -> Plain {
    Plain { shape: t.size().iter().map(|&n| n as usize).collect(), data: to_vec(t) }
}

/// Caffe's local response normalisation.
fn lrn(x: &Tensor, region: LrnRegion, size: i64, alpha: f32, beta: f32, k: f32) -> Tensor {
    let x = x.to_kind(Kind::Float);
    let squares = x.square();
    let half = (size - 1) / 2;
    let mean = match region {
        LrnRegion::WithinChannel => squares.avg_pool2d([size, size], [1, 1], [half, half], false, true, None::<i64>),
        LrnRegion::AcrossChannels => squares
            .unsqueeze(1)
            .avg_pool3d([size, 1, 1], [1, 1, 1], [half, 0, 0], false, true, None::<i64>)
            .squeeze_dim(1),
    };
    &x * (mean * f64::from(alpha) + f64::from(k)).pow_tensor_scalar(-f64::from(beta))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of unfolding: the same outputs, and normalised ones between convolution and offset.
    #[test]
    fn unfolded_batch_normalisation_changes_nothing_on_the_pictures_it_was_set_on() {
        let arch = &crate::model::arch::ZF_PLAIN;
        let plain = NetConfig { arch, batch_norm: false, ranks: Some([8, 8]), precision: Kind::Float, dropout: 0.0 };
        tch::manual_seed(3);
        let folded = Net::new(plain.clone(), Device::Cpu);
        let mut unfolded = Net::new(NetConfig { batch_norm: true, ..plain }, Device::Cpu);
        assert!(unfolded.import(&folded.export()).is_empty());

        let pictures = Tensor::randn([2, 3, 64, 48], (Kind::Float, Device::Cpu)) * 50.0;
        unfolded.unfold(&pictures);
        tch::no_grad(|| {
            let (want, got) = (folded.trunk(&pictures, Mode::Eval), unfolded.trunk(&pictures, Mode::Eval));
            let error = (&want - &got).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
            assert!(error < 1e-4, "relative error {error}");
        });
        let var = unfolded.params.get("conv3.var").mean(Kind::Float).double_value(&[]);
        assert!((var - 1.0).abs() > 1e-3, "conv3's variance was not measured");
    }
}
