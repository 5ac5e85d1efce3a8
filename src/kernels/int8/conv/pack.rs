//! Packing of weights: which number of the map meets which weight.

use super::Rescale;
use super::direct::Direct;
use crate::kernels::ConvShape;
use crate::kernels::int8::dot::{Dot, Form, pair};
use crate::kernels::tile::{Left, ONCE, Panels};

/// The outputs of a group. All is filled up to whole panels.
#[derive(Debug, Clone)]
pub struct Group {
    /// Along k: run, place in the run; then what is left over of each run; then the steps that are done again.
    pub panels: Panels<i8>,
    /// Those steps.
    pub again: Again,
    /// With the input's zero points multiplied in.
    pub bias: Vec<i32>,
    pub factors: Vec<f32>,
}

/// Steps that vectors of a panel take once more, with what is left of weights that were too large: see [`Dot::PAIRS`].
///
/// [`Dot::PAIRS`]: crate::kernels::tile::Dot::PAIRS
#[derive(Debug, Clone, Default)]
pub struct Again {
    /// Where they begin along k.
    steps: Vec<usize>,
    /// Where each panel's begin in them: those in the map of the first vector, and of the second, those in the gathered bytes of
    /// both; one more at the end.
    ends: Vec<usize>,
}

impl Again {
    /// Splits weights so that pairs fit into 16 bits, unless that would be too many steps.
    fn split_all(groups: &mut [Group], runs: &Runs) -> bool {
        let (mut all, mut again) = (0, 0);
        for panels in groups.iter().map(|g| &g.panels) {
            let vector = panels.width() / 2 * runs.step;
            for weights in (0..panels.count()).flat_map(|p| panels.panel(p).data.chunks_exact(vector)) {
                all += 1;
                again += usize::from(weights.as_chunks::<2>().0.iter().any(|w| !pair(w[0], w[1])));
            }
        }
        let few = again * MOST_AGAIN <= all;
        if few {
            groups.iter_mut().for_each(|group| group.again = Self::split(&mut group.panels, runs));
        }
        few
    }

    /// Halves the weights that are too large, and gives the panels with the other halves at their end.
    fn split(panels: &mut Panels<i8>, runs: &Runs) -> Self {
        let (vector, gathered) = (panels.width() / 2 * runs.step, runs.count * runs.len);
        let (mut again, mut more) = (Self { steps: Vec::new(), ends: vec![0] }, Vec::new());
        for p in 0..panels.count() {
            let mut rest = Vec::new();
            for (range, half) in [(0..gathered, 0), (0..gathered, 1), (gathered..runs.k(), 0), (gathered..runs.k(), 1)]
            {
                for k in range.step_by(runs.step) {
                    let weights = &mut panels.panel_mut(p)[(2 * k / runs.step + half) * vector..][..vector];
                    let pairs = weights.as_chunks_mut::<2>().0;
                    if pairs.iter().all(|w| pair(w[0], w[1])) {
                        continue;
                    }
                    for w in pairs {
                        let less = if pair(w[0], w[1]) { [0; 2] } else { w.map(|w| w / 2) };
                        *w = std::array::from_fn(|i| w[i] - less[i]);
                        rest.extend(less);
                    }
                    again.steps.push(k);
                }
                again.ends.push(again.steps.len());
            }
            more.push(rest);
        }
        *panels = panels.longer(&more);
        again
    }

    /// Where the steps read: in the map, whose runs begin at `starts`, or in the gathered bytes.
    pub fn places(&self, runs: &Runs, starts: &[usize], places: &mut Vec<usize>) {
        let gathered = runs.count * runs.len;
        places.extend(self.steps.iter().map(|k| match k.checked_sub(gathered) {
            Some(tail) => tail,
            None => starts[k / runs.len] + k % runs.len,
        }));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Those of a panel, of the [`places`](Self::places): in the map, and in the gathered bytes.
    pub fn of<'a>(&self, panel: usize, places: &'a [usize]) -> [[&'a [usize]; 2]; 2] {
        let ends = &self.ends[4 * panel..][..5];
        let part = |i: usize| &places[ends[i]..ends[i + 1]];
        [[part(0), part(1)], [part(2), part(3)]]
    }
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

/// One in so many steps may be taken again; words take half as long again as adding in 16 bits.
const MOST_AGAIN: usize = 4;

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
    pub fn tail_of<'a>(&self, tails: &'a [u8], pixel: usize) -> Left<'a, u8> {
        let step = self.tail_step();
        Left { data: tails, first: pixel * step, step, runs: &WHOLE, run: step, again: ONCE }
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

impl Direct {
    /// Packs a convolution whose slices are as long as [`QuantConv::new`](super::QuantConv::new) says.
    pub fn new(dot: Dot, shape: ConvShape, weight: &[i8], bias: &[i32], zeros: &[u8], rescale: Rescale) -> Self {
        let dot = dot.for_weights(weight);
        let mut packed = Self::packed(dot, shape, weight, bias, zeros, rescale);
        match dot.wide() {
            Some(wide) if !Again::split_all(&mut packed.groups, &packed.runs) => {
                Self::packed(wide, shape, weight, bias, zeros, packed.rescale)
            }
            _ => packed,
        }
    }

