//! RoI pooling, the fully connected layers and softmax; only boxes go up, scores and deltas come down.
//!
//! ```text
//! conv5, boxes ─► roi_pool ─► fc6 ─ relu ─► fc7 ─ relu ─┬─► cls_score ─ softmax ─► scores
//!                 C·P·P each                            └─► bbox_pred ───────────► deltas
//! ```
//!
//! Pooled RoIs stay in the order of the weights' file (channel, row, column).

use cudarc::driver::CudaSlice;

use super::device::{Device, Memory};
use super::dnn::Map;
use super::error::{CudaError, While};
use super::fc::Layer;
use super::kernels::{roi_pool, softmax};
use crate::boxes::BBox;
use crate::head::{HeadError, HeadOutput};
use crate::model::{Weights, arch::FEATURE_STRIDE};

/// RoI pooling and the layers after it.
pub struct Head {
    fc6: Layer,
    fc7: Layer,
    cls_score: Layer,
    bbox_pred: Layer,
    /// Cells along a side of a pooled RoI.
    side: usize,
    /// Of the last picture.
    rois: usize,
    corners: Vec<f32>,
    boxes: Memory,
    pooled: Memory,
    middle: Memory,
    six: Memory,
    seven: Memory,
    scores: Memory,
    deltas: Memory,
}

impl Head {
    /// Uploads the weights.
    pub fn new(device: &Device, mut weights: Weights, side: usize) -> Result<Self, CudaError> {
        let mut layer = |name, relu| Layer::take(device, &mut weights, name, relu);
        Ok(Self {
            fc6: layer("fc6", true)?,
            fc7: layer("fc7", true)?,
            cls_score: layer("cls_score", false)?,
            bbox_pred: layer("bbox_pred", false)?,
            side,
            rois: 0,
            corners: Vec::new(),
            boxes: Memory::default(),
            pooled: Memory::default(),
            middle: Memory::default(),
            six: Memory::default(),
            seven: Memory::default(),
            scores: Memory::default(),
            deltas: Memory::default(),
        })
    }

    /// Pools the boxes from a map, and waits for it.
    pub fn pool(&mut self, device: &Device, map: Map, x: &CudaSlice<f32>, rois: &[BBox]) -> Result<(), CudaError> {
        self.rois = rois.len();
        if rois.is_empty() {
            return Ok(());
        }
        self.corners.clear();
        self.corners.extend(rois.iter().flat_map(|b| [b.x1, b.y1, b.x2, b.y2]));
        let boxes = self.boxes.of(device, self.corners.len())?;
        device.stream.memcpy_htod(&self.corners, boxes).while_("uploading boxes")?;
        let pooled = self.pooled.of(device, rois.len() * map.channels * self.side * self.side)?;
        let scale = 1.0 / FEATURE_STRIDE as f32;
        roi_pool(device, (x, map), (boxes, rois.len()), (self.side, scale), pooled)?;
        device.wait()
    }

    /// The last pooled boxes.
    pub fn pooled(&self, device: &Device) -> Result<Vec<f32>, CudaError> {
        let mut values = vec![0.0; self.rois * self.fc6.inputs()];
        download(device, self.pooled.filled(values.len()), &mut values)?;
        Ok(values)
    }

    /// The last pooled boxes to scores and deltas.
    pub fn run(&mut self, device: &Device, out: &mut HeadOutput) -> Result<(), CudaError> {
        let (n, outputs) = (self.rois, self.cls_score.outputs());
        (out.rois, out.outputs) = (n, outputs);
        out.scores.resize(n * outputs, 0.0);
        out.deltas.resize(n * self.bbox_pred.outputs(), 0.0);
        if n == 0 {
            return Ok(());
        }
        let inputs = self.fc6.inputs();
        let wrong = HeadError::Input { got: 0, rois: n, inputs };
        let pooled = self.pooled.filled(n * inputs).ok_or(wrong)?;
        let six = self.six.of(device, n * self.fc6.outputs())?;
        self.fc6.run(device, pooled, n, &mut self.middle, six)?;
        let seven = self.seven.of(device, n * self.fc7.outputs())?;
        self.fc7.run(device, six, n, &mut self.middle, seven)?;
        let scores = self.scores.of(device, out.scores.len())?;
        self.cls_score.run(device, seven, n, &mut self.middle, scores)?;
        softmax(device, scores, n, outputs)?;
        let deltas = self.deltas.of(device, out.deltas.len())?;
        self.bbox_pred.run(device, seven, n, &mut self.middle, deltas)?;
        download(device, Some(scores), &mut out.scores)?;
        download(device, Some(deltas), &mut out.deltas)
    }
}

/// The first numbers of what is on the GPU, once everything asked for before is done.
pub fn download(device: &Device, from: Option<&CudaSlice<f32>>, to: &mut [f32]) -> Result<(), CudaError> {
    let Some(from) = from.filter(|_| !to.is_empty()) else { return Ok(()) };
    device.stream.memcpy_dtoh(&from.slice(..to.len()), to).while_("downloading")?;
    device.wait()
}
