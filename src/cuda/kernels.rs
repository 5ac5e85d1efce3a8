//! Our own kernels: compiled for the GPU at hand when it is opened, each behind a function that checks lengths.
//!
//! What is large runs along the blocks of a grid's first side (places of a plane, outputs of a layer); what is many along its second,
//! of which a kernel takes several turns if there are more than a grid has room for.

use std::ffi::CString;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::{Ptx, result, sys};

use super::device::Device;
use super::dnn::Map;
use super::error::{CudaError, While, int};
use crate::kernels::{LrnParams, LrnWindow, PoolShape};

/// The sources, by file name.
pub const SOURCES: [(&str, &str); 5] = [
    ("bias_relu.cu", include_str!("kernels/bias_relu.cu")),
    ("lrn.cu", include_str!("kernels/lrn.cu")),
    ("max_pool.cu", include_str!("kernels/max_pool.cu")),
    ("roi_pool.cu", include_str!("kernels/roi_pool.cu")),
    ("softmax.cu", include_str!("kernels/softmax.cu")),
];

/// Threads of a block.
const BLOCK: usize = 256;
/// Blocks along the second side of a grid; CUDA's limit is 65535.
const MOST_ROWS: usize = 32768;

/// The kernels of one GPU.
pub struct Kernels {
    bias_planes: CudaFunction,
    bias_rows: CudaFunction,
    max_pool: CudaFunction,
    lrn_across: CudaFunction,
    lrn_within: CudaFunction,
    roi_pool: CudaFunction,
    softmax: CudaFunction,
}

impl Kernels {
    /// Compiles them for a GPU of that compute capability, 90 for 9.0.
    pub fn new(context: &Arc<CudaContext>, capability: i32) -> Result<Self, CudaError> {
        let options = [target(capability, &supported()?)];
        let module = |file: &str| {
            let source = SOURCES.iter().find(|(name, _)| *name == file).map_or("", |(_, source)| source);
            context.load_module(compile(file, source, &options)?).while_("loading a kernel")
        };
        let (bias, lrn) = (module("bias_relu.cu")?, module("lrn.cu")?);
        let function =
            |module: &Arc<cudarc::driver::CudaModule>, name| module.load_function(name).while_("loading a kernel");
        Ok(Self {
            bias_planes: function(&bias, "bias_planes")?,
            bias_rows: function(&bias, "bias_rows")?,
            max_pool: function(&module("max_pool.cu")?, "max_pool")?,
            lrn_across: function(&lrn, "lrn_across")?,
            lrn_within: function(&lrn, "lrn_within")?,
            roi_pool: function(&module("roi_pool.cu")?, "roi_pool")?,
            softmax: function(&module("softmax.cu")?, "softmax")?,
        })
    }
}

/// The grid for `len` values in each of `rows`.
fn grid(len: usize, rows: usize) -> Result<LaunchConfig, CudaError> {
    let side = |n: usize| u32::try_from(n.max(1)).map_err(|_| CudaError::Large { number: n });
    let grid_dim = (side(len.div_ceil(BLOCK))?, side(rows.min(MOST_ROWS))?, 1);
    Ok(LaunchConfig { grid_dim, block_dim: (BLOCK as u32, 1, 1), shared_mem_bytes: 0 })
}

/// Adds a bias to each plane of a map, and rectifies it if asked.
///
/// # Panics
///
/// If the map or the bias is too short.
pub fn bias_planes(
    device: &Device,
    x: &mut CudaSlice<f32>,
    bias: &CudaSlice<f32>,
    map: Map,
    relu: bool,
) -> Result<(), CudaError> {
    assert!(x.len() >= map.len() && bias.len() >= map.channels, "{map:?}");
    let (planes, plane, relu) = (int(map.channels)?, int(map.plane())?, i32::from(relu));
    let mut launch = device.stream.launch_builder(&device.kernels.bias_planes);
    launch.arg(x).arg(bias).arg(&planes).arg(&plane).arg(&relu);
    // SAFETY: arguments are those of bias_planes in bias_relu.cu, and its indices stay below the lengths asserted above.
    unsafe { launch.launch(grid(map.plane(), map.channels)?) }.while_("adding a bias").map(drop)
}

