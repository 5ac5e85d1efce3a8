//! Cameras that do what a test says, on a clock that a test moves. Between them and the program is what V4L2 uses as well.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use edge_rcnn::clock::{Clock, Moment};
use edge_rcnn::frame::{Layout, PixelFormat};
use edge_rcnn::source::camera::{Device, Driver, Filled, FourCc, Granted, Trouble, Wanted};

/// Time between two frames.
pub const PERIOD: Duration = Duration::from_millis(40);

/// Time passes only by waiting.
pub struct SimulatedClock(Mutex<Moment>);

impl SimulatedClock {
    pub fn new() -> Arc<Self> {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Arc::new(Self(Mutex::new(Moment { wall, mono: Duration::from_secs(1000) })))
    }

    /// Sets the time of day, as `date -s` does.
    pub fn set_wall(&self, change: impl Fn(SystemTime) -> SystemTime) {
        let mut now = self.0.lock().unwrap();
        now.wall = change(now.wall);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        (now.mono, now.wall) = (now.mono + time, now.wall + time);
    }
}

/// What a camera does when it is asked for a frame.
pub enum Step {
    /// A good frame, a period later.
    Frame,
    /// A good frame after so many that the driver has lost.
    After(u32),
    /// A frame with this content.
    Bytes(Vec<u8>),
    /// A good frame with another time of the driver.
    Stamped(Option<Duration>),
    /// Nothing for the whole wait.
    Silence,
    /// An error code.
    Error(i32),
}

/// What a camera does, as a function of how often it was asked since it was opened.
pub type Behaviour = Box<dyn FnMut(u64) -> Step + Send>;

/// Opens cameras: a function of the number of the attempt, from 0, gives the behaviour or the error code.
pub struct SimulatedDriver {
    pub clock: Arc<dyn Clock>,
    pub layout: Layout,
    pub attempts: Arc<AtomicUsize>,
    /// Cameras that are open.
    pub open: Arc<AtomicUsize>,
    pub act: Box<dyn FnMut(usize) -> Result<Behaviour, i32> + Send>,
}

impl SimulatedDriver {
    pub fn new(clock: &Arc<SimulatedClock>, act: impl FnMut(usize) -> Result<Behaviour, i32> + Send + 'static) -> Self {
        let layout = Layout::new(PixelFormat::Yuyv, 64, 48);
        let (attempts, open) = (Arc::default(), Arc::default());
        Self { clock: Arc::clone(clock) as Arc<dyn Clock>, layout, attempts, open, act: Box::new(act) }
    }
}

impl Driver for SimulatedDriver {
    fn open(&mut self, wanted: &Wanted) -> Result<Box<dyn Device>, Trouble> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let name = wanted.path.display().to_string();
        let failed = |e: &io::Error| Trouble::from_io(&name, "cannot be opened", e);
        let behaviour = (self.act)(attempt).map_err(|code| failed(&io::Error::from_raw_os_error(code)))?;
        self.open.fetch_add(1, Ordering::Relaxed);
        let encoded = self.layout.format == PixelFormat::Encoded;
        Ok(Box::new(SimulatedCamera {
            granted: Granted {
                device: wanted.path.clone(),
                card: format!("simulated {attempt}"),
                fourcc: FourCc(if encoded { *b"MJPG" } else { *b"YUYV" }),
                size: (64, 48),
                layout: self.layout,
                fps: Some(25.0),
            },
            clock: Arc::clone(&self.clock),
            behaviour,
            asked: 0,
            sequence: 0,
            // What a real camera holds: memory and an open file.
            buffer: vec![128; self.layout.bytes().unwrap_or(0).max(1 << 16)],
            _file: File::open("/dev/null").unwrap(),
            open: Arc::clone(&self.open),
        }))
    }
}

struct SimulatedCamera {
    granted: Granted,
    clock: Arc<dyn Clock>,
    behaviour: Behaviour,
    asked: u64,
    sequence: u32,
    buffer: Vec<u8>,
    _file: File,
    open: Arc<AtomicUsize>,
}

impl Drop for SimulatedCamera {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Device for SimulatedCamera {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, most: Duration) -> io::Result<Option<Filled<'_>>> {
        let step = (self.behaviour)(self.asked);
        self.asked += 1;
        match step {
            Step::Error(code) => return Err(io::Error::from_raw_os_error(code)),
            Step::Silence => {
                self.clock.sleep(most);
                return Ok(None);
            }
            _ => self.clock.sleep(PERIOD),
        }
        // The driver notes the time when the picture is complete, a moment before it can be taken.
        let mut stamp = Some(self.clock.now().mono - Duration::from_millis(3));
        let mut length = self.granted.layout.bytes().unwrap_or(0);
        match step {
            Step::After(lost) => self.sequence += lost,
            Step::Stamped(other) => stamp = other,
            Step::Bytes(bytes) => {
                length = bytes.len();
                self.buffer[..length].copy_from_slice(&bytes);
            }
            _ => {}
        }
        let sequence = self.sequence;
        self.sequence += 1;
        Ok(Some(Filled { bytes: &self.buffer[..length], sequence, stamp, damaged: false }))
    }
}
