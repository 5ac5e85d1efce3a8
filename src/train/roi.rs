//! RoI max pooling with its backward pass along the argmax (Fast R-CNN eq. 4).
//!
//! The positions of the maxima come from the detector's own kernel; gathering at those positions is differentiable,
//! and its gradient is exactly the rule of the paper: each output's gradient flows to the one cell that won.

use tch::{Device, Kind, Tensor};

use crate::boxes::BBox;
use crate::head::{MapView, roi_pool};

/// Which cell of the map is the largest of each bin.
#[derive(Debug)]
pub struct Maxima {
    /// `[C, n·P·P]`; one past the last cell for a bin without cells.
    cells: Tensor,
    rois: i64,
}

impl Maxima {
    /// Of RoIs in pixels of the network input, for a map on this device.
    pub fn find(map: MapView<'_>, rois: &[BBox], spatial_scale: f32, pool_size: usize, device: Device) -> Self {
        let (mut out, mut argmax) = (Vec::new(), Vec::new());
        roi_pool(map, rois, spatial_scale, pool_size, &mut out, Some(&mut argmax));
        let bins = pool_size * pool_size;
        let per_channel = rois.len() * bins;
        let mut cells = vec![(map.rows * map.cols) as i32; map.channels * per_channel];
        for (n, roi) in argmax.chunks_exact(map.channels * bins).enumerate() {
            for (c, winners) in roi.chunks_exact(bins).enumerate() {
                let row = &mut cells[c * per_channel + n * bins..][..bins];
                for (slot, &cell) in row.iter_mut().zip(winners) {
                    if cell >= 0 {
                        *slot = cell;
                    }
                }
            }
        }
        // They travel to a GPU as half as many bytes as `gather` wants.
        let cells = Tensor::from_slice(&cells).to_device(device).to_kind(Kind::Int64);
        Self { cells: cells.view([map.channels as i64, per_channel as i64]), rois: rois.len() as i64 }
    }

    /// The numbers there, from the map `[1, C, h, w]` to `[n, C·P·P]`, f32. Their gradients go back to these cells alone.
    pub fn gather(&self, map: &Tensor) -> Tensor {
        let channels = map.size()[1];
        // Bins without cells point at a column of zeros past the end.
        let padded = map.to_kind(Kind::Float).contiguous().view([channels, -1]).constant_pad_nd([0, 1]);
        let pooled = padded.gather(1, &self.cells, false).view([channels, self.rois, -1]);
        pooled.permute([1, 0, 2]).contiguous().view([self.rois, -1])
    }
}

/// The elements of a tensor as f32, in row-major order.
pub fn to_vec(t: &Tensor) -> Vec<f32> {
    // Converted and put in order where it lies.
    let t = t.detach().to_kind(Kind::Float).contiguous().to_device(Device::Cpu);
    let mut out = vec![0f32; t.numel()];
    t.copy_data(&mut out, t.numel());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_equal_the_detectors_own_pooling_and_gradients_match_finite_differences() {
        tch::manual_seed(5);
        let map = Tensor::randn([1, 2, 5, 7], (Kind::Float, Device::Cpu));
        let rois = [
            BBox::new(0.0, 0.0, 111.0, 79.0),
            BBox::new(20.0, 10.0, 24.0, 60.0),
            BBox::new(90.0, 60.0, 200.0, 300.0), // partly outside: empty bins
        ];
        let weight = Tensor::randn([3, 2 * 9], (Kind::Float, Device::Cpu));
        let pooled = |m: &Tensor| {
            let values = to_vec(m);
            let view = MapView { data: &values, channels: 2, rows: 5, cols: 7 };
            Maxima::find(view, &rois, 1.0 / 16.0, 3, Device::Cpu).gather(m)
        };
        let loss = |m: &Tensor| (pooled(m) * &weight).sum(Kind::Float);

        let mut direct = Vec::new();
        let values = to_vec(&map);
        let view = MapView { data: &values, channels: 2, rows: 5, cols: 7 };
        roi_pool(view, &rois, 1.0 / 16.0, 3, &mut direct, None);
        assert_eq!(to_vec(&pooled(&map)), direct);

        let x = map.copy().set_requires_grad(true);
        loss(&x).backward();
        let gradient = to_vec(&x.grad());
        for (i, &got) in gradient.iter().enumerate() {
            let moved = |h: f64| {
                let y = map.copy();
                let _ = y.view([-1]).get(i as i64).g_add_scalar_(h);
                loss(&y).double_value(&[])
            };
            let numeric = (moved(5e-3) - moved(-5e-3)) / 1e-2;
            assert!((numeric - f64::from(got)).abs() < 2e-3, "cell {i}: {numeric} by differences, {got} by backward");
        }
    }
}
