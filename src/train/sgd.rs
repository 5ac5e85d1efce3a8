//! Stochastic gradient descent as Caffe does it: `v ← m·v + lr·(g + d·w)`, `w ← w − v`; biases learn at twice the
//! rate and without decay, as in the released solver files.

use tch::{Tensor, no_grad};

use super::params::{Params, Role};

/// The constants of the optimiser.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// Momentum m.
    pub momentum: f64,
    /// Weight decay d.
    pub decay: f64,
    /// Gradients are scaled down to this L2 norm over all tensors; 0 leaves them alone.
    pub clip_norm: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { momentum: 0.9, decay: 5e-4, clip_norm: 0.0 }
    }
}

impl Sgd {
    /// Applies the gradients that `backward` left and clears them. Returns the gradients' L2 norm before clipping
    /// (0 if clipping is off and it was therefore not computed).
    pub fn step(&self, params: &mut Params, lr: f64) -> f64 {
        no_grad(|| {
            let mut norm = 0.0;
            let mut scale = 1.0;
            if self.clip_norm > 0.0 {
                let norms: Vec<Tensor> = params
                    .iter()
                    .filter(|(_, p)| p.role != Role::Buffer)
                    .map(|(_, p)| p.value.grad())
                    .filter(Tensor::defined)
                    .map(|g| g.norm())
                    .collect();
                // One number travels from the device, not one for each tensor.
                norm = if norms.is_empty() { 0.0 } else { Tensor::stack(&norms, 0).norm().double_value(&[]) };
                if norm > self.clip_norm {
                    scale = self.clip_norm / norm;
                }
            }
            let device = params.device();
            let factor = |x: f64| Tensor::from(x as f32).to_device(device);
            for (_, p) in params.iter_mut() {
                let (rate, decay) = match p.role {
                    Role::Weight => (lr, self.decay),
                    Role::Bias => (2.0 * lr, 0.0),
                    Role::Gain => (lr, 0.0),
                    Role::Buffer => continue,
                };
                let grad = p.value.grad();
                if !grad.defined() {
                    continue;
                }
                // One pass over memory for each term and nothing allocated: the parameters of the fc layers are most
                // of what an iteration moves.
                let velocity = p.momentum.get_or_insert_with(|| p.value.zeros_like());
                let _ = velocity.g_mul_scalar_(self.momentum).addcmul_(&grad, &factor(rate * scale));
                if decay > 0.0 {
                    let _ = velocity.addcmul_(&p.value, &factor(rate * decay));
                }
                let _ = p.value.g_sub_(velocity);
                p.value.zero_grad();
            }
            norm
        })
    }
}

/// Learning rate over the course of a run.
#[derive(Debug, Clone, Copy)]
pub enum Schedule {
    /// Constant, divided by ten at each of the given fractions of the run (the papers' schedule: one drop).
    Steps {
        /// Rate at the start.
        base: f64,
        /// Iterations of linear warm-up.
        warmup: u64,
        /// Fractions of the run at which the rate drops tenfold.
        drops: [f64; 2],
    },
    /// Linear warm-up, then half a cosine down to zero.
    Cosine {
        /// Peak rate.
        base: f64,
        /// Iterations of linear warm-up.
        warmup: u64,
    },
}

impl Schedule {
    /// The rate of iteration `iter` (from 0) of `total`.
    pub fn rate(&self, iter: u64, total: u64) -> f64 {
        let (base, warmup) = match *self {
            Schedule::Steps { base, warmup, .. } | Schedule::Cosine { base, warmup } => (base, warmup),
        };
        if iter < warmup {
            return base * (iter + 1) as f64 / warmup as f64;
        }
        match *self {
            Schedule::Steps { drops, .. } => {
                let done = iter as f64 / total.max(1) as f64;
                base * drops.iter().filter(|&&d| done >= d).fold(1.0, |r, _| r * 0.1)
            }
            Schedule::Cosine { .. } => {
                let span = total.saturating_sub(warmup).max(1) as f64;
                let done = ((iter - warmup) as f64 / span).min(1.0);
                base * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn two_steps_follow_caffes_update_rule_by_hand() {
        let mut params = Params::new(Device::Cpu);
        params.add("a.weight", Tensor::from_slice(&[1.0f32]), Role::Weight);
        params.add("a.bias", Tensor::from_slice(&[1.0f32]), Role::Bias);
        let sgd = Sgd { momentum: 0.9, decay: 0.1, clip_norm: 0.0 };
        for _ in 0..2 {
            // Gradient 3 for both.
            ((params.get("a.weight") + params.get("a.bias")) * 3.0).sum(None).backward();
            sgd.step(&mut params, 0.1);
        }
        let value = |n: &str| params.get(n).double_value(&[0]);
        // weight: v1 = .1·(3+.1) = .31, w = .69; v2 = .279 + .1·(3+.069) = .5859, w = .1041
        assert!((value("a.weight") - 0.1041).abs() < 1e-6, "{}", value("a.weight"));
        // bias: rate .2: v1 = .6, b = .4; v2 = .54 + .6 = 1.14, b = -.74
        assert!((value("a.bias") + 0.74).abs() < 1e-6, "{}", value("a.bias"));
    }

    #[test]
    fn rates_warm_up_and_fall() {
        let s = Schedule::Steps { base: 1.0, warmup: 10, drops: [0.5, 2.0] };
        assert_eq!(s.rate(0, 100), 0.1);
        assert_eq!(s.rate(20, 100), 1.0);
        assert!((s.rate(50, 100) - 0.1).abs() < 1e-12);
        let c = Schedule::Cosine { base: 1.0, warmup: 0 };
        assert_eq!(c.rate(0, 100), 1.0);
        assert!((c.rate(50, 100) - 0.5).abs() < 1e-9 && c.rate(100, 100) < 1e-9);
    }
}
