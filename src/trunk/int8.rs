//! The trunk of a quantised model, in integers from the pixels to the RPN.
//!
//! Not by the graph engine: the network's description says the order of layers, the bundle's check has made sure that the
//! file says the same, and all that remains is kernels one after another on channels-last maps of u8. Where an LRN follows,
//! a convolution gives real numbers, which are quantised after it.

use std::time::Instant;

use super::{LayerTime, Maps, TrunkError, check_input};
use crate::frame::{Blob, Pixels};
use crate::kernels::int8::{self, Between, ConvShape, Dot, Out, PoolShape, QuantConv, QuantScratch, to_u8};
use crate::kernels::{Kernels, LrnParams, MapShape, lrn, to_channel_major};
use crate::model::arch::{Layer, pooled_len};
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
    dot: Dot,
    kernels: Kernels,
    memory: Memory,
    outputs: Outputs,
}

/// What the trunk makes of a picture, in the memory of the trunk.
#[derive(Debug, Clone, Copy)]
pub struct QuantMaps<'a> {
    /// Rows of the maps.
    pub rows: usize,
    /// Columns of the maps.
    pub cols: usize,
    /// Channels of `conv5`.
    pub channels: usize,
    /// The last convolution's map, channels-last.
    pub conv5: &'a [u8],
    /// Raw RPN scores and deltas as in [`Maps`].
    pub rpn: Option<(&'a [f32], &'a [f32])>,
}

/// The maps of the last picture.
#[derive(Default)]
struct Outputs {
    /// Rows, columns and channels.
    shape: MapShape,
    conv5: Vec<u8>,
    /// Scores and deltas, plane by plane.
    rpn: [Vec<f32>; 2],
}

/// One layer.
enum Step {
    /// Convolution and ReLU, to u8, and max pooling where it gains by being joined.
    Conv(QuantConv, Option<PoolShape>),
    /// Convolution and ReLU, to real numbers.
    RealConv(QuantConv),
    /// Convolution, ReLU, LRN and max pooling, to u8.
    Normalised(QuantConv, Between),
    /// Max pooling of either.
    Pool(PoolShape),
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

impl Values {
    fn view(&self) -> View<'_> {
        match self {
            Self::U8(bytes) => View::U8(bytes),
            Self::Real(reals) => View::Real(reals),
        }
    }
}

