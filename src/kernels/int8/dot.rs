//! Four rows of u8 times one row of i8, summed exactly in i32.
//!
//! `scalar` is the definition. `vnni` is AVX-512's `vpdpbusd`, which adds four products into each lane without saturation.
#![allow(unsafe_code)]

/// Rows that meet a row of weights at once.
pub const PIXELS: usize = 4;
/// Rows are whole multiples of this many numbers.
pub const BLOCK: usize = 64;

/// The instructions that products are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dot(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl Dot {
    /// What this processor has, the best last; `scalar` is always the first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "on processors without instructions of their own")]
        let mut sets = vec![Self(Set::Scalar)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            sets.push(Self(Set::Vnni));
        }
        sets
    }

    /// The best that this processor has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Set::Scalar))
    }

    /// Plain Rust.
    pub fn scalar() -> Self {
        Self(Set::Scalar)
    }

    /// `scalar` or `vnni`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Vnni => "vnni",
        }
    }

    /// The four sums.
    ///
    /// # Panics
    ///
    /// If `x` is not four rows as long as `w`, or that is no multiple of [`BLOCK`].
    #[inline]
    pub fn four(self, x: &[u8], w: &[i8]) -> [i32; PIXELS] {
        assert!(x.len() == PIXELS * w.len() && w.len().is_multiple_of(BLOCK), "{PIXELS} rows of whole blocks");
        match self.0 {
            Set::Scalar => scalar(x, w),
            // SAFETY: this value exists only where the processor has the instructions; the lengths were just checked.
            #[cfg(target_arch = "x86_64")]
            Set::Vnni => unsafe { vnni(x, w) },
        }
    }
}

fn scalar(x: &[u8], w: &[i8]) -> [i32; PIXELS] {
    let mut sums = [0i32; PIXELS];
    for (sum, x) in sums.iter_mut().zip(x.chunks_exact(w.len().max(1))) {
        *sum = x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum();
    }
    sums
}

/// # Safety
///
/// The processor must have avx512f and avx512vnni; `x` must be four rows as long as `w`, a multiple of 64.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni(x: &[u8], w: &[i8]) -> [i32; PIXELS] {
    use core::arch::x86_64::*;
    let len = w.len();
    let mut sums = [_mm512_setzero_si512(); PIXELS];
    for at in (0..len).step_by(BLOCK) {
        // SAFETY: `at + 64 <= len`, and row `p` of `x` holds `len` bytes from `p · len` on.
        unsafe {
            let w = _mm512_loadu_si512(w.as_ptr().add(at).cast());
            for (p, sum) in sums.iter_mut().enumerate() {
                let x = _mm512_loadu_si512(x.as_ptr().add(p * len + at).cast());
                *sum = _mm512_dpbusd_epi32(*sum, x, w);
            }
        }
    }
    sums.map(|sum| _mm512_reduce_add_epi32(sum))
}
