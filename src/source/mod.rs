//! Where frames come from: one trait, [`Source`], and what implements it.
//!
//! | source | frames | live |
//! |---|---|---|
//! | [`Files`] | pictures of a list of files | no |
//! | [`Stream`] | Y4M, motion JPEG or raw frames, from a file or from standard input | from a pipe |
//! | [`Synthetic`] | shapes moving over a background, with ground truth | yes |
//! | [`camera::Camera`] | a V4L2 camera, through unplugging and replugging | yes |
//!
//! A live source goes on whether somebody looks or not: the pipeline takes its newest frame and counts the others as
//! dropped. Any other source waits, and each of its frames is looked at. Frames stay as they came; see
//! [`crate::frame::to_picture`]. Time and the wish to stop are passed in ([`Context`]).

mod bytes;
pub mod camera;
mod error;
mod files;
mod huffman;
mod mjpeg;
mod pace;
mod stop;
mod stream;
mod synthetic;
mod y4m;

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{Clock, Moment};
use crate::frame::Layout;
use camera::{Away, Granted};

pub use camera::times::Stamp;
pub use error::SourceError;
pub use files::Files;
pub use pace::Pace;
pub use stop::Stop;
pub use stream::{Framing, Stream};
pub use synthetic::Synthetic;

/// What is passed in to a source.
#[derive(Clone)]
pub struct Context {
    /// Tells the time a frame was captured at.
    pub clock: Arc<dyn Clock>,
    /// Looked at while waiting for a frame to be due. Reading may block for ever; the pipeline does not wait for it.
    pub stop: Stop,
}

/// A frame as it came, in memory that is used again for the next one.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What the bytes are.
    pub layout: Layout,
    /// The frame.
    pub bytes: Vec<u8>,
    /// Number the source gave it, from 0; gaps are frames lost before we saw them.
    pub seq: u64,
    /// When it was captured, or complete in memory if nobody knows better.
    pub captured: Moment,
    /// Where that time is from.
    pub stamp: Stamp,
    /// Frames that the driver lost between the one before and this.
    pub lost_before: u64,
    /// The file it is from, if it has one of its own.
    pub path: Option<PathBuf>,
    /// What the camera gives since it was opened, if it is from one.
    pub camera: Option<Arc<Granted>>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            layout: Layout::ENCODED,
            bytes: Vec::new(),
            seq: 0,
            captured: Moment::default(),
            stamp: Stamp::Own,
            lost_before: 0,
            path: None,
            camera: None,
        }
    }
}

/// What is wrong with a frame that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It could not be read.
    Unreadable,
    /// The driver marked it as damaged.
    Damaged,
    /// It has no bytes.
    Empty,
    /// It has fewer bytes than its size and format ask for.
    Size,
    /// It should be a JPEG and does not start as one.
    NotJpeg,
    /// It is a JPEG that breaks off.
    CutOff,
}

/// What came of asking for the next frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The frame is there.
    Frame,
    /// There was one, but it is of no use, and this is why. The next one may be.
    Skipped(Flaw, String),
    /// The camera has gone, or still is not there for another reason than before. It will be tried again.
    Away(Away),
    /// There are no more, or somebody asked to stop.
    End,
}

/// Gives frames, one after another.
pub trait Source: Send {
    /// As the `hello` line names it.
    fn name(&self) -> &str;
    /// True if it goes on whether somebody looks or not.
    fn live(&self) -> bool;
    /// True if it may go on for ever, so that what is said about each frame has to be limited.
    fn endless(&self) -> bool {
        self.live()
    }
    /// True if it may wait for a frame for ever without anything being wrong, and without calling [`Stop::tick`]: a pipe
    /// into which nobody writes.
    fn patient(&self) -> bool {
        false
    }
    /// Waits for the next frame and puts it into `frame`. An error is the end.
    fn next(&mut self, frame: &mut Frame) -> Result<Next, SourceError>;
}