    /// The same for these instructions, and nothing split.
    fn packed(dot: Dot, shape: ConvShape, weight: &[i8], bias: &[i32], zeros: &[u8], rescale: Rescale) -> Self {
        let ConvShape { input, output, kernel, groups, .. } = shape;
        let (inputs, outputs, window) = (input / groups, output / groups, shape.window());
        let Form { width, step, run, share, offset, words, .. } = dot.form();
        let bytes = if words { 2 } else { 1 };
        let read = ConvShape { input: input * bytes, ..shape };
        let (runs, contiguous) = (Runs::new(&read, run), contiguous(&read));
        let filled = outputs.next_multiple_of(width);
        let mut packed = Vec::with_capacity(groups);
        for (g, weight) in weight.chunks_exact((outputs * window).max(1)).enumerate() {
            let zeros = &zeros[g * inputs..][..inputs];
            let mut panels = Panels::zeros(width, step, runs.k(), outputs);
            let (mut sums, mut factors) = (vec![0i32; filled], vec![0f32; filled]);
            factors[..outputs].copy_from_slice(&rescale.factors()[g * outputs..][..outputs]);
            for (o, weight) in weight.chunks_exact(window).enumerate() {
                for (i, w) in weight.iter().enumerate() {
                    let (channel, tap) = (i / (kernel * kernel), i % (kernel * kernel));
                    let k = (tap * inputs + channel) * bytes;
                    for (i, byte) in i16::from(*w).to_le_bytes().into_iter().take(bytes).enumerate() {
                        *panels.at_mut(runs.place(k / contiguous, k % contiguous + i), o) = byte as i8;
                    }
                }
                sums[o] = folded(&shape, weight, bias[g * outputs + o], zeros, offset);
            }
            packed.push(Group { panels, again: Again::default(), bias: sums, factors });
        }
        let wild = rescale.wild();
        Self { shape, read, dot, share, groups: packed, runs, zeros: zeros.to_vec(), rescale, wild }
    }

    /// Bytes of a number of the map as it is read.
    pub(super) fn bytes_read(&self) -> usize {
        self.read.input / self.shape.input
    }
}

/// The bias of an output with the zero points of its inputs multiplied in, where `offset` is taken from all of them.
///
/// # Panics
///
/// If sums could leave i32.
pub fn folded(shape: &ConvShape, weight: &[i8], bias: i32, zeros: &[u8], offset: u8) -> i32 {
    let taps = shape.kernel * shape.kernel;
    let (mut shift, mut most) = (0i64, i64::from(bias).abs());
    for (weight, zero) in weight.chunks_exact(taps).zip(zeros) {
        for w in weight {
            shift += i64::from(*w) * (i64::from(*zero) - i64::from(offset));
            most += i64::from(*w).abs() * 255;
        }
    }
    // However inputs and zero points fall, the sum and the folded bias lie within twice this.
    assert!(most < 1 << 30, "sums of {shape:?} could leave i32");
    (i64::from(bias) - shift) as i32
}

#[cfg(test)]
mod tests {
    use super::super::{Out, QuantScratch};
    use super::*;

    /// Some weights are too large for pairs in 16 bits, in the map and among the gathered bytes, at both ends of the range.
    #[test]
    fn few_large_weights_are_taken_in_two_parts_and_change_no_sum() {
        let shape =
            |input, output, kernel, stride, pad, groups| ConvShape { input, output, kernel, stride, pad, groups };
        for (shape, rows, cols) in [
            (shape(3, 40, 7, 2, 3, 1), 15, 33),
            (shape(64, 50, 3, 1, 1, 2), 5, 12),
            (shape(9, 21, 5, 1, 1, 1), 7, 9),
            (shape(130, 33, 1, 1, 0, 1), 3, 17),
        ] {
            let number = |i: usize| (i * 7919 % 10_007) as i32;
            let weight: Vec<i8> = (0..shape.weights())
                .map(|i| match number(i) % 250 {
                    0 => i8::MAX,
                    1 => i8::MIN,
                    n => (n % 120 - 60) as i8,
                })
                .collect();
            let x: Vec<u8> =
                (0..rows * cols * shape.input).map(|i| (255 - number(i) % 300).clamp(0, 255) as u8).collect();
            let zeros: Vec<u8> = (0..shape.input).map(|i| number(i) as u8).collect();
            let bias: Vec<i32> = (0..shape.output).map(number).collect();
            let sums = |dot: Dot| {
                let rescale = Rescale::F32 { factors: vec![1.0; shape.output], relu: false };
                let conv = Direct::new(dot, shape, &weight, &bias, &zeros, rescale);
                let again: usize = conv.groups.iter().map(|group| group.again.len()).sum();
                assert_eq!(again > 0, dot.form().pairs, "{again} steps taken again, {} {shape:?}", dot.name());
                let mut out = vec![f32::NAN; shape.out_len(rows) * shape.out_len(cols) * shape.output];
                conv.run(&x, rows, cols, &mut QuantScratch::default(), Out::F32(&mut out));
                out
            };
            for dot in Dot::available() {
                assert_eq!(sums(dot), sums(Dot::scalar()), "{} {shape:?}", dot.name());
            }
        }
    }
}
