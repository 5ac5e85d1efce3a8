#![allow(clippy::unwrap_used)]
use super::*;
use rand::{RngExt, SeedableRng};

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

const SHAPES: [(ConvShape, usize, usize); 8] = [
    (ConvShape { input: 20, output: 75, kernel: 3, stride: 1, pad: 1, groups: 1 }, 4, 31),
    (ConvShape { input: 6, output: 66, kernel: 3, stride: 2, pad: 1, groups: 2 }, 9, 5),
    (ConvShape { input: 3, output: 5, kernel: 7, stride: 2, pad: 3, groups: 1 }, 11, 14),
    (ConvShape { input: 16, output: 17, kernel: 5, stride: 2, pad: 2, groups: 1 }, 9, 6),
    (ConvShape { input: 8, output: 6, kernel: 3, stride: 1, pad: 1, groups: 2 }, 5, 7),
    (ConvShape { input: 64, output: 3, kernel: 1, stride: 1, pad: 0, groups: 1 }, 1, 131),
    (ConvShape { input: 65, output: 4, kernel: 1, stride: 1, pad: 0, groups: 1 }, 3, 1),
    (ConvShape { input: 2, output: 2, kernel: 3, stride: 3, pad: 0, groups: 1 }, 2, 9),
];

#[test]
fn every_instruction_set_gives_the_sums_of_the_definition() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    for (shape, rows, cols) in SHAPES {
        // Random numbers, and the two extremes at which saturating instructions would go wrong.
        for extreme in [None, Some((255, 127)), Some((255, -128))] {
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

/// Bit for bit: results near a half, beyond both ends, and more outputs than a panel has, on every instruction set.
#[test]
fn every_instruction_set_gives_the_bytes_of_the_scalar_kernel() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    for (shape, rows, cols) in SHAPES {
        let w: Vec<i8> = (0..shape.output * shape.window()).map(|_| rng.random_range(-128..128) as i8).collect();
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
        }
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
    max_pool(&x, (3, 3), 1, (3, 2, 1), &mut out, (2, 2));
    assert_eq!(out, [9, 9, 8, 7]);
}
