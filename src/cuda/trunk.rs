//! The trunk and the RPN, layer by layer as the network's description says.
//!
//! Two maps lie in memory at a time, the one a layer reads and the one it makes; the last stays for RoI pooling. Up goes the picture,
//! down come the RPN's scores and deltas. A plan per input size holds what cuDNN needs to know; maps and working memory are
//! shared, as large as the largest size so far needs.

use std::time::Instant;

use cudarc::driver::CudaSlice;

use super::conv::{Conv, ConvPlan};
use super::device::{Device, Memory};
use super::dnn::Map;
use super::error::{CudaError, While};
use super::head::download;
use super::kernels::{lrn, max_pool};
use crate::kernels::{ConvShape, LrnParams, PoolShape};
use crate::model::arch::{Layer, pooled_len};
use crate::model::{Architecture, Weights};
use crate::trunk::LayerTime;

/// Input sizes whose plans are kept.
const PLANS_KEPT: usize = 64;

/// The layers with their weights.
pub struct Trunk {
    steps: Vec<Step>,
    rpn: Option<Rpn>,
    smallest_side: usize,
    /// The most recently used last.
    plans: Vec<Plan>,
    memory: Maps,
    /// The RPN's maps of the last picture.
    scores: Vec<f32>,
    deltas: Vec<f32>,
    conv5: Option<(Map, usize)>,
}

