//! The trunk of a quantised model, in integers from the pixels to the RPN.
//!
//! Not by the graph engine: the network's description says the order of layers, the bundle's check has made sure that the
//! file says the same, and all that remains is kernels one after another on channels-last maps of u8. Where an LRN follows,
//! a convolution gives real numbers, which are quantised after it.

use std::time::Instant;

use super::{LayerTime, Maps, TrunkError, check_input};
use crate::frame::Blob;
use crate::kernels::int8::{self, ConvShape, Dot, Out, QuantConv, QuantScratch, to_u8};
use crate::kernels::{Kernels, LrnParams, LrnWindow, lrn, to_channel_major};
use crate::model::arch::{Layer, LrnRegion, pooled_len};
use crate::model::quantize::{Activation, Becomes, CONV5, Dataflow, IMAGE, QuantizeError, Quantized};
use crate::model::{Architecture, onnx::TRUNK_OUTPUTS};

/// A quantised trunk ready to run at any input size.
pub struct QuantTrunk {
    /// Layers by name.
    steps: Vec<(&'static str, Step)>,
    /// The RPN's 3×3 convolution, its scores and its deltas.
    rpn: Option<[QuantConv; 3]>,
    image: Activation,
    conv5: Activation,
    smallest_side: usize,
    kernels: Kernels,
    memory: Memory,
}

/// One layer.
enum Step {
    /// Convolution and ReLU, to u8.
    Conv(QuantConv),
    /// Convolution and ReLU, to real numbers.
    RealConv(QuantConv),
    /// Max pooling of either.
    Pool { kernel: usize, stride: usize, pad: usize },
    /// LRN of real numbers, quantised after it. Pooling may come later: the largest number has the largest step.
    Lrn(LrnParams, Activation),
}

/// A map between layers.
struct Map {
    rows: usize,
    cols: usize,
    channels: usize,
    values: Values,
}

enum Values {
    U8(Vec<u8>),
    Real(Vec<f32>),
}

/// Kept from picture to picture.
#[derive(Default)]
struct Memory {
    bytes: Vec<Vec<u8>>,
    reals: Vec<Vec<f32>>,
    scratch: QuantScratch,
}

impl Memory {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = self.bytes.pop().unwrap_or_default();
        bytes.resize(len, 0);
        bytes
    }

    fn reals(&mut self, len: usize) -> Vec<f32> {
        let mut reals = self.reals.pop().unwrap_or_default();
        reals.resize(len, 0.0);
        reals
    }

    fn give_back(&mut self, values: Values) {
        match values {
            Values::U8(bytes) => self.bytes.push(bytes),
            Values::Real(reals) => self.reals.push(reals),
        }
    }
}

