//! Batch normalisation of one layer, live and folded.

use tch::Tensor;

const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// The tensors that follow a layer, one value per output channel.
pub struct BatchNorm<'a> {
    /// Learned factor.
    pub gain: &'a Tensor,
    /// Learned offset.
    pub bias: &'a Tensor,
    /// Running mean.
    pub mean: &'a Tensor,
    /// Running variance.
    pub var: &'a Tensor,
}

impl BatchNorm<'_> {
    /// With the statistics of the batch `x`, which also move the running ones.
    pub fn live(&self, x: &Tensor) -> Tensor {
        x.batch_norm(Some(self.gain), Some(self.bias), Some(self.mean), Some(self.var), true, MOMENTUM, EPS, false)
    }

    /// Takes the statistics of `x` as its own, with the factor and offset that undo them: what follows computes
    /// `x + bias` as before.
    pub fn adopt(&self, x: &Tensor) {
        let other_axes: Vec<i64> = (0..x.dim() as i64).filter(|&axis| axis != 1).collect();
        let mean = x.mean_dim(other_axes.as_slice(), false, None);
        let var = x.var_dim(other_axes.as_slice(), false, false);
        let set = |to: &Tensor, from: &Tensor| to.shallow_clone().copy_(from);
        set(self.gain, &(&var + EPS).sqrt());
        set(self.bias, &(self.bias + &mean));
        set(self.mean, &mean);
        set(self.var, &var);
    }

    /// Weight and bias of the layer that does it all at once, with the running statistics: `weight` is that of the layer
    /// before, outputs outermost.
    pub fn fold(&self, weight: &Tensor) -> (Tensor, Tensor) {
        let scale = self.gain / (self.var + EPS).sqrt();
        let mut per_output = vec![1i64; weight.dim()];
        per_output[0] = -1;
        (weight * scale.view(per_output.as_slice()), self.bias - self.mean * &scale)
    }
}
