//! The order in which a data set is seen.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Every epoch a new permutation of `0..len`, which depends on the seed and the number of the epoch alone, so that a
/// resumed run sees the samples an uninterrupted one would.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    /// The epoch that `permutation` belongs to.
    epoch: Option<u64>,
    permutation: Vec<u32>,
}

impl Order {
    /// Over `len` samples.
    pub fn new(len: usize, seed: u64) -> Self {
        Self { seed, epoch: None, permutation: (0..len as u32).collect() }
    }

    /// The sample at a place of an epoch.
    ///
    /// # Panics
    /// If `place` is not below the number of samples.
    pub fn at(&mut self, epoch: u64, place: usize) -> usize {
        if self.epoch != Some(epoch) {
            self.permutation.sort_unstable();
            self.permutation.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(31).wrapping_add(epoch)));
            self.epoch = Some(epoch);
        }
        self.permutation[place] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_the_same_permutation_however_one_gets_there() {
        let mut whole = Order::new(50, 7);
        let first: Vec<usize> = (0..50).map(|i| whole.at(0, i)).collect();
        let second: Vec<usize> = (0..50).map(|i| whole.at(1, i)).collect();
        let mut resumed = Order::new(50, 7);
        assert!((20..50).all(|i| resumed.at(1, i) == second[i]));

        let mut sorted = second.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_ne!(first, second);
        assert_ne!(first, (0..50).map(|i| Order::new(50, 8).at(0, i)).collect::<Vec<_>>());
    }
}
