//! Which kernels a detector runs on, by the name that a user gives.

use super::DetectorError;
use crate::kernels::{Kernels, int8::Dot};

/// The kernels of both kinds of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// Of real numbers; `None` leaves the trunk to the graph engine.
    pub real: Option<Kernels>,
    /// Of integers.
    pub integer: Dot,
    /// The number of the GPU that computes trunk and head.
    #[cfg(feature = "cuda")]
    pub gpu: Option<usize>,
}

impl Choice {
    fn new(real: Option<Kernels>, integer: Dot) -> Self {
        Self {
            real,
            integer,
            #[cfg(feature = "cuda")]
            gpu: None,
        }
    }

    /// The kernels of that name: `auto`, `tract`, one of [`Kernels::NAMES`], or one of [`Dot::NAMES`]. A name that only one
    /// kind has means those of the same vectors of the other. `cuda` and `cuda:1` mean GPUs.
    pub fn named(name: &str) -> Result<Self, DetectorError> {
        let (best, integer) = (Kernels::best(), Dot::best());
        if let Some(card) = name.strip_prefix("cuda") {
            return Self::on_gpu(name, card);
        }
        let found = match (name, Kernels::by_name(name), Dot::by_name(name)) {
            ("auto", ..) => Some(Self::new(Some(best), integer)),
            ("tract", ..) => Some(Self::new(None, integer)),
            (_, Some(real), integers) => Some(Self::new(Some(real), integers.unwrap_or(integer))),
            (_, None, Some(integer)) => Some(Self::new(Kernels::by_name(integer.vectors()), integer)),
            (_, None, None) => None,
        };
        found.ok_or_else(|| DetectorError::Option {
            name: "kernels",
            value: name.into(),
            reason: match Kernels::NAMES.contains(&name) || Dot::NAMES.contains(&name) {
                true => "this processor does not have them; \"auto\" takes the best it has",
                false => "must be auto, tract, scalar, avx2, avx-vnni, avx512, vnni, amx, neon, neon-dot or cuda",
            },
        })
    }

    /// A GPU by what follows `cuda`: nothing, or a colon and its number. What stays on the processor runs on its best kernels.
    #[cfg(feature = "cuda")]
    fn on_gpu(name: &str, card: &str) -> Result<Self, DetectorError> {
        let number = if card.is_empty() { Some(0) } else { card.strip_prefix(':').and_then(|n| n.parse().ok()) };
        let reason = "a GPU is cuda or cuda:N, where N is its number from 0";
        let wrong = || DetectorError::Option { name: "kernels", value: name.into(), reason };
        Ok(Self { gpu: Some(number.ok_or_else(wrong)?), ..Self::new(Some(Kernels::best()), Dot::best()) })
    }

    /// Never the processor in the place of a GPU.
    #[cfg(not(feature = "cuda"))]
    fn on_gpu(name: &str, _: &str) -> Result<Self, DetectorError> {
        let reason = "this program was built without GPUs; build it with `cargo build --release --features cuda`";
        Err(DetectorError::Option { name: "kernels", value: name.into(), reason })
    }

    /// Whether a model in 8 bits is computed faster in integers than in real numbers (`benches/NOTES.md`).
    pub fn integers_are_faster(self) -> bool {
        self.real.is_some() && self.integer.outruns_reals()
    }
}
