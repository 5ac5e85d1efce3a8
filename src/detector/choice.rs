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
}

impl Choice {
    /// The kernels of that name: `auto`, `tract`, one of [`Kernels::NAMES`], or one of [`Dot::NAMES`]. A name that only one
    /// kind has means those of the same vectors of the other.
    pub fn named(name: &str) -> Result<Self, DetectorError> {
        let (best, integer) = (Kernels::best(), Dot::best());
        let found = match (name, Kernels::by_name(name), Dot::by_name(name)) {
            ("auto", ..) => Some(Self { real: Some(best), integer }),
            ("tract", ..) => Some(Self { real: None, integer }),
            (_, Some(real), integers) => Some(Self { real: Some(real), integer: integers.unwrap_or(integer) }),
            (_, None, Some(integer)) => Some(Self { real: Kernels::by_name(integer.vectors()), integer }),
            (_, None, None) => None,
        };
        found.ok_or_else(|| DetectorError::Option {
            name: "kernels",
            value: name.into(),
            reason: match Kernels::NAMES.contains(&name) || Dot::NAMES.contains(&name) {
                true => "this processor does not have them; \"auto\" takes the best it has",
                false => "must be auto, tract, scalar, avx2, avx-vnni, avx512, vnni, amx, neon or neon-dot",
            },
        })
    }

    /// Whether a model in 8 bits is computed faster in integers than in real numbers. Winograd's convolution, which only those
    /// have, makes up for instructions that are slower with bytes than twice the others (`benches/NOTES.md`).
    pub fn integers_are_faster(self) -> bool {
        self.real.is_some() && self.integer.outruns_reals()
    }
}
