//! The network under training, built from its [`Architecture`]: its parameters, where they come from and what they are
//! exported as. What it computes is a [`Pass`].
//!
//! With `batch_norm`, each trunk convolution and each hidden fc layer is followed by batch normalisation: live
//! statistics while a trunk is pre-trained, frozen ones while a detector is trained; export folds them into weight
//! and bias, so the shipped network has none.

use tch::{Device, Kind, Tensor};

use super::batch_norm::BatchNorm;
use super::params::{Params, Role};
use super::pass::Pass;
use super::roi::to_vec;
use crate::boxes::AnchorSpec;
use crate::model::arch::Architecture;
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

    /// A pass over the network: what goes forward in one iteration.
    pub fn pass(&self, mode: Mode) -> Pass<'_> {
        Pass::new(self, mode)
    }

    /// The batch normalisation of a layer that has one.
    pub(super) fn norm(&self, name: &str) -> Option<BatchNorm<'_>> {
        let gain = self.params.find(&format!("{name}.gain"))?;
        let get = |part: &str| self.params.get(&format!("{name}.{part}"));
        Some(BatchNorm { gain, bias: get("bias"), mean: get("mean"), var: get("var") })
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
            let pass = self.pass(Mode::Unfold);
            let pooled = pass.trunk(pictures).adaptive_max_pool2d([p, p]).0;
            let _ = pass.fc(&pooled.contiguous().flatten(1, -1));
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
            let (want, got) = (folded.pass(Mode::Eval).trunk(&pictures), unfolded.pass(Mode::Eval).trunk(&pictures));
            let error = (&want - &got).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
            assert!(error < 1e-4, "relative error {error}");
        });
        let var = unfolded.params.get("conv3.var").mean(Kind::Float).double_value(&[]);
        assert!((var - 1.0).abs() > 1e-3, "conv3's variance was not measured");
    }

    /// Products rounded to bf16 and nothing else: an LRN between two convolutions is computed in f32 and handed on in bf16.
    #[test]
    fn every_network_passes_in_bf16_nearly_what_it_passes_in_f32() {
        for arch in crate::model::arch::ALL {
            let f32 = NetConfig { arch, batch_norm: false, ranks: Some([8, 8]), precision: Kind::Float, dropout: 0.0 };
            tch::manual_seed(5);
            let exact = Net::new(f32.clone(), Device::Cpu);
            let mut rounded = Net::new(NetConfig { precision: Kind::BFloat16, ..f32 }, Device::Cpu);
            assert!(rounded.import(&exact.export()).is_empty());
            let pictures = Tensor::randn([1, 3, 64, 64], (Kind::Float, Device::Cpu)) * 50.0;
            tch::no_grad(|| {
                let want = exact.pass(Mode::Eval).trunk(&pictures);
                let got = rounded.pass(Mode::Eval).trunk(&pictures).to_kind(Kind::Float);
                let norm = |t: &Tensor| t.square().mean(Kind::Float).sqrt().double_value(&[]);
                let error = norm(&(&want - &got)) / norm(&want);
                assert!(error < 0.05 && error > 0.0, "{}: relative error {error}", arch.name);
            });
        }
    }
}
