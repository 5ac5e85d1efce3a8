//! Every instruction set this processor has, and both methods, against the sum in f64.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::kernels::LrnWindow;
use rand::{RngExt, SeedableRng};

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

/// The definition, one output at a time.
fn plain(shape: &ConvShape, weight: &[f32], bias: &[f32], x: &[f32], rows: usize, cols: usize) -> Vec<f64> {
    let (inputs, outputs, side) = (shape.input / shape.groups, shape.output / shape.groups, shape.kernel);
    let mut out = Vec::new();
    for (r, c) in (0..shape.out_len(rows)).flat_map(|r| (0..shape.out_len(cols)).map(move |c| (r, c))) {
        for o in 0..shape.output {
            let mut sum = f64::from(bias[o]);
            for (tap, i) in (0..side * side).flat_map(|tap| (0..inputs).map(move |i| (tap, i))) {
                let row = (r * shape.stride + tap / side).wrapping_sub(shape.pad);
                let col = (c * shape.stride + tap % side).wrapping_sub(shape.pad);
                if row < rows && col < cols {
                    let x = x[(row * cols + col) * shape.input + o / outputs * inputs + i];
                    sum += f64::from(x) * f64::from(weight[(o * inputs + i) * side * side + tap]);
                }
            }
            out.push(sum);
        }
    }
    out
}

fn shape(input: usize, output: usize, kernel: usize, stride: usize, pad: usize, groups: usize) -> ConvShape {
    ConvShape { input, output, kernel, stride, pad, groups }
}

/// All kinds in the five networks with fewer channels, and sizes around those of tiles and vectors.
fn cases() -> Vec<(ConvShape, usize, usize)> {
    vec![
        (shape(3, 96, 7, 2, 3, 1), 19, 33),
        (shape(3, 33, 7, 2, 0, 1), 20, 31),
        (shape(3, 31, 11, 4, 5, 1), 29, 67),
        (shape(8, 40, 5, 1, 2, 2), 7, 17),
        (shape(6, 9, 3, 1, 1, 3), 5, 3),
        (shape(1, 1, 1, 1, 0, 1), 1, 1),
        (shape(37, 18, 1, 1, 0, 1), 13, 21),
        (shape(5, 36, 1, 2, 0, 1), 9, 8),
        (shape(4, 65, 3, 2, 2, 1), 6, 11),
        (shape(2, 3, 4, 3, 1, 1), 14, 9),
        (shape(16, 16, 3, 1, 1, 1), 1, 1),
        (shape(17, 33, 3, 1, 1, 1), 9, 13),
        (shape(32, 64, 3, 1, 0, 1), 6, 70),
        (shape(40, 20, 3, 1, 2, 1), 12, 5),
        (shape(16, 48, 5, 2, 2, 1), 23, 31),
        (shape(19, 34, 5, 2, 1, 1), 10, 8),
        (shape(16, 16, 5, 2, 0, 1), 5, 6),
        (shape(64, 32, 3, 1, 1, 1), 66, 67),
    ]
}

#[track_caller]
fn check(conv: &Conv, relu: bool, tolerance: f64, weight: &[f32], bias: &[f32], rows: usize, cols: usize) {
    let shape = conv.shape();
    let x = random(rows * cols * shape.input, 3);
    let mut out = vec![f32::NAN; shape.out_len(rows) * shape.out_len(cols) * shape.output];
    let mut scratch = Scratch::default();
    // A scratch that has been used holds what the run before left there.
    for seed in [4, 3] {
        conv.run(&random(x.len(), seed), rows, cols, relu, &mut scratch, &mut out);
    }
    let want = plain(shape, weight, bias, &x, rows, cols);
    let scale = want.iter().fold(0f64, |m, v| m.max(v.abs()));
    for (i, (got, want)) in out.iter().zip(&want).enumerate() {
        let want = if relu { want.max(0.0) } else { *want };
        let name = format!("{} {} {shape:?} {rows}×{cols}", conv.kernels.name(), conv.method());
        assert!((f64::from(*got) - want).abs() <= tolerance * scale, "{name} at {i}: got {got}, want {want}");
    }
}

