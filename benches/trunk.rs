//! Time of the trunk (convolutions, LRN, pooling, RPN) at the paper's size, 600×1000, for one and for two threads.
//!
//! `cargo bench --bench trunk`. Random weights stored as f16, as released bundles are. `M` has the LRN across channels,
//! `zf` the one within a channel, `zf-plain` none.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use edge_rcnn::model::arch::{VGG_CNN_M_1024, ZF, ZF_PLAIN};
use edge_rcnn::model::{Bundle, Manifest, StorageType, Weights, normals};
use edge_rcnn::trunk::Trunk;
use rand::SeedableRng;

const HEIGHT: usize = 600;
const WIDTH: usize = 1000;

fn trunks(c: &mut Criterion) {
    let image = normals(&mut rand_chacha::ChaCha8Rng::seed_from_u64(1), 3 * HEIGHT * WIDTH, 60.0);
    let mut group = c.benchmark_group("trunk_600x1000");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    for network in [&ZF_PLAIN, &ZF, &VGG_CNN_M_1024] {
        let weights = Weights::he_random(network, 1, Some(9), Some(1), 1);
        let manifest = Manifest::new("bench", network, vec!["thing".into()]);
        let bundle = Bundle::from_weights(network, &weights, manifest, StorageType::F16).unwrap();
        for threads in [1, 2] {
            let trunk = Trunk::new(&bundle, threads).unwrap();
            group.bench_function(format!("{}_{threads}t", network.name), |b| {
                b.iter(|| trunk.run_planar(&image, HEIGHT, WIDTH).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, trunks);
criterion_main!(benches);