/// The same, lent.
#[derive(Clone, Copy)]
enum View<'a> {
    U8(&'a [u8]),
    Real(&'a [f32]),
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
        // Layers after a convolution that are part of its step.
        let mut joined = 0;
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
                    debug_assert!(name != last || !normalised, "no network normalises its last map");
                    let becomes = if normalised { Becomes::Real { relu: true } } else { Becomes::Map(to) };
                    let conv = match flow.input_of(name).unwrap_or(IMAGE) {
                        IMAGE => quantized.first_kernel(name, shape, becomes, dot)?,
                        map => quantized.kernel(name, shape, map, becomes, dot)?,
                    };
                    let pool_at = |i: usize| match layers.get(i) {
                        Some(&Layer::MaxPool { kernel, stride, pad, .. }) => Some(PoolShape { kernel, stride, pad }),
                        _ => None,
                    };
                    let between = match (layers.get(i + 1), pool_at(i + 2)) {
                        (Some(lrn), Some(pool)) => lrn_params(lrn).map(|lrn| (lrn, pool)),
                        _ => None,
                    };
                    let step = match (pool_at(i + 1), between) {
                        (Some(pool), _) if conv.pools() => {
                            joined = 1;
                            Step::Conv(conv, Some(pool))
                        }
                        (_, Some((lrn, pool))) if conv.normalises(&lrn, &pool) => {
                            joined = 2;
                            let Activation { scale, zeros } = quantized.activation(to)?;
                            Step::Normalised(conv, Between { lrn, pool, scale: *scale, zero: zeros[0] })
                        }
                        _ if normalised => Step::RealConv(conv),
                        _ => Step::Conv(conv, None),
                    };
                    steps.push((name, step));
                }
                _ if joined > 0 => joined -= 1,
                Layer::MaxPool { name, kernel, stride, pad } => {
                    steps.push((name, Step::Pool(PoolShape { kernel, stride, pad })));
                }
                Layer::Lrn { name, .. } => {
                    let Some(params) = lrn_params(layer) else { continue };
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
            dot,
            kernels,
            memory: Memory::default(),
            outputs: Outputs::default(),
        })
    }

    /// Runs the trunk on a preprocessed picture, on the current team.
    pub fn run(&mut self, blob: &Blob) -> Result<Maps, TrunkError> {
        check_input(&blob.data, blob.height, blob.width)?;
        let pixels = self.pixels(blob);
        let scale = self.conv5.scale;
        let QuantMaps { rows, cols, channels, conv5, rpn } = self.run_pixels(&pixels)?;
        let real: Vec<f32> = conv5.iter().map(|q| f32::from(*q) * scale).collect();
        let mut planes = vec![0.0; real.len()];
        to_channel_major(&real, channels, &mut planes);
        let rpn = rpn.map(|(scores, deltas)| (scores.to_vec(), deltas.to_vec()));
        Ok(Maps { rows, cols, channels, conv5: planes, rpn })
    }

    /// Runs the trunk on the pixels of a picture, on the current team.
    pub fn run_pixels(&mut self, pixels: &Pixels) -> Result<QuantMaps<'_>, TrunkError> {
        self.run_lapped(pixels, |_| ())
    }

    /// Runs the trunk and takes the time of every layer.
    pub fn layer_times(&mut self, pixels: &Pixels) -> Result<Vec<LayerTime>, TrunkError> {
        let mut times = Vec::new();
        let mut last = Instant::now();
        self.run_lapped(pixels, |layer| {
            let now = Instant::now();
            let ms = now.duration_since(std::mem::replace(&mut last, now)).as_secs_f64() * 1e3;
            times.push(LayerTime { node: layer.into(), operator: "int8".into(), ms });
        })?;
        Ok(times)
    }

    /// How the picture is stored.
    pub fn image(&self) -> &Activation {
        &self.image
    }

    /// How `conv5` is stored.
    pub fn conv5(&self) -> &Activation {
        &self.conv5
    }

    /// Runs the trunk and calls `lap` with the name of each layer when it is done.
    fn run_lapped(&mut self, pixels: &Pixels, mut lap: impl FnMut(&str)) -> Result<QuantMaps<'_>, TrunkError> {
        check_input(&pixels.data, pixels.height, pixels.width)?;
        let Pixels { height, width, ref data, .. } = *pixels;
        let (rows, cols) = (height.max(self.smallest_side), width.max(self.smallest_side));
        // A sliver of a picture is given room; any other is read where it lies.
        let wide = ((rows, cols) != (height, width)).then(|| self.widened(pixels, rows, cols));
        let mut map: Option<Map> = None;
        for (name, step) in &self.steps {
            let next = match &map {
                None => step.run(
                    View::U8(wide.as_ref().unwrap_or(data)),
                    [rows, cols, 3],
                    self.dot,
                    self.kernels,
                    &mut self.memory,
                ),
                Some(m) => {
                    step.run(m.values.view(), [m.rows, m.cols, m.channels], self.dot, self.kernels, &mut self.memory)
                }
            };
            if let Some(done) = map.replace(next) {
                self.memory.give_back(done.values);
            }
            lap(name);
        }
        if let Some(wide) = wide {
            self.memory.give_back(Values::U8(wide));
        }
        let Some(Map { rows, cols, channels, values: Values::U8(conv5) }) = map else {
            unreachable!("the last convolution's map is quantised")
        };
        let (memory, outputs) = (&mut self.memory, &mut self.outputs);
        outputs.shape = [rows, cols, channels];
        let last = std::mem::replace(&mut outputs.conv5, conv5);
        memory.give_back(Values::U8(last));
        if let Some([hidden, scores, deltas]) = &self.rpn {
            let pixels = rows * cols;
            let mut between = memory.bytes(pixels * hidden.shape().output);
            hidden.run(&outputs.conv5, rows, cols, &mut memory.scratch, Out::U8(&mut between));
            lap("rpn_conv");
            for ((layer, name), planes) in [scores, deltas].into_iter().zip(&TRUNK_OUTPUTS[1..]).zip(&mut outputs.rpn) {
                let channels = layer.shape().output;
                let mut by_pixel = memory.reals(pixels * channels);
                layer.run(&between, rows, cols, &mut memory.scratch, Out::F32(&mut by_pixel));
                planes.resize(pixels * channels, 0.0);
                to_channel_major(&by_pixel, channels, planes);
                memory.give_back(Values::Real(by_pixel));
                lap(name);
            }
            memory.give_back(Values::U8(between));
        }
        Ok(self.maps())
    }

    /// The maps of the last picture; nothing before the first.
    pub fn maps(&self) -> QuantMaps<'_> {
        let Outputs { shape: [rows, cols, channels], conv5, rpn: [scores, deltas] } = &self.outputs;
        let rpn = self.rpn.is_some().then_some((&scores[..], &deltas[..]));
        QuantMaps { rows: *rows, cols: *cols, channels: *channels, conv5, rpn }
    }

    /// The pixels with the mean colour to the right and below.
    fn widened(&mut self, pixels: &Pixels, rows: usize, cols: usize) -> Vec<u8> {
        let mut map = self.memory.bytes(rows * cols * 3);
        map.iter_mut().zip(self.image.zeros.iter().rev().cycle()).for_each(|(p, zero)| *p = *zero);
        for (line, to) in pixels.data.chunks_exact(pixels.width * 3).zip(map.chunks_exact_mut(cols * 3)) {
            to[..line.len()].copy_from_slice(line);
        }
        map
    }

    /// A real-valued input, rounded.
    fn pixels(&self, blob: &Blob) -> Pixels {
        let Blob { height, width, scale, .. } = *blob;
        let mut data = vec![0; blob.data.len()];
        for (channel, plane) in blob.data.chunks_exact(height * width).enumerate() {
            let zero = self.image.zeros[channel];
            let to = data[2 - channel..].iter_mut().step_by(3);
            to.zip(plane).for_each(|(p, value)| *p = to_u8(value / self.image.scale, zero));
        }
        Pixels { height, width, scale, data }
    }
}

impl Step {
    fn run(
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
            (Self::Lrn(params, activation), View::Real(x)) => {
                let (mut real, mut out) = (memory.reals(x.len()), memory.bytes(x.len()));
                lrn(kernels, *params, x, [rows, cols, channels], &mut real);
                int8::quantize(&real, activation.scale, activation.zeros[0], &mut out);
                memory.give_back(Values::Real(real));
                Map { rows, cols, channels, values: Values::U8(out) }
            }
            // `new` has put the steps together so that each gets what the one before gives.
            _ => unreachable!("a layer got a map of the other kind"),
        }
    }
}

/// The numbers of an LRN layer.
fn lrn_params(layer: &Layer) -> Option<LrnParams> {
    let Layer::Lrn { region, size, alpha, beta, k, .. } = *layer else { return None };
    Some(LrnParams { window: region.window(size), alpha, beta, k })
}

fn pooled(len: usize, pool: PoolShape) -> usize {
    pooled_len(len, pool.kernel, pool.stride, pool.pad)
}
