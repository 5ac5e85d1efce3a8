//! Memory for kernels: numbers at the beginning of a cache line, so that no vector of a panel lies across two.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Numbers of which every pattern of bits is one, at most 64 bytes long.
pub trait Plain: Copy + Send + Sync + sealed::Sealed {}

impl Plain for f32 {}
impl Plain for i8 {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for i16 {}
impl Plain for i32 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i8 {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for i16 {}
    impl Sealed for i32 {}
}

/// Numbers that begin at a cache line; zero when new, then whatever was written.
#[derive(Debug, Clone)]
pub struct Buffer<T = f32> {
    lines: Vec<Line>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), len: 0, numbers: PhantomData }
    }
}

impl<T: Plain> Buffer<T> {
    /// Numbers in a cache line.
    pub const LINE: usize = LINE / size_of::<T>();

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.resize(len);
        buffer
    }

    /// Changes the length. What the numbers are is left open: zero, or what was written there before; memory only grows.
    pub fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(Self::LINE);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; LINE]));
        }
        self.len = len;
    }
}

impl<T: Plain> std::ops::Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: lines are 64 bytes in a row without gaps, aligned to 64; there are enough for `len` numbers, which are
        // `Plain`: any bytes are valid.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
