use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The definition: Caffe's loops in their order.
fn plain(map: MapView<'_>, rois: &[BBox], spatial_scale: f32, pool_size: usize) -> (Vec<f32>, Vec<i32>) {
    let (mut out, mut argmax) = (Vec::new(), Vec::new());
    for roi in rois {
        let grid = Grid::new(roi, spatial_scale, pool_size, map.rows, map.cols);
        for plane in map.data.chunks_exact(map.rows * map.cols) {
            for bin in 0..pool_size * pool_size {
                let (rows, columns) = grid.bin(bin / pool_size, bin % pool_size);
                let empty = rows.is_empty() || columns.is_empty();
                let (mut best, mut position) = (if empty { 0.0 } else { -f32::MAX }, -1);
                for row in rows {
                    for col in columns.clone() {
                        let at = row * map.cols + col;
                        if plane[at] > best {
                            (best, position) = (plane[at], at as i32);
                        }
                    }
                }
                out.push(best);
                argmax.push(position);
            }
        }
    }
    (out, argmax)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn the_fast_form_is_the_definition_with_and_without_argmax(
        seed in any::<u64>(), channels in 1usize..9, rows in 1usize..14, cols in 1usize..14, pool in 1usize..8,
        corners in prop::collection::vec(prop::array::uniform4(-100.0f32..300.0), 0..6), ties in any::<bool>(),
    ) {
        let mut data = noise(channels * rows * cols, seed);
        if ties {
            data.iter_mut().for_each(|v| *v = (*v * 2.0).round());
        }
        data[0] = f32::NAN;
        let map = MapView { data: &data, channels, rows, cols };
        let rois: Vec<BBox> = corners.iter().map(|&[x1, y1, x2, y2]| BBox::new(x1, y1, x2, y2)).collect();
        let (mut alone, mut out, mut argmax) = (vec![9.0; 7], vec![9.0; 3], vec![7; 5]);
        roi_pool(map, &rois, 1.0 / 16.0, pool, &mut alone, None);
        roi_pool(map, &rois, 1.0 / 16.0, pool, &mut out, Some(&mut argmax));
        let want = plain(map, &rois, 1.0 / 16.0, pool);
        prop_assert_eq!((&alone, &out, &argmax), (&want.0, &want.0, &want.1));
        let (mut memory, mut turned, mut bins) = <(Rectangles<f32>, Vec<f32>, RoiBins)>::default();
        bins.set(&rois, 1.0 / 16.0, pool, rows, cols);
        let mut cells = vec![9.0; want.0.len()];
        pool_cells(&memory.prepare(Kernels::best(), turn(map, &mut turned), 0.0), &bins, &mut cells, channels * pool * pool);
        for (i, value) in cells.iter().enumerate() {
            let (roi, bin, channel) = (i / (channels * pool * pool), i / channels % (pool * pool), i % channels);
            prop_assert_eq!(*value, want.0[(roi * channels + channel) * pool * pool + bin]);
        }
    }
}

#[test]
fn a_whole_map_in_one_bin_gives_the_maximum_and_its_position() {
    let data = [1.0, 5.0, 2.0, 5.0, -3.0, -1.0, -2.0, -1.5];
    let map = MapView { data: &data, channels: 2, rows: 2, cols: 2 };
    let (mut out, mut argmax) = (Vec::new(), Vec::new());
    let whole = [BBox::new(0.0, 0.0, 31.0, 31.0)];
    roi_pool(map, &whole, 1.0 / 16.0, 1, &mut out, Some(&mut argmax));
    assert_eq!((out, argmax), (vec![5.0, -1.0], vec![1, 1]));
}

#[test]
fn a_map_without_cells_gives_zeros_and_wild_corners_do_no_harm() {
    let (mut out, mut argmax) = (vec![3.0; 4], Vec::new());
    let empty = MapView { data: &[], channels: 2, rows: 0, cols: 5 };
    roi_pool(empty, &[BBox::default()], 0.0625, 2, &mut out, Some(&mut argmax));
    assert_eq!((out.as_slice(), argmax.as_slice()), (&[0.0; 8][..], &[-1; 8][..]));
    let one = MapView { data: &[4.0], channels: 1, rows: 1, cols: 1 };
    let wild = [BBox::new(f32::NEG_INFINITY, -1e30, f32::INFINITY, 1e30), BBox::new(f32::NAN, 0.0, f32::NAN, 0.0)];
    roi_pool(one, &wild, 0.0625, 1, &mut out, None);
    assert_eq!(out, [4.0, 4.0]);
}