enum Step {
    Conv(Box<Conv>),
    Pool(&'static str, PoolShape),
    Lrn(&'static str, LrnParams),
}

/// The 3×3 convolution and the two 1×1 ones on it.
struct Rpn {
    conv: Conv,
    scores: Conv,
    deltas: Conv,
}

/// Memory that all sizes share.
#[derive(Default)]
struct Maps {
    /// What is read and what is made, in turns.
    pair: [Memory; 2],
    scores: Memory,
    deltas: Memory,
    workspace: Memory,
}

/// What is prepared for one input size.
struct Plan {
    rows: usize,
    cols: usize,
    convs: Vec<ConvPlan>,
    rpn: Option<[ConvPlan; 3]>,
}

/// Is told the name, the kind and the milliseconds of each layer.
type Watch<'a> = Option<&'a mut Vec<LayerTime>>;

impl Trunk {
    /// Uploads the weights.
    pub fn new(device: &Device, network: &Architecture, mut weights: Weights) -> Result<Self, CudaError> {
        let mut input = 3;
        let mut steps = Vec::new();
        for layer in network.trunk {
            steps.push(match *layer {
                Layer::Conv { name, out, kernel, stride, pad, groups } => {
                    let shape = ConvShape { input, output: out, kernel, stride, pad, groups };
                    input = out;
                    Step::Conv(Box::new(Conv::take(device, &mut weights, name, shape, true)?))
                }
                Layer::MaxPool { name, kernel, stride, pad } => Step::Pool(name, PoolShape { kernel, stride, pad }),
                Layer::Lrn { name, region, size, alpha, beta, k } => {
                    Step::Lrn(name, LrnParams { window: region.window(size), alpha, beta, k })
                }
            });
        }
        let has_rpn = weights.has_layer("rpn_conv");
        let mut conv = |name, input, kernel: usize, relu| {
            // How many outputs there are, the biases tell.
            let shape = ConvShape { input, output: 0, kernel, stride: 1, pad: (kernel - 1) / 2, groups: 1 };
            Conv::take(device, &mut weights, name, shape, relu)
        };
        let rpn = if has_rpn {
            let hidden = network.rpn_channels;
            Some(Rpn {
                conv: conv("rpn_conv", input, 3, true)?,
                scores: conv("rpn_cls_score", hidden, 1, false)?,
                deltas: conv("rpn_bbox_pred", hidden, 1, false)?,
            })
        } else {
            None
        };
        Ok(Self {
            steps,
            rpn,
            smallest_side: network.smallest_side(),
            plans: Vec::new(),
            memory: Maps::default(),
            scores: Vec::new(),
            deltas: Vec::new(),
            conv5: None,
        })
    }

    /// Prepares for pictures of one size.
    pub fn warm_up(&mut self, device: &Device, rows: usize, cols: usize) -> Result<(), CudaError> {
        let smallest = self.smallest_side;
        let (rows, cols) = (rows.max(smallest), cols.max(smallest));
        match self.plans.iter().rposition(|plan| (plan.rows, plan.cols) == (rows, cols)) {
            Some(at) => self.plans[at..].rotate_left(1),
            None => {
                let plan = self.plan(device, rows, cols)?;
                if self.plans.len() == PLANS_KEPT {
                    self.plans.remove(0);
                }
                self.plans.push(plan);
            }
        }
        Ok(())
    }

    fn plan(&mut self, device: &Device, rows: usize, cols: usize) -> Result<Plan, CudaError> {
        // Algorithms are tried on the maps' memory.
        self.conv5 = None;
        let input = Map { channels: 3, rows, cols };
        let mut maps = vec![input];
        for step in &self.steps {
            maps.push(step.output(maps[maps.len() - 1]));
        }
        let last = maps[maps.len() - 1];
        let hidden = self.rpn.as_ref().map(|rpn| rpn.conv.output(last));
        let largest = maps.iter().chain(&hidden).map(Map::len).max().unwrap_or(0);
        let [x, y] = &mut self.memory.pair;
        let (x, y) = (x.of(device, largest)?, y.of(device, largest)?);
        let mut convs = Vec::new();
        for (step, from) in self.steps.iter_mut().zip(maps) {
            if let Step::Conv(conv) = step {
                convs.push(conv.plan(device, from, x, y)?);
            }
        }
        let rpn = match (&mut self.rpn, hidden) {
            (Some(rpn), Some(hidden)) => {
                let scores = self.memory.scores.of(device, rpn.scores.output(hidden).len())?;
                let deltas = self.memory.deltas.of(device, rpn.deltas.output(hidden).len())?;
                let conv = rpn.conv.plan(device, last, x, y)?;
                Some([conv, rpn.scores.plan(device, hidden, x, scores)?, rpn.deltas.plan(device, hidden, x, deltas)?])
            }
            _ => None,
        };
        Ok(Plan { rows, cols, convs, rpn })
    }

    /// Runs a picture through: planes of `rows`×`cols`, blue, green, red.
    pub fn run(
        &mut self,
        device: &Device,
        data: &[f32],
        rows: usize,
        cols: usize,
        mut watch: Watch<'_>,
    ) -> Result<(), CudaError> {
        self.warm_up(device, rows, cols)?;
        let Some(plan) = self.plans.last() else { return Ok(()) };
        let mut map = Map { channels: 3, rows: plan.rows, cols: plan.cols };
        let mut clock = Instant::now();
        let mut lap = |node: &str, operator: &str| -> Result<(), CudaError> {
            let Some(times) = &mut watch else { return Ok(()) };
            device.wait()?;
            let ms = clock.elapsed().as_secs_f64() * 1e3;
            times.push(LayerTime { node: node.into(), operator: operator.into(), ms });
            clock = Instant::now();
            Ok(())
        };
        let Maps { pair, scores, deltas, workspace } = &mut self.memory;
        // Which of the pair is read.
        let mut from = 0;
        let input = pair[from].of(device, map.len())?;
        if (map.rows, map.cols) == (rows, cols) {
            device.stream.memcpy_htod(data, input).while_("uploading a picture")?;
        } else {
            let padded = crate::trunk::pad(data, rows, cols, map.rows, map.cols);
            device.stream.memcpy_htod(&padded, input).while_("uploading a picture")?;
        }
        lap("upload", "copy")?;
        let mut convs = plan.convs.iter();
        for step in &self.steps {
            let to = step.output(map);
            let (x, y) = turns(device, pair, from, map, to)?;
            match step {
                Step::Conv(conv) => {
                    // There is one for each, in the same order.
                    let Some(plan) = convs.next() else { continue };
                    conv.run(device, plan, x, y, workspace)?;
                }
                Step::Pool(_, pool) => max_pool(device, *pool, (x, map), (y, to))?,
                Step::Lrn(_, params) => lrn(device, *params, map, x, y)?,
            }
            let (name, kind) = step.named();
            lap(name, kind)?;
            (map, from) = (to, 1 - from);
        }
        self.conv5 = Some((map, from));
        if let (Some(rpn), Some([conv, for_scores, for_deltas])) = (&self.rpn, &plan.rpn) {
            let (x, hidden) = turns(device, pair, from, map, conv.output())?;
            rpn.conv.run(device, conv, x, hidden, workspace)?;
            lap(rpn.conv.name, "Conv")?;
            let parts = [
                (&rpn.scores, for_scores, scores, &mut self.scores),
                (&rpn.deltas, for_deltas, deltas, &mut self.deltas),
            ];
            for (conv, plan, memory, out) in parts {
                out.resize(plan.output().len(), 0.0);
                let y = memory.of(device, out.len())?;
                conv.run(device, plan, hidden, y, workspace)?;
                download(device, Some(y), out)?;
                lap(conv.name, "Conv")?;
            }
        }
        device.wait()
    }

    /// The last picture's map, on the GPU.
    pub fn conv5(&self) -> Option<(Map, &CudaSlice<f32>)> {
        let (map, at) = self.conv5?;
        Some((map, self.memory.pair[at].filled(map.len())?))
    }

    /// Scores and deltas of the last picture, if there is an RPN.
    pub fn rpn(&self) -> Option<(&[f32], &[f32])> {
        self.rpn.as_ref().map(|_| (&self.scores[..], &self.deltas[..]))
    }
}

/// The map that is read and the one that is made.
fn turns<'a>(
    device: &Device,
    [a, b]: &'a mut [Memory; 2],
    from: usize,
    read: Map,
    made: Map,
) -> Result<(&'a CudaSlice<f32>, &'a mut CudaSlice<f32>), CudaError> {
    let (x, y) = if from == 0 { (a, b) } else { (b, a) };
    Ok((x.of(device, read.len())?, y.of(device, made.len())?))
}

impl Step {
    /// The map it makes of another.
    fn output(&self, from: Map) -> Map {
        match self {
            Self::Conv(conv) => conv.output(from),
            Self::Pool(_, pool) => {
                let len = |n| pooled_len(n, pool.kernel, pool.stride, pool.pad);
                Map { rows: len(from.rows), cols: len(from.cols), ..from }
            }
            Self::Lrn(..) => from,
        }
    }

    /// Its name and what it does.
    fn named(&self) -> (&'static str, &'static str) {
        match self {
            Self::Conv(conv) => (conv.name, "Conv"),
            Self::Pool(name, _) => (name, "MaxPool"),
            Self::Lrn(name, _) => (name, "LRN"),
        }
    }
}