/// Adds a bias to each row, and rectifies it if asked.
///
/// # Panics
///
/// If the rows are too few or too short.
pub fn bias_rows(
    device: &Device,
    x: &mut CudaSlice<f32>,
    bias: &CudaSlice<f32>,
    rows: usize,
    relu: bool,
) -> Result<(), CudaError> {
    assert!(x.len() >= rows * bias.len(), "{rows} rows of {}", bias.len());
    let (count, columns, relu) = (int(rows)?, int(bias.len())?, i32::from(relu));
    let mut launch = device.stream.launch_builder(&device.kernels.bias_rows);
    launch.arg(x).arg(bias).arg(&count).arg(&columns).arg(&relu);
    // SAFETY: arguments are those of bias_rows in bias_relu.cu, and its indices stay below the lengths asserted above.
    unsafe { launch.launch(grid(bias.len(), rows)?) }.while_("adding a bias").map(drop)
}

/// Max pooling of a map `from` to a map `to`.
///
/// # Panics
///
/// If a map is too short, or a window lies outside of it.
pub fn max_pool(
    device: &Device,
    pool: PoolShape,
    (x, from): (&CudaSlice<f32>, Map),
    (y, to): (&mut CudaSlice<f32>, Map),
) -> Result<(), CudaError> {
    assert!(x.len() >= from.len() && y.len() >= to.len(), "{from:?} to {to:?}");
    pool.check([from.rows, from.cols, from.channels], [to.rows, to.cols, to.channels]);
    let numbers = [from.channels, from.rows, from.cols, to.rows, to.cols, pool.kernel, pool.stride, pool.pad];
    let mut args = [0; 8];
    for (arg, number) in args.iter_mut().zip(numbers) {
        *arg = int(number)?;
    }
    int(to.plane())?;
    let mut launch = device.stream.launch_builder(&device.kernels.max_pool);
    launch.arg(x).arg(y);
    for arg in &args {
        launch.arg(arg);
    }
    // SAFETY: arguments are those of max_pool.cu; it clips windows to the map, whose lengths are asserted above.
    unsafe { launch.launch(grid(to.plane(), to.channels)?) }.while_("max pooling").map(drop)
}

/// Local response normalisation.
///
/// # Panics
///
/// If a map is too short.
pub fn lrn(
    device: &Device,
    params: LrnParams,
    map: Map,
    x: &CudaSlice<f32>,
    y: &mut CudaSlice<f32>,
) -> Result<(), CudaError> {
    assert!(x.len() >= map.len() && y.len() >= map.len(), "{map:?}");
    let (channels, rows, cols, plane) = (int(map.channels)?, int(map.rows)?, int(map.cols)?, int(map.plane())?);
    let (beta, k, grid) = (params.beta, params.k, grid(map.plane(), map.channels)?);
    let (size, strength) = match params.window {
        LrnWindow::Channels(size) => (int(size)?, params.alpha / size as f32),
        LrnWindow::Square(size) => (int(size)?, params.alpha / (size * size) as f32),
    };
    if let LrnWindow::Channels(_) = params.window {
        let mut launch = device.stream.launch_builder(&device.kernels.lrn_across);
        launch.arg(x).arg(y).arg(&channels).arg(&plane).arg(&size).arg(&strength).arg(&beta).arg(&k);
        // SAFETY: arguments are those of lrn_across in lrn.cu; it clips windows to the map, whose length is asserted above.
        return unsafe { launch.launch(grid) }.while_("normalising").map(drop);
    }
    let mut launch = device.stream.launch_builder(&device.kernels.lrn_within);
    launch.arg(x).arg(y).arg(&channels).arg(&rows).arg(&cols).arg(&size).arg(&strength).arg(&beta).arg(&k);
    // SAFETY: arguments are those of lrn_within in lrn.cu; it clips windows to the map, whose length is asserted above.
    unsafe { launch.launch(grid) }.while_("normalising").map(drop)
}

