//! Options that say what network is trained, and where.

use clap::ValueEnum;
use edge_rcnn::model::Architecture;
use edge_rcnn::train::TrainError;
use edge_rcnn::train::net::NetConfig;
use tch::{Device, Kind};

/// Arithmetic of the large products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// bfloat16 products, f32 parameters: twice as fast on processors that have it.
    Bf16,
}

/// What network is trained, and where.
#[derive(Debug, clap::Args)]
pub struct NetArgs {
    /// Network: zf, zf-plain, vgg16, vgg-cnn-m-1024 or caffenet.
    #[arg(long, default_value = "zf-plain")]
    architecture: String,
    /// Batch normalisation after each hidden layer, folded into the weights at export.
    #[arg(long)]
    batch_norm: bool,
    /// Train fc6 and fc7 as factored pairs of these ranks, e.g. 1024,256.
    #[arg(long, value_delimiter = ',')]
    ranks: Option<Vec<usize>>,
    /// Arithmetic.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Probability of dropping an fc activation.
    #[arg(long, default_value_t = 0.5)]
    dropout: f64,
    /// Train on the GPU of this number.
    #[arg(long)]
    cuda: Option<usize>,
    /// CPU threads.
    #[arg(long)]
    threads: Option<i32>,
}

impl NetArgs {
    /// The network and the device.
    pub fn resolve(&self) -> Result<(NetConfig, Device), TrainError> {
        let arch = Architecture::by_name(&self.architecture).ok_or_else(|| {
            TrainError::Config(format!("no network {:?}; there are {}", self.architecture, Architecture::names()))
        })?;
        if let Some(n) = self.threads {
            tch::set_num_threads(n);
        }
        let device = match self.cuda {
            None => Device::Cpu,
            Some(_) if !tch::Cuda::is_available() => {
                return Err(TrainError::Config("--cuda: libtorch finds no usable GPU here".into()));
            }
            Some(n) => Device::Cuda(n),
        };
        let ranks = match self.ranks.as_deref() {
            None => None,
            Some(&[fc6, fc7]) => Some([fc6, fc7]),
            Some(_) => return Err(TrainError::Config("--ranks: expected two numbers, e.g. 1024,256".into())),
        };
        let config = NetConfig {
            arch,
            batch_norm: self.batch_norm,
            ranks,
            precision: if self.precision == Precision::Bf16 { Kind::BFloat16 } else { Kind::Float },
            dropout: self.dropout,
        };
        Ok((config, device))
    }
}