#[test]
fn every_instruction_set_and_method_agrees_with_the_sum_in_f64() {
    for kernels in Kernels::available() {
        for (shape, rows, cols) in cases() {
            let (weight, bias) = (random(shape.weights(), 1), random(shape.output, 2));
            let mut methods = vec![(false, None, 1e-5)];
            methods.extend(Bf16::available().into_iter().map(|bf16| (false, Some(bf16), 1e-2)));
            if tiles::supports(&shape) {
                methods.push((true, None, 1e-4));
                methods.extend(Bf16::available().into_iter().map(|bf16| (true, Some(bf16), 2e-2)));
            }
            for (winograd, bf16, tolerance) in methods {
                let conv = Conv::with_method(kernels, shape, &weight, &bias, bf16, winograd);
                for relu in [false, true] {
                    check(&conv, relu, tolerance, &weight, &bias, rows, cols);
                }
            }
        }
    }
    for name in Kernels::NAMES.iter().filter(|n| Kernels::by_name(n).is_none()) {
        eprintln!("skipped: this processor has no {name}");
    }
}

#[test]
fn pooling_on_the_way_gives_the_bits_of_pooling_afterwards() {
    for (shape, rows, cols) in cases() {
        let (weight, bias) = (random(shape.weights(), 1), random(shape.output, 2));
        let x = random(rows * cols * shape.input, 3);
        let from = [shape.out_len(rows), shape.out_len(cols), shape.output];
        let rounded = Bf16::available().into_iter().map(|bf16| (Kernels::best(), Some(bf16)));
        for (kernels, bf16) in Kernels::available().into_iter().map(|k| (k, None)).chain(rounded) {
            let conv = Conv::with_method(kernels, shape, &weight, &bias, bf16, false);
            for (kernel, stride, pad) in [(3, 2, 1), (2, 2, 0), (3, 1, 2)].into_iter().filter(|_| conv.pools()) {
                let pool = PoolShape { kernel, stride, pad };
                let len = |n: usize| crate::model::arch::pooled_len(n, kernel, stride, pad);
                let to = [len(from[0]), len(from[1]), from[2]];
                let (mut map, mut scratch) = (vec![0.0; from.iter().product()], Scratch::default());
                let (mut want, mut got) = (vec![0.0; to.iter().product()], vec![f32::NAN; to.iter().product()]);
                conv.run(&x, rows, cols, true, &mut scratch, &mut map);
                crate::kernels::max_pool(kernels, pool, &map, from, &mut want, to);
                conv.run_pooled(&x, rows, cols, true, (None, pool), &mut scratch, &mut got, to);
                assert_eq!(got, want, "{} {shape:?} {pool:?} {rows}×{cols}", kernels.name());
                for window in [LrnWindow::Square(3), LrnWindow::Square(5), LrnWindow::Square(2), LrnWindow::Channels(5)]
                {
                    let lrn = LrnParams { window, alpha: 0.3, beta: 0.75, k: 1.0 };
                    let mut normal = vec![0.0; map.len()];
                    crate::kernels::lrn(kernels, lrn, &map, from, &mut normal);
                    crate::kernels::max_pool(kernels, pool, &normal, from, &mut want, to);
                    let team = crate::kernels::Team::new(2).unwrap();
                    team.install(|| {
                        conv.run_pooled(&x, rows, cols, true, (Some(lrn), pool), &mut scratch, &mut got, to);
                    });
                    assert_eq!(got, want, "{} {shape:?} {lrn:?} {pool:?} {rows}×{cols}", kernels.name());
                }
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let with = |threads: usize, bf16: Option<Bf16>| {
        let team = crate::kernels::Team::new(threads).unwrap();
        let run = |(shape, rows, cols): (ConvShape, usize, usize)| {
            let conv = Conv::new(Kernels::best(), shape, &random(shape.weights(), 1), &random(shape.output, 2), bf16);
            let x = random(rows * cols * shape.input, 3);
            let mut out = vec![f32::NAN; shape.out_len(rows) * shape.out_len(cols) * shape.output];
            conv.run(&x, rows, cols, true, &mut Scratch::default(), &mut out);
            out
        };
        team.install(|| cases().into_iter().map(run).collect::<Vec<_>>())
    };
    for bf16 in [None, Bf16::available().pop()] {
        let alone = with(1, bf16);
        for threads in [2, 3, 7] {
            assert!(with(threads, bf16) == alone, "{threads} threads, {bf16:?}");
        }
    }
}

#[test]
fn a_map_smaller_than_the_kernel_gives_nothing() {
    let shape = shape(3, 4, 7, 2, 0, 1);
    let conv = Conv::new(Kernels::best(), shape, &random(shape.weights(), 1), &random(4, 2), None);
    conv.run(&random(3 * 5 * 9, 3), 5, 9, true, &mut Scratch::default(), &mut []);
}

#[test]
fn scalar_kernels_keep_to_the_definition() {
    let shape = shape(32, 32, 3, 1, 1, 1);
    let (weight, bias) = (random(shape.weights(), 1), random(32, 2));
    assert_eq!(Conv::new(Kernels::scalar(), shape, &weight, &bias, None).method(), "direct");
}
