//! Runs one of a bundle's ONNX files in rten whenever it is asked to, and says how many milliseconds it took. The words are
//! those of `examples/stopwatch.rs`.
//!
//!     peer-rten FILE INPUT DIMS OUT THREADS        # DIMS such as 1x3x600x1000; INPUT holds as many numbers, f32

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rten::{ModelOptions, RunOptions, ThreadPool, Value};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

const WARM_UP: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, input, dims, out, threads] = &args[..] else {
        return Err("give FILE INPUT DIMS OUT THREADS".into());
    };
    let bytes = std::fs::read(input)?;
    let data: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let dims = dims.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(model)?;
    let input: Value = match dims[..] {
        [a, b] => NdTensor::from_data([a, b], data).into(),
        [a, b, c, d] => NdTensor::from_data([a, b, c, d], data).into(),
        _ => return Err("DIMS: two or four numbers".into()),
    };
    let (from, to) = (model.input_ids()[0], model.output_ids());
    let pool = Arc::new(ThreadPool::with_num_threads(threads.parse()?));
    let run = || {
        let mut options = RunOptions::default();
        options.thread_pool = Some(pool.clone());
        model.run(vec![(from, input.as_view().into())], to, Some(options))
    };
    for _ in 1..WARM_UP {
        run()?;
    }
    std::fs::create_dir_all(out)?;
    for (id, value) in to.iter().zip(run()?) {
        let name = model.node_info(*id).and_then(|n| n.name().map(String::from)).ok_or("an output without name")?;
        let values: rten_tensor::Tensor<f32> = value.try_into()?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(Path::new(out).join(format!("{name}.f32")), bytes)?;
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{{\"kernels\":\"rten\"}}")?;
    stdout.flush()?;
    for line in io::stdin().lock().lines() {
        if line?.trim() != "run" {
            break;
        }
        let start = Instant::now();
        run()?;
        writeln!(stdout, "{:.4}", start.elapsed().as_secs_f64() * 1e3)?;
        stdout.flush()?;
    }
    Ok(())
}
