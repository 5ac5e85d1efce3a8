//! Packing of weights: which number of the map meets which weight.

use super::{QuantConv, Rescale};
use crate::kernels::ConvShape;
use crate::kernels::int8::dot::{Dot, Form};
use crate::kernels::tile::Panels;

/// The outputs of a group. All is filled up to whole panels.
#[derive(Debug, Clone)]
pub struct Group {
    /// Along k: run, place in the run; then what is left over of each run.
    pub panels: Panels<i8>,
    /// With the input's zero points multiplied in.
    pub bias: Vec<i32>,
    pub factors: Vec<f32>,
    /// Whether scaled sums may lie outside of i32.
    pub wild: bool,
}

/// How the numbers that an output sees are read.
#[derive(Debug, Clone, Copy)]
pub struct Runs {
    /// Bytes read of each run, whole steps of the instructions.
    pub len: usize,
    /// Bytes left over of each run, gathered beside the map.
    pub tail: usize,
    count: usize,
    /// Bytes taken at a time.
    step: usize,
}

/// Where steps are longer than this, runs shorter than a step are not gathered: that is a copy of all of it, and was slower
/// than multiplying zeros (`benches/NOTES.md`).
const WIDEST: usize = 16;

/// The only run of a tail.
const WHOLE: [usize; 1] = [0];

impl Runs {
    fn new(shape: &ConvShape, step: usize) -> Self {
        let ConvShape { kernel, .. } = *shape;
        let contiguous = contiguous(shape);
        let count = shape.window() / contiguous.max(1);
        let over = contiguous % step;
        // Gathered, the rest takes these steps; one for each run if runs read on.
        let pays = contiguous > over || step <= WIDEST;
        if shape.groups == 1 && kernel > 1 && over > 0 && pays && (over * count).div_ceil(step) < count {
            return Self { len: contiguous - over, tail: over, count, step };
        }
        Self { len: contiguous.next_multiple_of(step), tail: 0, count, step }
    }

    /// Bytes that a run reads beyond what it covers.
    pub fn beyond(&self, shape: &ConvShape) -> usize {
        self.len.saturating_sub(contiguous(shape))
    }

    /// Bytes that are left over for a pixel, filled up to steps.
    pub fn tail_step(&self) -> usize {
        (self.tail * self.count).next_multiple_of(self.step)
    }

    /// The part of a product that is read from the gathered bytes, from a pixel on.
    pub fn tail_of<'a>(&self, tails: &'a [u8], pixel: usize) -> crate::kernels::tile::Left<'a, u8> {
        let step = self.tail_step();
        crate::kernels::tile::Left { data: tails, first: pixel * step, step, runs: &WHOLE, run: step }
    }

    /// Where number `i` of run `r` stands along k.
    fn place(&self, r: usize, i: usize) -> usize {
        if i < self.len { r * self.len + i } else { self.count * self.len + r * self.tail + i - self.len }
    }

    /// Numbers along k.
    fn k(&self) -> usize {
        self.count * self.len + self.tail_step()
    }
}

/// What is contiguous in the map: a row of the kernel, or with groups only the group's part of a pixel.
fn contiguous(shape: &ConvShape) -> usize {
    let inputs = shape.input / shape.groups;
    if shape.groups == 1 { shape.kernel * inputs } else { inputs }
}

impl QuantConv {
    /// Packs a convolution. `weight` is `[output, input / groups, kernel, kernel]`, `bias` one sum for each output, `zeros`
    /// one zero point for each input channel.
    ///
    /// # Panics
    ///
    /// If a slice has another length than the shape says, the groups do not divide the channels, or sums could leave i32.
    pub fn new(dot: Dot, shape: ConvShape, weight: &[i8], bias: &[i32], zeros: &[u8], rescale: Rescale) -> Self {
        let ConvShape { input, output, kernel, groups, .. } = shape;
        assert!(groups > 0 && input.is_multiple_of(groups) && output.is_multiple_of(groups), "groups of {shape:?}");
        assert_eq!(weight.len(), output * shape.window(), "weights of {shape:?}");
        assert_eq!((bias.len(), zeros.len()), (output, input), "biases and zero points of {shape:?}");
        assert_eq!(rescale.factors().len(), output, "factors of {shape:?}");
        let (inputs, outputs, window) = (input / groups, output / groups, shape.window());
        let dot = dot.for_weights(weight);
        let Form { width, step, run, share, offset } = dot.form();
        let (runs, contiguous) = (Runs::new(&shape, run), contiguous(&shape));
        let filled = outputs.next_multiple_of(width);
        let mut packed = Vec::with_capacity(groups);
        for (g, weight) in weight.chunks_exact((outputs * window).max(1)).enumerate() {
            let zeros = &zeros[g * inputs..][..inputs];
            let mut panels = Panels::zeros(width, step, runs.k(), outputs);
            let (mut folded, mut factors) = (vec![0i32; filled], vec![0f32; filled]);
            factors[..outputs].copy_from_slice(&rescale.factors()[g * outputs..][..outputs]);
            for (o, weight) in weight.chunks_exact(window).enumerate() {
                let bias = bias[g * outputs + o];
                let (mut shift, mut most) = (0i64, i64::from(bias).abs());
                for (i, w) in weight.iter().enumerate() {
                    let (channel, tap) = (i / (kernel * kernel), i % (kernel * kernel));
                    let k = tap * inputs + channel;
                    *panels.at_mut(runs.place(k / contiguous, k % contiguous), o) = *w;
                    shift += i64::from(*w) * (i64::from(zeros[channel]) - i64::from(offset));
                    most += i64::from(*w).abs() * 255;
                }
                // However inputs and zero points fall, the sum and the folded bias lie within twice this.
                assert!(most < 1 << 30, "sums of {shape:?} could leave i32");
                folded[o] = (i64::from(bias) - shift) as i32;
            }
            // Sums lie within 2³¹, see above.
            let wild = factors.iter().any(|f| f.abs() >= 0.5);
            packed.push(Group { panels, bias: folded, factors, wild });
        }
        Self { shape, dot, share, groups: packed, runs, zeros: zeros.to_vec(), rescale }
    }
}
