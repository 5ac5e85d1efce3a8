//! What a camera driver does for us: opens, and gives filled buffers. V4L2 and the cameras of the tests implement it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Trouble;
use crate::frame::{Layout, PixelFormat};

/// What is asked of a camera. What is left open, the choice of [`super::choose`] fills in.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its node, or a link to it; followed anew at each opening.
    pub path: PathBuf,
    /// Columns and rows.
    pub size: Option<(u32, u32)>,
    /// Frames a second.
    pub fps: Option<f64>,
    /// How pixels come.
    pub format: Option<PixelFormat>,
    /// Controls by name, set at each opening in this order.
    pub controls: Vec<(String, i32)>,
}

impl Wanted {
    /// Any size, rate and format of the camera at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), size: None, fps: None, format: None, controls: Vec::new() }
    }
}

/// The four letters that V4L2 names a pixel format by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    /// As the kernel writes it.
    pub fn from_u32(code: u32) -> Self {
        Self(code.to_le_bytes())
    }

    /// As the kernel reads it.
    pub fn to_u32(self) -> u32 {
        u32::from_le_bytes(self.0)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The highest bit means big endian; other bytes are letters, digits and spaces.
        self.0
            .iter()
            .try_for_each(|&b| write!(f, "{}", (b & 0x7F).escape_ascii()))
            .and_then(|()| if self.0[3] & 0x80 != 0 { f.write_str("-BE") } else { Ok(()) })
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the driver has granted, which need not be what was wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// The node that was opened, after links.
    pub device: PathBuf,
    /// The camera's name.
    pub card: String,
    /// Its name for the pixel format.
    pub fourcc: FourCc,
    /// Columns and rows, also of encoded frames.
    pub size: (u32, u32),
    /// What the bytes of a frame are.
    pub layout: Layout,
    /// Frames a second, if the driver says.
    pub fps: Option<f64>,
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.size;
        write!(f, "{width}x{height} {}", self.fourcc)?;
        if let Some(fps) = self.fps {
            write!(f, " at {} frames a second", (fps * 100.0).round() / 100.0)?;
        }
        write!(f, " from {} ({})", self.device.display(), self.card)
    }
}

/// A buffer that the driver has filled.
#[derive(Debug, Clone, Copy)]
pub struct Filled<'a> {
    /// The bytes it says it has written.
    pub bytes: &'a [u8],
    /// The driver's number of the frame.
    pub sequence: u32,
    /// When it was captured, as `CLOCK_MONOTONIC` counts; `None` if the driver counts otherwise.
    pub stamp: Option<Duration>,
    /// The driver itself says that the content is bad.
    pub damaged: bool,
}

/// Opens cameras.
pub trait Driver: Send {
    /// Opens a camera and starts it. Whatever fails leaves nothing open.
    fn open(&mut self, wanted: &Wanted) -> Result<Box<dyn Device>, Trouble>;
}

/// A camera that streams. Dropping it stops the camera and gives everything back.
pub trait Device: Send {
    /// What it gives.
    fn granted(&self) -> &Granted;

    /// Waits for a frame, no longer than `most`; none if none came. The buffer goes back to the driver with the next call.
    fn next(&mut self, most: Duration) -> io::Result<Option<Filled<'_>>>;
}