impl QuantTrunk {
    /// The trunk of a quantised network, on certain instructions.
    pub fn new(
        network: &Architecture,
        quantized: &Quantized,
        flow: &Dataflow,
        dot: Dot,
        kernels: Kernels,
    ) -> Result<Self, QuantizeError> {
        let layers = network.trunk;
        let last = network.convs().last().map_or("", |c| c.name);
        let (mut steps, mut input) = (Vec::new(), 3);
        for (i, layer) in layers.iter().enumerate() {
            // What the next convolution reads; that of the last is the map itself.
            let next =
                layers[i + 1..].iter().find_map(|l| if let Layer::Conv { name, .. } = l { Some(*name) } else { None });
            let to = next.map_or(Some(CONV5), |name| flow.input_of(name)).unwrap_or(CONV5);
            match *layer {
                Layer::Conv { name, out, kernel, stride, pad, groups } => {
                    let shape = ConvShape { input, output: out, kernel, stride, pad, groups };
                    input = out;
                    let before_next = layers[i + 1..].iter().take_while(|l| !matches!(l, Layer::Conv { .. }));
                    let normalised = before_next.clone().any(|l| matches!(l, Layer::Lrn { .. }));
                    let map = flow.input_of(name).unwrap_or(IMAGE);
                    debug_assert!(name != last || !normalised, "no network normalises its last map");
                    let step = match normalised {
                        true => {
                            Step::RealConv(quantized.kernel(name, shape, map, Becomes::Real { relu: true }, dot)?)
                        }
                        false => Step::Conv(quantized.kernel(name, shape, map, Becomes::Map(to), dot)?),
                    };
                    steps.push((name, step));
                }
                Layer::MaxPool { name, kernel, stride, pad } => steps.push((name, Step::Pool { kernel, stride, pad })),
                Layer::Lrn { name, region, size, alpha, beta, k } => {
                    let window = match region {
                        LrnRegion::AcrossChannels => LrnWindow::Channels(size),
                        LrnRegion::WithinChannel => LrnWindow::Square(size),
                    };
                    let params = LrnParams { window, alpha, beta, k };
                    steps.push((name, Step::Lrn(params, quantized.activation(to)?.clone())));
                }
            }
        }
        let rpn = match flow.input_of("rpn_conv") {
            None => None,
            Some(_) => {
                let one = |layer: &str, input, kernel, map, becomes| {
                    let output = quantized.layers.get(layer).map_or(0, |l| l.scales.len());
                    let shape = ConvShape { input, output, kernel, stride: 1, pad: kernel / 2, groups: 1 };
                    quantized.kernel(layer, shape, map, becomes, dot)
                };
                let (hidden, real) = ("rpn_conv.relu", Becomes::Real { relu: false });
                let [_, scores, deltas] = TRUNK_OUTPUTS;
                Some([
                    one("rpn_conv", input, 3, CONV5, Becomes::Map(hidden))?,
                    one(scores, network.rpn_channels, 1, hidden, real)?,
                    one(deltas, network.rpn_channels, 1, hidden, real)?,
                ])
            }
        };
        Ok(Self {
            steps,
            rpn,
            image: quantized.activation(IMAGE)?.clone(),
            conv5: quantized.activation(CONV5)?.clone(),
            smallest_side: network.smallest_side(),
            kernels,
            memory: Memory::default(),
        })
    }

    /// Runs the trunk on a preprocessed picture, on the current rayon pool.
    pub fn run(&mut self, blob: &Blob) -> Result<Maps, TrunkError> {
        self.run_lapped(blob, |_| ())
    }

    /// Runs the trunk and takes the time of every layer.
    pub fn layer_times(&mut self, blob: &Blob) -> Result<Vec<LayerTime>, TrunkError> {
        let mut times = Vec::new();
        let mut last = Instant::now();
        self.run_lapped(blob, |layer| {
            let now = Instant::now();
            let ms = now.duration_since(std::mem::replace(&mut last, now)).as_secs_f64() * 1e3;
            times.push(LayerTime { node: layer.into(), operator: "int8".into(), ms });
        })?;
        Ok(times)
    }

    /// Runs the trunk and calls `lap` with the name of each layer when it is done.
    fn run_lapped(&mut self, blob: &Blob, mut lap: impl FnMut(&str)) -> Result<Maps, TrunkError> {
        check_input(&blob.data, blob.height, blob.width)?;
        let mut map = self.image(&blob.data, blob.height, blob.width);
        lap(IMAGE);
        for (name, step) in &self.steps {
            map = step.run(map, self.kernels, &mut self.memory);
            lap(name);
        }
        let Map { rows, cols, channels, values } = map;
        let Values::U8(conv5) = values else { unreachable!("the last convolution's map is quantised") };
        let rpn = self.rpn.as_ref().map(|[hidden, scores, deltas]| {
            let pixels = rows * cols;
            let scratch = &mut self.memory.scratch;
            let mut between = vec![0; pixels * hidden.shape().output];
            hidden.run(&conv5, rows, cols, scratch, Out::U8(&mut between));
            lap("rpn_conv");
            [(scores, TRUNK_OUTPUTS[1]), (deltas, TRUNK_OUTPUTS[2])].map(|(layer, name)| {
                let channels = layer.shape().output;
                let (mut by_pixel, mut planes) = (vec![0.0; pixels * channels], vec![0.0; pixels * channels]);
                layer.run(&between, rows, cols, scratch, Out::F32(&mut by_pixel));
                to_channel_major(&by_pixel, channels, &mut planes);
                lap(name);
                planes
            })
        });
        let real: Vec<f32> = conv5.iter().map(|q| f32::from(*q) * self.conv5.scale).collect();
        let mut planes = vec![0.0; real.len()];
        to_channel_major(&real, channels, &mut planes);
        lap(CONV5);
        self.memory.give_back(Values::U8(conv5));
        Ok(Maps { rows, cols, channels, conv5: planes, rpn: rpn.map(|[scores, deltas]| (scores, deltas)) })
    }

