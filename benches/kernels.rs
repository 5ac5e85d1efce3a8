//! Time of each convolution of ZF at the paper's size on every instruction set of the processor, in f32, bf16 and 8 bits, on one
//! thread and on two. Elements per second are multiplications and additions.
//!
//! `cargo bench --bench kernels -- conv2` runs one layer.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use edge_rcnn::kernels::int8::{Dot, Out, QuantConv, QuantScratch, Rescale};
use edge_rcnn::kernels::{Bf16, Conv, ConvShape, Kernels, Scratch, Team};
use edge_rcnn::model::arch::{Layer, ZF_PLAIN, pooled_len};
use edge_rcnn::model::normals;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A layer with the size of its input.
struct Place {
    name: &'static str,
    shape: ConvShape,
    rows: usize,
    cols: usize,
}

/// The trunk's convolutions and the RPN's first.
fn places() -> Vec<Place> {
    let ([mut rows, mut cols], mut input, mut places) = ([600, 1000], 3, Vec::new());
    for layer in ZF_PLAIN.trunk {
        match *layer {
            Layer::Conv { name, out, kernel, stride, pad, groups } => {
                let shape = ConvShape { input, output: out, kernel, stride, pad, groups };
                places.push(Place { name, shape, rows, cols });
                (rows, cols, input) = (shape.out_len(rows), shape.out_len(cols), out);
            }
            Layer::MaxPool { kernel, stride, pad, .. } => {
                [rows, cols] = [rows, cols].map(|n| pooled_len(n, kernel, stride, pad));
            }
            Layer::Lrn { .. } => (),
        }
    }
    let output = ZF_PLAIN.rpn_channels;
    let shape = ConvShape { input, output, kernel: 3, stride: 1, pad: 1, groups: 1 };
    places.push(Place { name: "rpn_conv", shape, rows, cols });
    places
}

fn convolutions(c: &mut Criterion) {
    for place in places() {
        let mut group = c.benchmark_group(place.name);
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        let outputs = place.shape.out_len(place.rows) * place.shape.out_len(place.cols);
        group.throughput(Throughput::Elements((2 * outputs * place.shape.weights()) as u64));
        for threads in [1, 2] {
            let team = Team::new(threads).unwrap();
            real(&mut group, &place, &team, threads);
            integer(&mut group, &place, &team, threads);
        }
        group.finish();
    }
}

fn real(group: &mut BenchmarkGroup<'_, WallTime>, place: &Place, team: &Team, threads: usize) {
    let Place { shape, rows, cols, .. } = *place;
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let (weight, bias) = (normals(rng, shape.weights(), 0.02), normals(rng, shape.output, 0.1));
    let x = normals(rng, rows * cols * shape.input, 1.0);
    let mut out = vec![0.0; shape.out_len(rows) * shape.out_len(cols) * shape.output];
    let of_f32 = Kernels::available().into_iter().map(|kernels| (kernels.name(), kernels, None));
    let of_bf16 = Bf16::available().into_iter().map(|bf16| (bf16.name(), Kernels::best(), Some(bf16)));
    for (name, kernels, bf16) in of_f32.chain(of_bf16) {
        let (conv, mut scratch) = (Conv::new(kernels, shape, &weight, &bias, bf16), Scratch::default());
        group.bench_function(format!("{name}/{}/{threads}t", conv.method()), |b| {
            b.iter(|| team.install(|| conv.run(&x, rows, cols, true, &mut scratch, &mut out)));
        });
    }
}

fn integer(group: &mut BenchmarkGroup<'_, WallTime>, place: &Place, team: &Team, threads: usize) {
    let Place { shape, rows, cols, .. } = *place;
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let weight: Vec<i8> =
        normals(rng, shape.weights(), 40.0).into_iter().map(|w| w.clamp(-127.0, 127.0) as i8).collect();
    let x: Vec<u8> = normals(rng, rows * cols * shape.input, 60.0).into_iter().map(|x| x as u8).collect();
    let mut out = vec![0; shape.out_len(rows) * shape.out_len(cols) * shape.output];
    for dot in Dot::available() {
        let rescale = Rescale::U8 { factors: vec![1e-3; shape.output], zero: 0 };
        let conv = QuantConv::new(dot, shape, &weight, &vec![0; shape.output], &vec![0; shape.input], rescale);
        let mut scratch = QuantScratch::default();
        group.bench_function(format!("int8-{}/{threads}t", dot.name()), |b| {
            b.iter(|| team.install(|| conv.run(&x, rows, cols, &mut scratch, Out::U8(&mut out))));
        });
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
