//! The part of cuDNN that we use: one convolution at a time, on channel-major f32 maps. Each handle frees itself.
//!
//! The calls are cuDNN's old ones, not its graphs: they do what they say on every version since 7, and leave the choice of
//! the algorithm to us.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;

use cudarc::cudnn::{result, sys};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut};

use super::error::{CudaError, While, int};

/// A way to compute a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    /// cuDNN's name of it.
    pub kind: sys::cudnnConvolutionFwdAlgo_t,
    /// What products are computed in.
    pub math: sys::cudnnMathType_t,
}

/// Channels, rows and columns of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// Planes.
    pub channels: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub cols: usize,
}

impl Map {
    /// Numbers of a plane.
    pub fn plane(&self) -> usize {
        self.rows * self.cols
    }

    /// Numbers of the map.
    pub fn len(&self) -> usize {
        self.channels * self.plane()
    }
}

/// A handle of cuDNN.
pub struct Dnn {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
}

// SAFETY: cuDNN allows a handle to move between threads as long as one at a time uses it, and `Dnn` is not `Sync`.
unsafe impl Send for Dnn {}

impl Dnn {
    /// A handle whose work goes to `stream`, in whose context the calling thread is.
    pub fn new(stream: Arc<CudaStream>) -> Result<Self, CudaError> {
        let dnn = Self { handle: result::create_handle().while_("starting cuDNN")?, stream };
        // SAFETY: the handle was made above, the stream lives as long as `dnn`.
        unsafe { result::set_stream(dnn.handle, dnn.stream.cu_stream() as _) }.while_("starting cuDNN")?;
        Ok(dnn)
    }

    /// Ways to compute a convolution, best guess first, each with the bytes of working memory it takes.
    pub fn algorithms(&self, conv: &Convolution, filter: &Filter) -> Result<Vec<(Algorithm, usize)>, CudaError> {
        const MOST: usize = sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_COUNT as usize * 2;
        let mut found = [MaybeUninit::<sys::cudnnConvolutionFwdAlgoPerf_t>::uninit(); MOST];
        let mut count = 0;
        // SAFETY: all handles live; `found` has room for as many as are asked for, and `count` for their number.
        unsafe {
            result::get_convolution_forward_algorithm(
                self.handle,
                conv.from.0,
                filter.0,
                conv.handle.0,
                conv.to.0,
                MOST as i32,
                &mut count,
                found.as_mut_ptr().cast(),
            )
        }
        .while_("asking cuDNN for algorithms")?;
        let count = usize::try_from(count).unwrap_or(0).min(MOST);
        // SAFETY: cuDNN has written the first `count`.
        let found = found[..count].iter().map(|one| unsafe { one.assume_init_read() });
        let works = found.filter(|one| one.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS);
        Ok(works.map(|one| (Algorithm { kind: one.algo, math: one.mathType }, one.memory)).collect())
    }

    /// Bytes of working memory that an algorithm takes; an error if it does not do this convolution.
    pub fn workspace(&self, conv: &Convolution, filter: &Filter, algorithm: Algorithm) -> Result<usize, CudaError> {
        // SAFETY: all handles live.
        let bytes = unsafe {
            result::get_convolution_forward_workspace_size(
                self.handle,
                conv.from.0,
                filter.0,
                conv.handle.0,
                conv.to.0,
                algorithm.kind,
            )
        };
        bytes.while_("asking cuDNN for working memory")
    }

    /// Computes `y` from `x`; `workspace` is at least what the algorithm takes.
    ///
    /// # Panics
    ///
    /// If a map is shorter than the convolution's.
    pub fn forward(
        &self,
        conv: &Convolution,
        (filter, weight): (&Filter, &CudaSlice<f32>),
        algorithm: Algorithm,
        x: &CudaSlice<f32>,
        y: &mut CudaSlice<f32>,
        workspace: &mut CudaSlice<f32>,
    ) -> Result<(), CudaError> {
        assert!(x.len() >= conv.input.len() && y.len() >= conv.output.len(), "{conv:?}");
        let (alpha, beta) = (1.0f32, 0.0f32);
        let bytes = workspace.num_bytes();
        let (x, _x) = x.device_ptr(&self.stream);
        let (y, _y) = y.device_ptr_mut(&self.stream);
        let (weight, _weight) = weight.device_ptr(&self.stream);
        let (workspace, _workspace) = workspace.device_ptr_mut(&self.stream);
        // SAFETY: all handles live; maps are as long as their descriptors say (asserted), the weight was uploaded with the
        // shape of its filter, and the working memory's size is given. With beta 0 what was in `y` is not read.
        let done = unsafe {
            result::convolution_forward(
                self.handle,
                (&raw const alpha).cast(),
                conv.from.0,
                x as *const c_void,
                filter.0,
                weight as *const c_void,
                conv.handle.0,
                algorithm.kind,
                workspace as *mut c_void,
                bytes,
                (&raw const beta).cast(),
                conv.to.0,
                y as *mut c_void,
            )
        };
        done.while_("a convolution")
    }
}