/// RoI pooling of `count` boxes to `pool`² values in each channel.
///
/// # Panics
///
/// If map, boxes or result are too short.
pub fn roi_pool(
    device: &Device,
    (x, map): (&CudaSlice<f32>, Map),
    (rois, count): (&CudaSlice<f32>, usize),
    (pool, scale): (usize, f32),
    y: &mut CudaSlice<f32>,
) -> Result<(), CudaError> {
    let per_roi = map.channels * pool * pool;
    assert!(x.len() >= map.len() && rois.len() >= 4 * count && y.len() >= count * per_roi, "{count} RoIs of {map:?}");
    let (boxes, channels, rows, cols, side) =
        (int(count)?, int(map.channels)?, int(map.rows)?, int(map.cols)?, int(pool)?);
    int(per_roi)?;
    let mut launch = device.stream.launch_builder(&device.kernels.roi_pool);
    launch.arg(x).arg(rois).arg(y).arg(&boxes).arg(&channels).arg(&rows).arg(&cols).arg(&side).arg(&scale);
    // SAFETY: arguments are those of roi_pool.cu; it clips bins to the map, and lengths are asserted above.
    unsafe { launch.launch(grid(per_roi, count)?) }.while_("RoI pooling").map(drop)
}

/// Softmax of each of `rows` rows.
///
/// # Panics
///
/// If the rows are too few.
pub fn softmax(device: &Device, x: &mut CudaSlice<f32>, rows: usize, columns: usize) -> Result<(), CudaError> {
    assert!(x.len() >= rows * columns, "{rows} rows of {columns}");
    let (blocks, width) = (int(rows.max(1))?, int(columns)?);
    let grid = LaunchConfig { grid_dim: (blocks.unsigned_abs(), 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
    let mut launch = device.stream.launch_builder(&device.kernels.softmax);
    launch.arg(x).arg(&width);
    // SAFETY: arguments are those of softmax.cu, a block works on one row, and there are as many (asserted above).
    unsafe { launch.launch(grid) }.while_("softmax").map(drop)
}

/// What to compile for: the machine code of a GPU that the compiler knows, which any driver of its generation takes; for a newer GPU
/// the intermediate code of the newest one it knows, which the driver finishes.
pub fn target(capability: i32, supported: &[i32]) -> String {
    match supported.iter().filter(|known| **known <= capability).max() {
        Some(known) if *known < capability => format!("--gpu-architecture=compute_{known}"),
        _ => format!("--gpu-architecture=sm_{capability}"),
    }
}

/// Compute capabilities that the compiler knows.
pub fn supported() -> Result<Vec<i32>, CudaError> {
    const DOING: &str = "asking NVRTC for what it knows";
    let mut count = 0;
    // SAFETY: the library is loaded, and writes one int through a pointer to one.
    unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) }.result().while_(DOING)?;
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: `known` has room for as many as the library said there are.
    unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().while_(DOING)?;
    Ok(known)
}

/// A program of the compiler's, freed with it.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program was made by `compile` and is not used again.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// Compiles one source to machine code or, if the target is a virtual one, to PTX.
pub fn compile(file: &str, source: &str, options: &[String]) -> Result<Ptx, CudaError> {
    const DOING: &str = "compiling a kernel";
    let text = |text: &str| CString::new(text).map_err(|_| CudaError::Compile { log: format!("{file}: a NUL in it") });
    let (source, name) = (text(source)?, text(file)?);
    let program = Program(result::create_program(&source, Some(&name)).while_(DOING)?);
    // SAFETY: the program was made above.
    if let Err(error) = unsafe { result::compile_program(program.0, options) } {
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
        let log: Vec<u8> = log.iter().map(|c| c.to_ne_bytes()[0]).take_while(|c| *c != 0).collect();
        let log = format!("{file}, {}: {:?}\n{}", options.join(" "), error.0, String::from_utf8_lossy(&log).trim());
        return Err(CudaError::Compile { log });
    }
    if options.iter().any(|option| option.contains("compute_")) {
        // SAFETY: the program was made and compiled above.
        let text = unsafe { result::get_ptx(program.0) }.while_(DOING)?;
        let text = text.iter().map(|c| c.to_ne_bytes()[0]).take_while(|c| *c != 0).collect();
        let text = String::from_utf8(text).map_err(|e| CudaError::Compile { log: format!("{file}: {e}") })?;
        return Ok(Ptx::from_src(text));
    }
    let mut size = 0;
    // SAFETY: the program was made and compiled above; the library writes one size through a pointer to one.
    unsafe { sys::nvrtcGetCUBINSize(program.0, &mut size) }.result().while_(DOING)?;
    let mut binary = vec![0u8; size];
    // SAFETY: `binary` has room for as many bytes as the library said.
    unsafe { sys::nvrtcGetCUBIN(program.0, binary.as_mut_ptr().cast()) }.result().while_(DOING)?;
    Ok(Ptx::from_binary(binary))
}
