//! What a model is computed in: one in 8 bits in integers or in real numbers with the same weights, f32 or bf16.

use crate::{
    kernels::Bf16,
    model::{Bundle, BundleError},
};

use super::{DetectorError, choice::Choice};

/// What a model is computed in. Models of real numbers are always computed in real numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// Of a model in 8 bits whatever is faster: integers on 64-bit ARM and on x86 from AVX2 on, else real numbers, because plain
    /// Rust takes longer for integers than for f32 (`benches/NOTES.md`).
    #[default]
    Auto,
    /// Integers: the same bits on every processor.
    Int8,
    /// Real numbers, of a model in 8 bits those of its weights; nothing is rounded between layers.
    F32,
    /// The same with factors rounded to bf16 (8 significant bits, sums in f32), which takes little more than half the time on processors
    /// that have it.
    Bf16,
    /// On a GPU: the same with factors rounded to 11 significant bits, which its fast units multiply.
    #[cfg(feature = "cuda")]
    Tf32,
}

impl Precision {
    /// The bundle as it is to be computed on these kernels.
    pub(super) fn apply(self, bundle: Bundle, choice: Choice) -> Result<Bundle, DetectorError> {
        #[cfg(feature = "cuda")]
        self.check_gpu(&bundle, choice)?;
        if bundle.manifest.quantization.is_none() {
            let real = self != Self::Int8;
            return if real { Ok(bundle) } else { Err(DetectorError::Precision { model: bundle.manifest.name }) };
        }
        let integers = match self {
            Self::Auto => choice.integers_are_faster(),
            Self::Int8 => true,
            Self::F32 | Self::Bf16 => false,
            #[cfg(feature = "cuda")]
            Self::Tf32 => false,
        };
        Ok(if integers { bundle } else { dequantized(&bundle)? })
    }

    /// What a GPU computes in, and what only a GPU does.
    #[cfg(feature = "cuda")]
    fn check_gpu(self, bundle: &Bundle, choice: Choice) -> Result<(), DetectorError> {
        let refused = |name, value: &str, reason| Err(DetectorError::Option { name, value: value.into(), reason });
        match (choice.gpu, self) {
            (None, Self::Tf32) => {
                refused("precision", "tf32", "is what GPUs compute in; use it with --kernels cuda, or f32 without")
            }
            (Some(_), Self::Bf16) => refused("precision", "bf16", "is not what GPUs are given; use f32, or tf32"),
            (Some(_), Self::Auto | Self::Int8) if bundle.manifest.quantization.is_some() => refused(
                "kernels",
                "cuda",
                "the model is in 8 bits, which are not computed on GPUs; give the model of real numbers that it was made from \
                 (of the built-in one --model models/zf-voc), or take its weights as real numbers with --precision f32",
            ),
            _ => Ok(()),
        }
    }

    /// The products; `None` are those of f32.
    pub(super) fn bf16(self) -> Result<Option<Bf16>, DetectorError> {
        let reason = "this processor has no instructions for it; use f32";
        let missing = || DetectorError::Option { name: "precision", value: "bf16".into(), reason };
        if self == Self::Bf16 { Bf16::fast().map(Some).ok_or_else(missing) } else { Ok(None) }
    }
}

fn dequantized(bundle: &Bundle) -> Result<Bundle, BundleError> {
    let storage = crate::model::StorageType::F32;
    Bundle::from_weights(bundle.network()?, &bundle.weights()?, bundle.manifest.clone(), storage)
}
