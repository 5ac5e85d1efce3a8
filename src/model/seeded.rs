//! Untrained weights from a seed, for tests and as the start of training.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Architecture, Tensor, Weights};

impl Weights {
    /// He-scaled normal weights and small normal biases for every layer of a network. Equal seeds give equal weights.
    /// `anchors` is the number per cell; `None` leaves the RPN out. With a `rank`, fc6 and fc7 are SVD pairs.
    pub fn he_random(
        network: &Architecture,
        classes: usize,
        anchors: Option<usize>,
        rank: Option<usize>,
        seed: u64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = Self::default();
        for layer in network.layers(classes, anchors) {
            let fan_in: usize = layer.weight[1..].iter().product();
            let out = layer.weight[0];
            let mut add = |name: String, shape: Vec<usize>, std: f32| {
                let data = normals(&mut rng, shape.iter().product(), std);
                weights.insert(name, Tensor { shape, data });
            };
            let he = (2.0 / fan_in as f32).sqrt();
            match rank.filter(|_| matches!(layer.name, "fc6" | "fc7")) {
                Some(rank) => {
                    add(format!("{}_v.weight", layer.name), vec![rank, fan_in], he);
                    add(format!("{}_u.weight", layer.name), vec![out, rank], (1.0 / rank as f32).sqrt());
                    add(format!("{}_u.bias", layer.name), vec![out], 0.1);
                }
                None => {
                    add(format!("{}.weight", layer.name), layer.weight.clone(), he);
                    add(format!("{}.bias", layer.name), vec![out], 0.1);
                }
            }
        }
        weights
    }
}

/// `count` numbers from N(0, std²), by the Box–Muller transform.
pub fn normals(rng: &mut ChaCha8Rng, count: usize, std: f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(count + 1);
    while out.len() < count {
        let (u, v): (f32, f32) = (rng.random(), rng.random());
        let radius = (-2.0 * (1.0 - u).ln()).sqrt() * std;
        let angle = std::f32::consts::TAU * v;
        out.push(radius * angle.cos());
        out.push(radius * angle.sin());
    }
    out.truncate(count);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_have_mean_zero_and_the_asked_deviation() {
        let x = normals(&mut ChaCha8Rng::seed_from_u64(1), 100_001, 0.5);
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        let var = x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
        assert_eq!(x.len(), 100_001);
        assert!(mean.abs() < 0.01 && (var - 0.25).abs() < 0.01, "{mean} {var}");
    }

    #[test]
    fn equal_seeds_give_equal_weights() {
        let random = |seed| Weights::he_random(&crate::model::arch::ZF, 2, None, Some(2), seed);
        assert_eq!(random(7), random(7));
        assert_ne!(random(7), random(8));
    }
}
