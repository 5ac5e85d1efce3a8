//! One step of a quantised trunk: a layer, or some that gain by being joined, from map to map.

use crate::kernels::int8::{self, Between, Dot, Out, PoolShape, QuantConv, QuantScratch};
use crate::kernels::{Kernels, MapShape};
use crate::model::arch::pooled_len;

/// One layer.
pub enum Step {
    /// Convolution and ReLU, to u8, and max pooling where it gains by being joined.
    Conv(QuantConv, Option<PoolShape>),
    /// Convolution and ReLU, to real numbers.
    RealConv(QuantConv),
    /// Convolution, ReLU, LRN and max pooling, to u8.
    Normalised(QuantConv, Between),
    /// Max pooling of either.
    Pool(PoolShape),
    /// LRN of real numbers and max pooling, to u8.
    Lrn(Between),
}

/// A map between layers.
pub struct Map {
    pub rows: usize,
    pub cols: usize,
    pub channels: usize,
    pub values: Values,
}

pub enum Values {
    U8(Vec<u8>),
    Real(Vec<f32>),
}

impl Values {
    pub fn view(&self) -> View<'_> {
        match self {
            Self::U8(bytes) => View::U8(bytes),
            Self::Real(reals) => View::Real(reals),
        }
    }
}

/// The same, lent.
#[derive(Clone, Copy)]
pub enum View<'a> {
    U8(&'a [u8]),
    Real(&'a [f32]),
}

/// Kept from picture to picture.
#[derive(Default)]
pub struct Memory {
    bytes: Vec<Vec<u8>>,
    reals: Vec<Vec<f32>>,
    pub scratch: QuantScratch,
}

impl Memory {
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = self.bytes.pop().unwrap_or_default();
        bytes.resize(len, 0);
        bytes
    }

    pub fn reals(&mut self, len: usize) -> Vec<f32> {
        let mut reals = self.reals.pop().unwrap_or_default();
        reals.resize(len, 0.0);
        reals
    }

    pub fn give_back(&mut self, values: Values) {
        match values {
            Values::U8(bytes) => self.bytes.push(bytes),
            Values::Real(reals) => self.reals.push(reals),
        }
    }
}

impl Step {
    /// The next map.
    pub fn run(
        &self,
        x: View<'_>,
        [rows, cols, channels]: MapShape,
        dot: Dot,
        kernels: Kernels,
        memory: &mut Memory,
    ) -> Map {
        match (self, x) {
            (Self::Conv(conv, None), View::U8(x)) => {
                let shape = conv.shape();
                let (to, over) = (shape.out_len(rows), shape.out_len(cols));
                let mut out = memory.bytes(to * over * shape.output);
                conv.run(x, rows, cols, &mut memory.scratch, Out::U8(&mut out));
                Map { rows: to, cols: over, channels: shape.output, values: Values::U8(out) }
            }
            (Self::Conv(conv, Some(pool)), View::U8(x)) => {
                let shape = conv.shape();
                let to = (pooled(shape.out_len(rows), *pool), pooled(shape.out_len(cols), *pool));
                let mut out = memory.bytes(to.0 * to.1 * shape.output);
                conv.run_pooled(x, rows, cols, *pool, &mut memory.scratch, &mut out, to);
                Map { rows: to.0, cols: to.1, channels: shape.output, values: Values::U8(out) }
            }
            (Self::RealConv(conv), View::U8(x)) => {
                let shape = conv.shape();
                let (to, over) = (shape.out_len(rows), shape.out_len(cols));
                let mut out = memory.reals(to * over * shape.output);
                conv.run(x, rows, cols, &mut memory.scratch, Out::F32(&mut out));
                Map { rows: to, cols: over, channels: shape.output, values: Values::Real(out) }
            }
            (Self::Normalised(conv, between), View::U8(x)) => {
                let (shape, pool) = (conv.shape(), between.pool);
                let to = (pooled(shape.out_len(rows), pool), pooled(shape.out_len(cols), pool));
                let mut out = memory.bytes(to.0 * to.1 * shape.output);
                conv.run_normalised(x, rows, cols, kernels, *between, &mut memory.scratch, &mut out, to);
                Map { rows: to.0, cols: to.1, channels: shape.output, values: Values::U8(out) }
            }
            (Self::Pool(pool), x) => {
                let (from, to) = ([rows, cols, channels], [pooled(rows, *pool), pooled(cols, *pool), channels]);
                let values = match x {
                    View::U8(x) => {
                        let mut out = memory.bytes(to.iter().product());
                        int8::max_pool(dot, *pool, x, from, &mut out, to);
                        Values::U8(out)
                    }
                    View::Real(x) => {
                        let mut out = memory.reals(to.iter().product());
                        int8::max_pool(dot, *pool, x, from, &mut out, to);
                        Values::Real(out)
                    }
                };
                Map { rows: to[0], cols: to[1], channels, values }
            }
            (Self::Lrn(between), View::Real(x)) => {
                let to = (pooled(rows, between.pool), pooled(cols, between.pool));
                let mut out = memory.bytes(to.0 * to.1 * channels);
                between.run(kernels, x, [rows, cols, channels], &mut memory.scratch, &mut out, to);
                Map { rows: to.0, cols: to.1, channels, values: Values::U8(out) }
            }
            // `steps` has put them together so that each gets what the one before gives.
            _ => unreachable!("a layer got a map of the other kind"),
        }
    }
}

fn pooled(len: usize, pool: PoolShape) -> usize {
    pooled_len(len, pool.kernel, pool.stride, pool.pad)
}
