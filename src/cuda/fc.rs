//! A fully connected layer, whole or as the two layers of a truncated SVD: `y = W·x + b`, or `y = U·(V·x) + b`.
//!
//! Rows of inputs times a weight of rows of outputs: to cuBLAS, which counts columns first, all three matrices are their
//! transposes, and the weight is turned back.

use cudarc::cublas::{Gemm, GemmConfig, sys::cublasOperation_t};
use cudarc::driver::CudaSlice;

use super::device::{Device, Memory};
use super::error::{CudaError, While, int};
use super::kernels::bias_rows;
use crate::head::HeadError;
use crate::model::{Tensor, Weights};

/// `y[rows][outputs] = x[rows][inputs] · weight[outputs][inputs]ᵀ`.
///
/// # Panics
///
/// If a matrix is too short.
pub fn product(
    device: &Device,
    x: &CudaSlice<f32>,
    weight: &CudaSlice<f32>,
    y: &mut CudaSlice<f32>,
    rows: usize,
    inputs: usize,
    outputs: usize,
) -> Result<(), CudaError> {
    assert!(x.len() >= rows * inputs && weight.len() >= outputs * inputs && y.len() >= rows * outputs);
    let (rows, inputs, outputs) = (int(rows)?, int(inputs)?, int(outputs)?);
    let how = GemmConfig {
        transa: cublasOperation_t::CUBLAS_OP_T,
        transb: cublasOperation_t::CUBLAS_OP_N,
        m: outputs,
        n: rows,
        k: inputs,
        alpha: 1.0,
        lda: inputs,
        ldb: inputs,
        beta: 0.0,
        ldc: outputs,
    };
    // SAFETY: the first matrix has `k`×`m` numbers, the second `k`×`n`, the third `m`×`n` (asserted above), without gaps.
    unsafe { device.blas.gemm(how, weight, x, y) }.while_("a product")
}

/// A weight without its bias.
struct Matrix {
    weight: CudaSlice<f32>,
    inputs: usize,
    outputs: usize,
}

impl Matrix {
    fn take(device: &Device, weights: &mut Weights, layer: &str) -> Result<Self, CudaError> {
        let name = format!("{layer}.weight");
        let Tensor { shape, data } = tensor(weights, name.clone())?;
        let [outputs, inputs] = shape[..] else {
            return Err(HeadError::Shape { name, got: shape, want: "two dimensions, outputs × inputs".into() }.into());
        };
        Ok(Self { weight: device.upload(&data)?, inputs, outputs })
    }

    fn run(&self, device: &Device, x: &CudaSlice<f32>, rows: usize, y: &mut CudaSlice<f32>) -> Result<(), CudaError> {
        product(device, x, &self.weight, y, rows, self.inputs, self.outputs)
    }
}

fn tensor(weights: &mut Weights, name: String) -> Result<Tensor, HeadError> {
    weights.0.remove(&name).ok_or(HeadError::Missing(name))
}

/// One layer as the network names it.
pub struct Layer {
    /// `V` of a pair.
    first: Option<Matrix>,
    last: Matrix,
    bias: CudaSlice<f32>,
    relu: bool,
}

impl Layer {
    /// Takes a layer's tensors out of the weights and uploads them.
    pub fn take(device: &Device, weights: &mut Weights, layer: &str, relu: bool) -> Result<Self, CudaError> {
        let (v, u) = (format!("{layer}_v"), format!("{layer}_u"));
        let pair = weights.has_layer(&v);
        let first = if pair { Some(Matrix::take(device, weights, &v)?) } else { None };
        let name = if pair { u.as_str() } else { layer };
        let last = Matrix::take(device, weights, name)?;
        let bias = device.upload(&tensor(weights, format!("{name}.bias"))?.data)?;
        Ok(Self { first, last, bias, relu })
    }

    /// Values it takes.
    pub fn inputs(&self) -> usize {
        self.first.as_ref().unwrap_or(&self.last).inputs
    }

    /// Values it makes.
    pub fn outputs(&self) -> usize {
        self.last.outputs
    }

    /// `y` becomes the outputs for `rows` inputs; `middle` is memory for what is between the two of a pair.
    pub fn run(
        &self,
        device: &Device,
        x: &CudaSlice<f32>,
        rows: usize,
        middle: &mut Memory,
        y: &mut CudaSlice<f32>,
    ) -> Result<(), CudaError> {
        match &self.first {
            None => self.last.run(device, x, rows, y)?,
            Some(first) => {
                let middle = middle.of(device, rows * first.outputs)?;
                first.run(device, x, rows, middle)?;
                self.last.run(device, middle, rows, y)?;
            }
        }
        bias_rows(device, y, &self.bias, rows, self.relu)
    }
}