    /// The picture as pixels, channels-last; a sliver gets the mean colour to the right and below.
    fn image(&mut self, data: &[f32], height: usize, width: usize) -> Map {
        let (rows, cols) = (height.max(self.smallest_side), width.max(self.smallest_side));
        let mut pixels = self.memory.bytes(rows * cols * 3);
        if (rows, cols) != (height, width) {
            pixels.iter_mut().zip(self.image.zeros.iter().cycle()).for_each(|(p, zero)| *p = *zero);
        }
        for (channel, (plane, zero)) in data.chunks_exact(height * width).zip(&self.image.zeros).enumerate() {
            for (row, line) in plane.chunks_exact(width).zip(pixels.chunks_exact_mut(cols * 3)) {
                let to = line[channel..].iter_mut().step_by(3);
                to.zip(row).for_each(|(p, value)| *p = to_u8(value / self.image.scale, *zero));
            }
        }
        Map { rows, cols, channels: 3, values: Values::U8(pixels) }
    }
}

impl Step {
    fn run(&self, map: Map, kernels: Kernels, memory: &mut Memory) -> Map {
        let Map { rows, cols, channels, values } = map;
        let done = match (self, &values) {
            (Self::Conv(conv), Values::U8(x)) => {
                let shape = conv.shape();
                let (to, over) = (shape.out_len(rows), shape.out_len(cols));
                let mut out = memory.bytes(to * over * shape.output);
                conv.run(x, rows, cols, &mut memory.scratch, Out::U8(&mut out));
                Map { rows: to, cols: over, channels: shape.output, values: Values::U8(out) }
            }
            (Self::RealConv(conv), Values::U8(x)) => {
                let shape = conv.shape();
                let (to, over) = (shape.out_len(rows), shape.out_len(cols));
                let mut out = memory.reals(to * over * shape.output);
                conv.run(x, rows, cols, &mut memory.scratch, Out::F32(&mut out));
                Map { rows: to, cols: over, channels: shape.output, values: Values::Real(out) }
            }
            (Self::Pool { kernel, stride, pad }, values) => {
                let side = |len| pooled_len(len, *kernel, *stride, *pad);
                let (to, from, windows) = ((side(rows), side(cols)), (rows, cols), (*kernel, *stride, *pad));
                let values = match values {
                    Values::U8(x) => {
                        let mut out = memory.bytes(to.0 * to.1 * channels);
                        int8::max_pool(x, from, channels, windows, &mut out, to);
                        Values::U8(out)
                    }
                    Values::Real(x) => {
                        let mut out = memory.reals(to.0 * to.1 * channels);
                        int8::max_pool(x, from, channels, windows, &mut out, to);
                        Values::Real(out)
                    }
                };
                Map { rows: to.0, cols: to.1, channels, values }
            }
            (Self::Lrn(params, activation), Values::Real(x)) => {
                let (mut real, mut out) = (memory.reals(x.len()), memory.bytes(x.len()));
                lrn(kernels, *params, x, [rows, cols, channels], &mut real);
                int8::quantize(&real, activation.scale, activation.zeros[0], &mut out);
                memory.give_back(Values::Real(real));
                Map { rows, cols, channels, values: Values::U8(out) }
            }
            // `new` has put the steps together so that each gets what the one before gives.
            _ => unreachable!("a layer got a map of the other kind"),
        };
        memory.give_back(values);
        done
    }
}
