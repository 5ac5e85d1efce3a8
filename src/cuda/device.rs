//! One GPU with everything that is needed to compute on it: opened once, with the reason if that fails.
//!
//! The libraries are looked for at run time where the system looks for libraries (`LD_LIBRARY_PATH` and the usual folders).
//! All work goes to one stream, so it is done in the order in which it was asked for, and memory needs no other guard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cudarc::cublas::{self, CudaBlas};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream};
use cudarc::{cudnn, driver, nvrtc};

use super::dnn::Dnn;
use super::error::{CudaError, While, driver_said};
use super::fc::product;
use super::kernels::Kernels;

/// A GPU, ready.
pub struct Device {
    /// Products of matrices.
    pub blas: CudaBlas,
    /// Convolutions.
    pub dnn: Dnn,
    /// Our own kernels.
    pub kernels: Kernels,
    /// Where all work goes.
    pub stream: Arc<CudaStream>,
    /// Whether products may be rounded to TF32.
    pub tf32: bool,
    name: String,
}

/// A library: whether it can be loaded, its file, where to get it.
type Library = (fn() -> bool, &'static str, &'static str);

/// Libraries besides the driver's.
const LIBRARIES: [Library; 3] = [
    // SAFETY: opening these libraries runs their initialisers, which are NVIDIA's and touch nothing of ours.
    (|| unsafe { nvrtc::sys::is_culib_present() }, "libnvrtc.so.13", "nvidia-cuda-nvrtc"),
    // SAFETY: as above.
    (|| unsafe { cublas::sys::is_culib_present() }, "libcublas.so.13", "nvidia-cublas"),
    // SAFETY: as above.
    (|| unsafe { cudnn::sys::is_culib_present() }, "libcudnn.so.9", "nvidia-cudnn-cu13"),
];

/// Side of the matrices that [`Device::peak`] multiplies: large enough to fill every GPU there is.
const PEAK_SIDE: usize = 4096;

impl Device {
    /// Opens the GPU of that number.
    pub fn open(number: usize, tf32: bool) -> Result<Self, CudaError> {
        check_libraries()?;
        let no_gpu = |error| CudaError::NoGpu { reason: driver_said(error) };
        let count = CudaContext::device_count().map_err(no_gpu)?;
        let count = usize::try_from(count).unwrap_or(0);
        if count == 0 {
            return Err(CudaError::NoGpu { reason: "the driver finds none".into() });
        }
        if number >= count {
            return Err(CudaError::Card { asked: number, count });
        }
        let context = CudaContext::new(number).while_("opening it")?;
        let stream = context.default_stream();
        let blas = CudaBlas::new(stream.clone()).while_("starting cuBLAS")?;
        let mode = match tf32 {
            true => cublas::sys::cublasMath_t::CUBLAS_TF32_TENSOR_OP_MATH,
            false => cublas::sys::cublasMath_t::CUBLAS_DEFAULT_MATH,
        };
        // SAFETY: the handle was made above and lives as long as `blas`.
        unsafe { cublas::sys::cublasSetMathMode(*blas.handle(), mode).result() }
            .while_("choosing cuBLAS's precision")?;
        let dnn = Dnn::new(stream.clone())?;
        let (major, minor) = context.compute_capability().while_("asking what it can do")?;
        let kernels = Kernels::new(&context, 10 * major + minor)?;
        let name = context.name().while_("asking for its name")?;
        let device = Self { blas, dnn, kernels, stream, tf32, name };
        log::info!(
            "cuda:{number}: {}, compute capability {major}.{minor}, driver for CUDA {}, cuDNN {}",
            device.name,
            version(driver_version()),
            cudnn::result::get_version()
        );
        Ok(device)
    }

    /// The GPU's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the GPU that of the calling thread, which every stage starts with: threads change between frames.
    pub fn enter(&self) -> Result<(), CudaError> {
        self.stream.context().bind_to_thread().while_("entering its context")
    }

    /// Waits until everything asked for is done.
    pub fn wait(&self) -> Result<(), CudaError> {
        self.stream.synchronize().while_("waiting for it")
    }

    /// Numbers of the host in memory of the GPU's.
    pub fn upload(&self, data: &[f32]) -> Result<CudaSlice<f32>, CudaError> {
        self.stream.clone_htod(data).while_("uploading weights")
    }

    /// What products of large matrices reach, tried for so long: multiplications and additions a second.
    pub fn peak(&self, time: Duration) -> Result<f64, CudaError> {
        self.enter()?;
        let side = PEAK_SIDE;
        let matrix = || self.stream.alloc_zeros::<f32>(side * side).while_("measuring its peak");
        let (a, b, mut c) = (matrix()?, matrix()?, matrix()?);
        let (started, mut best) = (Instant::now(), f64::MAX);
        while started.elapsed() < time {
            let turn = Instant::now();
            product(self, &a, &b, &mut c, side, side, side)?;
            self.wait()?;
            best = best.min(turn.elapsed().as_secs_f64());
        }
        Ok(2.0 * (side as f64).powi(3) / best)
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({})", self.name)
    }
}

/// All libraries that are missing, at once. Without this look, the bindings would panic at the first call.
fn check_libraries() -> Result<(), CudaError> {
    // SAFETY: opening the driver's library runs its initialiser, which touches nothing of ours.
    if !unsafe { driver::sys::is_culib_present() } {
        let advice = "install NVIDIA's driver, of version 580 or later";
        return Err(CudaError::Library { libraries: "the driver's libcuda.so.1".into(), advice: advice.into() });
    }
    let missing: Vec<&Library> = LIBRARIES.iter().filter(|(present, ..)| !present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names =
        |of: fn(&Library) -> &'static str, between| missing.iter().map(|l| of(l)).collect::<Vec<_>>().join(between);
    let advice = format!(
        "install CUDA 13's, for example with `pip install {}`, and name the folders they are in in LD_LIBRARY_PATH",
        names(|l| l.2, " ")
    );
    Err(CudaError::Library { libraries: names(|l| l.1, ", "), advice })
}

/// The version of CUDA that the driver is for, as 1000·major + 10·minor.
fn driver_version() -> i32 {
    let mut version = 0;
    // SAFETY: the driver was loaded, and writes one int through a pointer to one.
    let result = unsafe { driver::sys::cuDriverGetVersion(&mut version) }.result();
    result.map_or(0, |()| version)
}

fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

/// Memory on the GPU that grows to the largest size asked for and then stays.
#[derive(Debug, Default)]
pub struct Memory(Option<CudaSlice<f32>>);

impl Memory {
    /// At least so many numbers. What was in it is lost if it has to grow.
    pub fn of(&mut self, device: &Device, len: usize) -> Result<&mut CudaSlice<f32>, CudaError> {
        let taken = self.0.take().filter(|slice| slice.len() >= len);
        let slice = match taken {
            Some(slice) => slice,
            None => device.stream.alloc_zeros(len.max(1)).while_("taking memory for maps")?,
        };
        Ok(self.0.insert(slice))
    }

    /// What there is, if it is at least so many numbers.
    pub fn filled(&self, len: usize) -> Option<&CudaSlice<f32>> {
        self.0.as_ref().filter(|slice| slice.len() >= len)
    }
}
