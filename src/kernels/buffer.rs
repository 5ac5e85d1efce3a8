//! Memory for kernels: f32 at the beginning of a cache line, so that no vector of a panel lies across two.
#![allow(unsafe_code)]

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Buffer::LINE]);

/// Numbers that begin at a cache line; zero when new, then whatever was written.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// Numbers in a cache line.
    pub const LINE: usize = 16;

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
            self.lines.resize(lines, Line([0.0; Self::LINE]));
        }
        self.len = len;
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is 16 f32 without padding (64 bytes, aligned to 64), so the lines hold at least `len` of them in a row.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
