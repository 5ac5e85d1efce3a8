//! RoI max pooling with its backward pass along the argmax (Fast R-CNN eq. 4).
//!
//! The positions of the maxima come from the detector's own kernel; gathering at those positions is differentiable,
//! and its gradient is exactly the rule of the paper: each output's gradient flows to the one cell that won.

use tch::{Device, Kind, Tensor};

use crate::boxes::BBox;
use crate::head::{MapView, roi_pool};

/// Pools RoIs (pixels of the network input) from the map `[1, C, h, w]` to `[n, C·P·P]`, f32.
pub fn roi_pool_tensor(map: &Tensor, rois: &[BBox], spatial_scale: f32, pool_size: usize) -> Tensor {
    let size = map.size();
    let (channels, rows, cols) = (size[1] as usize, size[2] as usize, size[3] as usize);
    let flat = map.to_kind(Kind::Float).contiguous().view([channels as i64, -1]);
    let values = to_vec(&flat);
    let (mut out, mut argmax) = (Vec::new(), Vec::new());
    let view = MapView { data: &values, channels, rows, cols };
    roi_pool(view, rois, spatial_scale, pool_size, &mut out, Some(&mut argmax));

    // Gather along the cells of each channel: indices as channel × (roi, bin). Empty bins point past the end, at a
    // column of zeros.
    let bins = pool_size * pool_size;
    let per_channel = rois.len() * bins;
    let nothing = (rows * cols) as i64;
    let mut index = vec![nothing; channels * per_channel];
    for (n, roi) in argmax.chunks_exact(channels * bins).enumerate() {
        for (c, winners) in roi.chunks_exact(bins).enumerate() {
            let row = &mut index[c * per_channel + n * bins..][..bins];
            for (slot, &cell) in row.iter_mut().zip(winners) {
                if cell >= 0 {
                    *slot = i64::from(cell);
                }
            }
        }
    }
    let index = Tensor::from_slice(&index).view([channels as i64, per_channel as i64]).to_device(map.device());
    let padded = flat.constant_pad_nd([0, 1]);
    let (n, c, b) = (rois.len() as i64, channels as i64, bins as i64);
    padded.gather(1, &index, false).view([c, n, b]).permute([1, 0, 2]).contiguous().view([n, c * b])
}

/// The elements of a tensor as f32, in row-major order.
pub fn to_vec(t: &Tensor) -> Vec<f32> {
    let t = t.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
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
        let loss = |m: &Tensor| (roi_pool_tensor(m, &rois, 1.0 / 16.0, 3) * &weight).sum(Kind::Float);

        let mut direct = Vec::new();
        let values = to_vec(&map);
        let view = MapView { data: &values, channels: 2, rows: 5, cols: 7 };
        roi_pool(view, &rois, 1.0 / 16.0, 3, &mut direct, None);
        assert_eq!(to_vec(&roi_pool_tensor(&map, &rois, 1.0 / 16.0, 3)), direct);

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