impl Drop for Dnn {
    fn drop(&mut self) {
        // Nothing could be done about a failure, nor is anything left to be used.
        let _ = self.stream.context().bind_to_thread();
        // SAFETY: the handle was made by `new` and is not used again.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

macro_rules! descriptor {
    ($name:ident, $raw:ident, $destroy:ident, $what:literal) => {
        #[doc = $what]
        #[derive(Debug)]
        pub struct $name(sys::$raw);

        // SAFETY: a descriptor is plain memory of the host's, which any one thread at a time may use.
        unsafe impl Send for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the descriptor was made by its constructor and is not used again.
                let _ = unsafe { result::$destroy(self.0) };
            }
        }
    };
}

descriptor!(Tensor, cudnnTensorDescriptor_t, destroy_tensor_descriptor, "What a map looks like.");
descriptor!(Filter, cudnnFilterDescriptor_t, destroy_filter_descriptor, "What a weight looks like.");
descriptor!(Handle, cudnnConvolutionDescriptor_t, destroy_convolution_descriptor, "Steps and padding.");

impl Tensor {
    fn new(map: Map) -> Result<Self, CudaError> {
        const DOING: &str = "describing a map";
        let tensor = Self(result::create_tensor_descriptor().while_(DOING)?);
        let dims = [1, int(map.channels)?, int(map.rows)?, int(map.cols)?];
        let (format, kind) = (sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW, sys::cudnnDataType_t::CUDNN_DATA_FLOAT);
        // SAFETY: the descriptor was made above.
        unsafe { result::set_tensor4d_descriptor(tensor.0, format, kind, dims) }.while_(DOING)?;
        Ok(tensor)
    }
}

impl Filter {
    /// Of weights `[output][input][kernel][kernel]`, where `input` counts the channels of one group.
    pub fn new(output: usize, input: usize, kernel: usize) -> Result<Self, CudaError> {
        const DOING: &str = "describing a weight";
        let filter = Self(result::create_filter_descriptor().while_(DOING)?);
        let dims = [int(output)?, int(input)?, int(kernel)?, int(kernel)?];
        let (format, kind) = (sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW, sys::cudnnDataType_t::CUDNN_DATA_FLOAT);
        // SAFETY: the descriptor was made above.
        unsafe { result::set_filter4d_descriptor(filter.0, kind, format, dims) }.while_(DOING)?;
        Ok(filter)
    }
}

/// A convolution from one map to another.
#[derive(Debug)]
pub struct Convolution {
    input: Map,
    output: Map,
    from: Tensor,
    to: Tensor,
    handle: Handle,
}

impl Convolution {
    /// With the same step and padding in both directions.
    pub fn new(
        (input, output): (Map, Map),
        stride: usize,
        pad: usize,
        groups: usize,
        math: sys::cudnnMathType_t,
    ) -> Result<Self, CudaError> {
        const DOING: &str = "describing a convolution";
        let handle = Handle(result::create_convolution_descriptor().while_(DOING)?);
        let (stride, pad) = (int(stride)?, int(pad)?);
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let kind = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        // SAFETY: the descriptor was made above.
        unsafe {
            result::set_convolution2d_descriptor(handle.0, pad, pad, stride, stride, 1, 1, mode, kind).while_(DOING)?;
            result::set_convolution_group_count(handle.0, int(groups)?).while_(DOING)?;
        }
        let conv = Self { input, output, from: Tensor::new(input)?, to: Tensor::new(output)?, handle };
        conv.set_math(math)?;
        Ok(conv)
    }

    /// What it makes.
    pub fn output(&self) -> Map {
        self.output
    }

    /// Chooses what products are computed in.
    pub fn set_math(&self, math: sys::cudnnMathType_t) -> Result<(), CudaError> {
        // SAFETY: the descriptor lives.
        unsafe { result::set_convolution_math_type(self.handle.0, math) }.while_("choosing cuDNN's precision")
    }
}
