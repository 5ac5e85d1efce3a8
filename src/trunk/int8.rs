//! The trunk of a quantised model, in integers from the pixels to the RPN.
//!
//! Not by the graph engine: the network's description says the order of layers, the bundle's check has made sure that the
//! file says the same, and all that remains is kernels one after another on channels-last maps of u8. Where an LRN follows,
//! a convolution gives real numbers, which are quantised after it.

mod step;
mod steps;

use std::time::Instant;

use super::{LayerTime, Maps, TrunkError, check_input};
use crate::frame::{Blob, Pixels};
use crate::kernels::int8::{Dot, Out, QuantConv, to_u8};
use crate::kernels::{Kernels, MapShape, to_channel_major};
use crate::model::quantize::{Activation, CONV5, Dataflow, IMAGE, QuantizeError, Quantized};
use crate::model::{Architecture, onnx::TRUNK_OUTPUTS};
use step::{Map, Memory, Step, Values, View};
use steps::{rpn, steps};

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

impl QuantTrunk {
    /// The trunk of a quantised network, on certain instructions.
    pub fn new(
        network: &Architecture,
        quantized: &Quantized,
        flow: &Dataflow,
        dot: Dot,
        kernels: Kernels,
    ) -> Result<Self, QuantizeError> {
        Ok(Self {
            steps: steps(network, quantized, flow, dot)?,
            rpn: rpn(network, quantized, flow, dot)?,
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
        let conv5 = conv5.iter().map(|q| f32::from(*q) * scale).collect();
        let rpn = rpn.map(|(scores, deltas)| (scores.to_vec(), deltas.to_vec()));
        Ok(Maps { rows, cols, channels, conv5, rpn })
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
