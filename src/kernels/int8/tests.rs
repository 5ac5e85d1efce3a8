#![allow(clippy::unwrap_used)]
use super::*;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

/// The definition, number by number, in i64 and with explicit zero points and borders.
#[allow(clippy::too_many_arguments)] // a convolution has that many numbers
fn sums(shape: ConvShape, w: &[i8], bias: &[i32], zeros: &[u8], x: &[u8], rows: usize, cols: usize) -> Vec<i64> {
    let ConvShape { input, output, kernel, stride, pad, groups } = shape;
    let (inputs, outputs) = (input / groups, output / groups);
    let mut out = Vec::new();
    for row in 0..shape.out_len(rows) {
        for col in 0..shape.out_len(cols) {
            for o in 0..output {
                let mut sum = i64::from(bias[o]);
                for c in 0..inputs {
                    let channel = o / outputs * inputs + c;
                    for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                        let (r, q) = (row * stride + ky, col * stride + kx);
                        if r < pad || q < pad || r - pad >= rows || q - pad >= cols {
                            continue;
                        }
                        let x = x[((r - pad) * cols + q - pad) * input + channel];
                        let w = w[((o * inputs + c) * kernel + ky) * kernel + kx];
                        sum += i64::from(w) * (i64::from(x) - i64::from(zeros[channel]));
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

const SHAPES: [(ConvShape, usize, usize); 11] = [
    (ConvShape { input: 20, output: 75, kernel: 3, stride: 1, pad: 1, groups: 1 }, 4, 31),
    (ConvShape { input: 6, output: 66, kernel: 3, stride: 2, pad: 1, groups: 2 }, 9, 5),
    (ConvShape { input: 3, output: 5, kernel: 7, stride: 2, pad: 3, groups: 1 }, 11, 14),
    (ConvShape { input: 3, output: 34, kernel: 11, stride: 4, pad: 2, groups: 1 }, 23, 40),
    (ConvShape { input: 3, output: 66, kernel: 3, stride: 1, pad: 1, groups: 1 }, 6, 9),
    (ConvShape { input: 6, output: 3, kernel: 5, stride: 1, pad: 1, groups: 1 }, 6, 7),
    (ConvShape { input: 16, output: 17, kernel: 5, stride: 2, pad: 2, groups: 1 }, 9, 6),
    (ConvShape { input: 8, output: 6, kernel: 3, stride: 1, pad: 1, groups: 2 }, 5, 7),
    (ConvShape { input: 64, output: 3, kernel: 1, stride: 1, pad: 0, groups: 1 }, 1, 131),
    (ConvShape { input: 65, output: 4, kernel: 1, stride: 1, pad: 0, groups: 1 }, 3, 1),
    (ConvShape { input: 2, output: 2, kernel: 3, stride: 3, pad: 0, groups: 1 }, 2, 9),
];

/// Shapes at which tiles of 16 rows and 64 bytes are full, overlap, or reach beyond what there is.
const TILES: [(ConvShape, usize, usize); 10] = [
    (ConvShape { input: 3, output: 40, kernel: 7, stride: 2, pad: 3, groups: 1 }, 9, 67),
    (ConvShape { input: 64, output: 32, kernel: 3, stride: 1, pad: 1, groups: 1 }, 3, 63),
    (ConvShape { input: 64, output: 33, kernel: 3, stride: 2, pad: 1, groups: 1 }, 3, 34),
    (ConvShape { input: 96, output: 70, kernel: 3, stride: 1, pad: 1, groups: 1 }, 2, 33),
    (ConvShape { input: 24, output: 31, kernel: 3, stride: 1, pad: 1, groups: 1 }, 2, 32),
    (ConvShape { input: 128, output: 66, kernel: 3, stride: 1, pad: 1, groups: 2 }, 2, 17),
    (ConvShape { input: 96, output: 10, kernel: 3, stride: 1, pad: 0, groups: 3 }, 4, 18),
    (ConvShape { input: 64, output: 65, kernel: 1, stride: 1, pad: 0, groups: 1 }, 1, 15),
    (ConvShape { input: 128, output: 96, kernel: 1, stride: 1, pad: 0, groups: 1 }, 13, 23),
    (ConvShape { input: 100, output: 7, kernel: 1, stride: 2, pad: 0, groups: 1 }, 1, 99),
];

/// Maps of so many tiles of Winograd's method that it is used, with fewer outputs in those at the end.
const WINOGRAD: [(ConvShape, usize, usize); 4] = [
    (ConvShape { input: 20, output: 75, kernel: 3, stride: 1, pad: 1, groups: 1 }, 26, 27),
    (ConvShape { input: 33, output: 16, kernel: 3, stride: 1, pad: 2, groups: 1 }, 27, 26),
    (ConvShape { input: 16, output: 17, kernel: 5, stride: 2, pad: 2, groups: 1 }, 44, 35),
    (ConvShape { input: 21, output: 40, kernel: 5, stride: 2, pad: 1, groups: 1 }, 45, 46),
];

#[test]
fn tiles_give_the_bytes_of_the_scalar_kernel() {
    for (shape, rows, cols) in TILES.into_iter().chain(WINOGRAD) {
        let shape = ConvShape { output: shape.output.next_multiple_of(shape.groups), ..shape };
        let (x, zeros) = (some_bytes(rows * cols * shape.input, 5), some_bytes(shape.input, 7));
        let bytes = |dot: Dot| {
            let rescale = Rescale::U8 { factors: vec![0.003; shape.output], zero: 77 };
            let bias: Vec<i32> = (0..shape.output as i32).map(|o| o * 100 - 2000).collect();
            let conv = QuantConv::new(dot, shape, &some_weights(&shape), &bias, &zeros, rescale);
            let mut out = vec![1; shape.out_len(rows) * shape.out_len(cols) * shape.output];
            let mut scratch = QuantScratch::default();
            // The second run finds what the first left behind.
            conv.run(&vec![9; x.len()], rows, cols, &mut scratch, Out::U8(&mut out));
            conv.run(&x, rows, cols, &mut scratch, Out::U8(&mut out));
            out
        };
        let want = bytes(Dot::scalar());
        for dot in Dot::available() {
            assert_eq!(bytes(dot), want, "{} {shape:?}", dot.name());
        }
    }
}

#[test]
fn every_instruction_set_gives_the_sums_of_the_definition() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    for (shape, rows, cols) in SHAPES {
        // Random numbers, and the extremes at which instructions that saturate or wrap would go wrong.
        let extremes = [0, 255].into_iter().flat_map(|x| [127, -127, -128].map(|w| Some((x, w))));
        for extreme in extremes.chain([None]) {
            let mut byte = |value: Option<i32>| value.unwrap_or_else(|| rng.random_range(-128..256));
            let w: Vec<i8> = (0..shape.output * shape.window()).map(|_| byte(extreme.map(|e| e.1)) as i8).collect();
            let x: Vec<u8> = (0..rows * cols * shape.input).map(|_| byte(extreme.map(|e| e.0)) as u8).collect();
            let zeros: Vec<u8> = (0..shape.input).map(|_| byte(extreme.map(|_| 0)) as u8).collect();
            let bias: Vec<i32> = (0..shape.output).map(|_| byte(None) * 1000).collect();
            let want = sums(shape, &w, &bias, &zeros, &x, rows, cols);
            for dot in Dot::available() {
                // Sums below 2^24 are exact in f32, larger ones are compared as it rounds them.
                let rescale = Rescale::F32 { factors: vec![1.0; shape.output], relu: false };
                let conv = QuantConv::new(dot, shape, &w, &bias, &zeros, rescale);
                let mut got = vec![f32::NAN; want.len()];
                conv.run(&x, rows, cols, &mut QuantScratch::default(), Out::F32(&mut got));
                let want: Vec<f32> = want.iter().map(|v| *v as f32).collect();
                assert_eq!(got, want, "{} {shape:?} {extreme:?}", dot.name());
            }
        }
    }
}

/// Bit for bit: results near a half, beyond both ends, and more outputs than a panel has, on every instruction set, and the
/// same on every kind of processor: the digest is that of the scalar kernel on x86-64.
#[test]
fn every_instruction_set_gives_the_bytes_of_the_scalar_kernel() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let mut digest = Sha256::new();
    // Instructions may take a shorter way where no weight is -128.
    for ((shape, rows, cols), least) in SHAPES.into_iter().flat_map(|shape| [(shape, -127), (shape, -128)]) {
        let w: Vec<i8> = (0..shape.output * shape.window()).map(|_| rng.random_range(least..128) as i8).collect();
        let x: Vec<u8> = (0..rows * cols * shape.input).map(|_| rng.random_range(0..256) as u8).collect();
        let zeros: Vec<u8> = (0..shape.input).map(|_| rng.random_range(0..256) as u8).collect();
        let bias: Vec<i32> = (0..shape.output).map(|_| rng.random_range(-9999..9999)).collect();
        let places = shape.out_len(rows) * shape.out_len(cols) * shape.output;
        for (factor, zero) in [(0.015625, 0), (0.5, 255), (0.003, 77)] {
            let bytes = |dot: Dot| {
                let rescale = Rescale::U8 { factors: vec![factor; shape.output], zero };
                let mut out = vec![1; places];
                let conv = QuantConv::new(dot, shape, &w, &bias, &zeros, rescale);
                let mut scratch = QuantScratch::default();
                // The second run finds what the first left behind.
                conv.run(&vec![9; x.len()], rows, cols, &mut scratch, Out::U8(&mut out));
                conv.run(&x, rows, cols, &mut scratch, Out::U8(&mut out));
                out
            };
            let want = bytes(Dot::scalar());
            for dot in Dot::available() {
                assert_eq!(bytes(dot), want, "{} {shape:?} · {factor} + {zero}", dot.name());
            }
            digest.update(want);
        }
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "594a42b22b2631576c9dc289304c8c637d2470f7455dcb4cba37a48b2fa6ad27");
}

/// Sums of Winograd's method are known modulo 2²⁶: right up to the largest that it takes, and layers of larger ones are left to
/// the direct method.
#[test]
fn winograds_sums_are_exact_up_to_the_limit_and_larger_ones_are_computed_directly() {
    let shape = ConvShape { input: 115, output: 18, kernel: 3, stride: 1, pad: 1, groups: 1 };
    let (rows, cols) = (26, 27);
    for (w, method) in [(127, "winograd"), (-127, "winograd"), (-128, "direct")] {
        let (w, bias, zeros) = (vec![w; shape.weights()], vec![-77; shape.output], vec![0; shape.input]);
        for x in [vec![255; rows * cols * shape.input], some_bytes(rows * cols * shape.input, 3)] {
            let want: Vec<f32> =
                sums(shape, &w, &bias, &zeros, &x, rows, cols).into_iter().map(|sum| sum as f32).collect();
            for dot in Dot::available() {
                let rescale = Rescale::F32 { factors: vec![1.0; shape.output], relu: false };
                let conv = QuantConv::new(dot, shape, &w, &bias, &zeros, rescale);
                assert_eq!(conv.method(), if dot.words().is_some() { method } else { "direct" }, "{}", dot.name());
                let mut got = vec![f32::NAN; want.len()];
                conv.run(&x, rows, cols, &mut QuantScratch::default(), Out::F32(&mut got));
                assert_eq!(got, want, "{} {}", dot.name(), w[0]);
            }
        }
    }
}

#[test]
fn pairs_are_those_whose_products_with_any_inputs_fit_into_16_bits() {
    let range = i32::from(i16::MIN)..=i32::from(i16::MAX);
    for (a, b) in (i8::MIN..=i8::MAX).flat_map(|a| (i8::MIN..=i8::MAX).map(move |b| (a, b))) {
        let sum = |x: i32, y: i32| x * i32::from(a) + y * i32::from(b);
        let fits = [(0, 255), (255, 0), (255, 255)].into_iter().all(|(x, y)| range.contains(&sum(x, y)));
        assert_eq!(dot::pair(a, b), fits, "{a} and {b}");
    }
}

#[test]
fn sums_become_u8_by_rounding_halves_to_the_even_and_clamping() {
    let shape = ConvShape { input: 1, output: 1, kernel: 1, stride: 1, pad: 0, groups: 1 };
    let quantised = |x: &[u8], factor: f32, zero: u8| {
        let rescale = Rescale::U8 { factors: vec![factor], zero };
        let conv = QuantConv::new(Dot::scalar(), shape, &[2], &[-10], &[1], rescale);
        let mut out = vec![0; x.len()];
        conv.run(x, 1, x.len(), &mut QuantScratch::default(), Out::U8(&mut out));
        out
    };
    // Sums -12, -10, 0, 2, 4, 6, 498.
    let x = [0, 1, 6, 7, 8, 9, 255];
    assert_eq!(quantised(&x, 0.25, 0), [0, 0, 0, 0, 1, 2, 124]); // 0.5 → 0, 1.5 → 2, 124.5 → 124
    assert_eq!(quantised(&x, 0.25, 128), [125, 126, 128, 128, 129, 130, 252]); // -2.5 → -2
    assert_eq!(quantised(&x, 4.0, 0), [0, 0, 0, 8, 16, 24, 255]);
}

#[test]
fn a_relu_on_real_numbers_is_the_lower_limit() {
    let shape = ConvShape { input: 1, output: 1, kernel: 1, stride: 1, pad: 0, groups: 1 };
    let rescale = Rescale::F32 { factors: vec![0.5], relu: true };
    let conv = QuantConv::new(Dot::scalar(), shape, &[1], &[-2], &[0], rescale);
    let mut out = [f32::NAN; 3];
    conv.run(&[0, 2, 5], 1, 3, &mut QuantScratch::default(), Out::F32(&mut out));
    assert_eq!(out, [0.0, 0.0, 1.5]);
}

#[test]
#[should_panic(expected = "could leave i32")]
fn a_layer_whose_sums_could_overflow_is_refused() {
    let shape = ConvShape { input: 34_000, output: 1, kernel: 1, stride: 1, pad: 0, groups: 1 };
    let rescale = Rescale::F32 { factors: vec![1.0], relu: false };
    QuantConv::new(Dot::scalar(), shape, &vec![127; 34_000], &[0], &vec![0; 34_000], rescale);
}

#[test]
fn pooling_counts_what_is_inside_of_the_map() {
    let x: Vec<u8> = vec![1, 9, 2, 8, 3, 7, 4, 6, 5]; // 3×3, one channel
    let mut out = vec![0; 4];
    for dot in Dot::available() {
        max_pool(dot, PoolShape { kernel: 3, stride: 2, pad: 1 }, &x, [3, 3, 1], &mut out, [2, 2, 1]);
        assert_eq!(out, [9, 9, 8, 7]);
    }
}

/// Windows of more pixels than are taken at a time, and of all kinds of sizes.
#[test]
fn every_instruction_set_pools_as_the_definition_says() {
    for (kernel, stride, pad, channels) in [(3, 2, 1, 96), (3, 2, 0, 17), (2, 2, 0, 5), (5, 1, 2, 40), (4, 3, 1, 33)] {
        for (rows, cols) in [(5, 6), (7, 33)] {
            let to = [rows, cols].map(|n| crate::model::arch::pooled_len(n, kernel, stride, pad));
            let x: Vec<u8> = (0..rows * cols * channels).map(|i| (i * 7919 % 1009 % 256) as u8).collect();
            let want: Vec<u8> = (0..to[0] * to[1] * channels)
                .map(|i| {
                    let (r, q, c) = (i / channels / to[1], i / channels % to[1], i % channels);
                    let near = |at: usize, len: usize| {
                        (0..kernel).map(move |d| at * stride + d).filter(move |p| *p >= pad && p - pad < len)
                    };
                    let all = near(r, rows).flat_map(|r| near(q, cols).map(move |q| (r - pad) * cols + q - pad));
                    all.map(|p| x[p * channels + c]).max().unwrap()
                })
                .collect();
            for dot in Dot::available() {
                let (mut out, pool) = (vec![0; want.len()], PoolShape { kernel, stride, pad });
                max_pool(dot, pool, &x, [rows, cols, channels], &mut out, [to[0], to[1], channels]);
                assert_eq!(out, want, "{} {pool:?} {rows}×{cols}×{channels}", dot.name());
            }
        }
    }
}

fn some_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(0..=255)).collect()
}

fn some_weights(shape: &ConvShape) -> Vec<i8> {
    some_bytes(shape.output * shape.window(), 6).into_iter().map(|b| b as i8).collect()
}

#[test]
fn pooling_on_the_way_gives_the_bytes_of_pooling_afterwards_on_any_number_of_threads() {
    let shapes = SHAPES.into_iter().chain([TILES[0], TILES[3]]);
    for (shape, rows, cols) in shapes.filter(|(s, rows, _)| s.kernel > 1 && s.out_len(*rows) > 0) {
        let (x, w, zeros) =
            (some_bytes(rows * cols * shape.input, 5), some_weights(&shape), some_bytes(shape.input, 7));
        let from = [shape.out_len(rows), shape.out_len(cols), shape.output];
        for (dot, pool) in Dot::available().into_iter().flat_map(|dot| {
            [(3, 2, 1), (2, 2, 0), (3, 1, 2)].map(|(kernel, stride, pad)| (dot, PoolShape { kernel, stride, pad }))
        }) {
            let to = [from[0], from[1]].map(|n| crate::model::arch::pooled_len(n, pool.kernel, pool.stride, pool.pad));
            let rescale = Rescale::U8 { factors: vec![0.004; shape.output], zero: 60 };
            let conv = QuantConv::new(dot, shape, &w, &vec![500; shape.output], &zeros, rescale);
            if conv.method() != "direct" {
                continue;
            }
            let (mut map, mut scratch) = (vec![0; from.iter().product()], QuantScratch::default());
            let mut want = vec![0; to[0] * to[1] * shape.output];
            conv.run(&x, rows, cols, &mut scratch, Out::U8(&mut map));
            max_pool(dot, pool, &map, from, &mut want, [to[0], to[1], shape.output]);
            for threads in [1, 2, 5] {
                let (team, mut got) = (crate::kernels::Team::new(threads).unwrap(), vec![1; want.len()]);
                team.install(|| conv.run_pooled(&x, rows, cols, pool, &mut scratch, &mut got, (to[0], to[1])));
                assert_eq!(got, want, "{} {shape:?} {pool:?} on {threads} threads", dot.name());
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    for (shape, rows, cols) in SHAPES {
        let x = some_bytes(rows * cols * shape.input, 5);
        let rescale = Rescale::U8 { factors: vec![0.004; shape.output], zero: 60 };
        let zeros = some_bytes(shape.input, 7);
        let conv = QuantConv::new(Dot::best(), shape, &some_weights(&shape), &vec![9; shape.output], &zeros, rescale);
        let on = |threads: usize| {
            let mut out = vec![0; shape.out_len(rows) * shape.out_len(cols) * shape.output];
            let team = crate::kernels::Team::new(threads).unwrap();
            team.install(|| conv.run(&x, rows, cols, &mut QuantScratch::default(), Out::U8(&mut out)));
            out
        };
        let alone = on(1);
        for threads in [2, 3, 7] {
            assert_eq!(on(threads), alone, "{shape:?} on {threads} threads");
        }
    }
}

/// Maps as large as the kernel: the order row, column, channel of a fully connected layer's inputs.
#[test]
fn rows_apart_give_what_each_map_gives_alone() {
    for (input, kernel, output, n) in
        [(3, 3, 70, 17), (7, 1, 4, 1), (64, 1, 33, 30), (128, 2, 70, 300), (5, 6, 2, 3), (8, 2, 8, 0)]
    {
        let shape = ConvShape { input, output, kernel, stride: 1, pad: 0, groups: 1 };
        let (len, w) = (shape.window(), some_weights(&shape));
        for dot in Dot::available() {
            let rescale = Rescale::F32 { factors: vec![1.0; output], relu: false };
            let conv = QuantConv::new(dot, shape, &w, &vec![3; output], &some_bytes(input, 2), rescale);
            // With filling between the maps, and results apart, too.
            let (step, out_step) = (len + 5, output + 3);
            let x = some_bytes(n * step, 8);
            let (mut got, mut scratch) = (vec![7.0; n * out_step], QuantScratch::default());
            conv.run_rows(&x, step, n, &mut scratch, Out::F32(&mut got), out_step);
            for (x, got) in x.chunks(step).zip(got.chunks(out_step)) {
                let mut alone = vec![0.0; output];
                conv.run(&x[..len], kernel, kernel, &mut scratch, Out::F32(&mut alone));
                assert_eq!((&got[..output], &got[output..]), (&alone[..], &[7.0; 3][..]), "{} {shape:?}", dot.name());
            }
        }
    }
}

#[test]
fn normalising_on_the_way_gives_the_bytes_of_layer_after_layer() {
    use crate::kernels::{Kernels, LrnParams, LrnWindow};
    let pool = PoolShape { kernel: 3, stride: 2, pad: 1 };
    for (shape, rows, cols) in SHAPES.into_iter().filter(|(s, rows, _)| s.kernel > 1 && s.out_len(*rows) > 0) {
        let (x, zeros) = (some_bytes(rows * cols * shape.input, 5), some_bytes(shape.input, 7));
        let from = [shape.out_len(rows), shape.out_len(cols), shape.output];
        let to = [from[0], from[1]].map(|n| crate::model::arch::pooled_len(n, 3, 2, 1));
        let rescale = Rescale::F32 { factors: vec![0.001; shape.output], relu: true };
        let conv = QuantConv::new(Dot::best(), shape, &some_weights(&shape), &vec![500; shape.output], &zeros, rescale);
        if conv.method() != "direct" {
            continue;
        }
        for window in [LrnWindow::Square(3), LrnWindow::Channels(5), LrnWindow::Square(4)] {
            let lrn = LrnParams { window, alpha: 0.3, beta: 0.75, k: 1.0 };
            let (mut map, mut normal) = (vec![0.0; from.iter().product()], vec![0.0; from.iter().product()]);
            let (mut bytes, mut scratch) = (vec![0; normal.len()], QuantScratch::default());
            let mut want = vec![0; to[0] * to[1] * shape.output];
            conv.run(&x, rows, cols, &mut scratch, Out::F32(&mut map));
            crate::kernels::lrn(Kernels::best(), lrn, &map, from, &mut normal);
            quantize(Kernels::best(), &normal, 0.05, 3, &mut bytes);
            max_pool(Dot::best(), pool, &bytes, from, &mut want, [to[0], to[1], shape.output]);
            let between = Between { lrn, pool, scale: 0.05, zero: 3 };
            for threads in [1, 3] {
                let (team, mut got) = (crate::kernels::Team::new(threads).unwrap(), vec![1; want.len()]);
                let to = (to[0], to[1]);
                let kernels = Kernels::best();
                team.install(|| conv.run_normalised(&x, rows, cols, kernels, between, &mut scratch, &mut got, to));
                assert_eq!(got, want, "{shape:?} {lrn:?} on {threads} threads");
                got.fill(1);
                team.install(|| between.run(kernels, &map, from, &mut scratch, &mut got, to));
                assert_eq!(got, want, "{shape:?} {lrn:?} of a map on {threads} threads");
                let alone = Between { pool: PoolShape { kernel: 1, stride: 1, pad: 0 }, ..between };
                let mut got = vec![1; bytes.len()];
                team.install(|| alone.run(kernels, &map, from, &mut scratch, &mut got, (from[0], from[1])));
                assert_eq!(got, bytes, "{shape:?} {lrn:?} without pooling on {threads} threads");
            }
        }
    }
}
