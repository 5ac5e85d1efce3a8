//! Frames in a row of bytes: Y4M, motion JPEG or raw, from a file or from standard input.
//!
//! What comes through a pipe is live: the writer is a camera or a player, and goes on. A file waits, also when standard
//! input was redirected from one.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::bytes::{self, Input};
use super::mjpeg::Cutter;
use super::{Context, Flaw, Frame, Next, Pace, Source, SourceError, y4m};
use crate::frame::Layout;

/// How the bytes are cut into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Told from the first byte: Y4M or motion JPEG.
    Auto,
    /// YUV4MPEG2.
    Y4m,
    /// JPEG after JPEG.
    Mjpeg,
    /// Frames of one layout without anything between them.
    Raw(Layout),
}

/// One step through the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A frame.
    Whole(Layout),
    /// A frame of no use, and why.
    Lost(String),
    /// No more.
    End,
}

/// The state of cutting, once the framing is known.
enum Frames {
    Y4m(Layout),
    Mjpeg(Cutter),
    Raw(Layout),
}

/// A source of frames in a row of bytes.
pub struct Stream {
    name: String,
    input: Input,
    framing: Framing,
    frames: Option<Frames>,
    live: bool,
    /// The file to open again at its end.
    again: Option<PathBuf>,
    pace: Pace,
    context: Context,
    seq: u64,
}

impl Stream {
    /// The frames of a file, for ever if `repeat`, at most `fps` a second.
    pub fn open(
        path: &Path,
        framing: Framing,
        repeat: bool,
        fps: Option<f64>,
        context: Context,
    ) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|source| SourceError::Open { path: path.to_owned(), source })?;
        let again = repeat.then(|| path.to_owned());
        Self::new(path.display().to_string(), file, framing, again, fps, context)
    }

    /// The frames that come in on standard input.
    pub fn stdin(framing: Framing, fps: Option<f64>, context: Context) -> Result<Self, SourceError> {
        let name = "standard input".to_owned();
        let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let file = file.map_err(|source| SourceError::Read { name: name.clone(), source })?;
        Self::new(name, file, framing, None, fps, context)
    }

    fn new(
        name: String,
        file: File,
        framing: Framing,
        again: Option<PathBuf>,
        fps: Option<f64>,
        context: Context,
    ) -> Result<Self, SourceError> {
        let live = !file.metadata().is_ok_and(|m| m.is_file());
        if let (true, Some(fps)) = (live, fps) {
            let reason = "a pipe comes at the speed of its writer; set the rate there (ffmpeg -r)";
            return Err(SourceError::Setting { name: "fps", value: fps.to_string(), reason });
        }
        let (pace, input) = (Pace::new(fps, &context)?, bytes::input(file));
        Ok(Self { name, input, framing, frames: None, live, again, pace, context, seq: 0 })
    }

    /// Makes the writer of a pipe wait, so that each of its frames is looked at.
    pub fn every_frame(&mut self) {
        self.live = false;
    }

    /// Finds out how to cut, which takes the first bytes.
    fn start(&mut self) -> Result<Frames, SourceError> {
        let read = |source| SourceError::Read { name: self.name.clone(), source };
        let framing = match self.framing {
            Framing::Auto => match self.input.fill_buf().map_err(read)?.first() {
                Some(b'Y') => Framing::Y4m,
                Some(0xFF) => Framing::Mjpeg,
                Some(_) => return Err(SourceError::UnknownFormat { name: self.name.clone() }),
                None => return Err(SourceError::Empty { name: self.name.clone() }),
            },
            known => known,
        };
        Ok(match framing {
            Framing::Y4m => {
                let header = y4m::header(&mut self.input).map_err(read)?;
                Frames::Y4m(header.map_err(|reason| SourceError::Y4m { name: self.name.clone(), reason })?)
            }
            Framing::Raw(layout) => Frames::Raw(layout),
            Framing::Auto | Framing::Mjpeg => Frames::Mjpeg(Cutter::default()),
        })
    }

    /// Opens the file again at its end, if asked to and if it held anything.
    fn rewind(&mut self) -> Result<bool, SourceError> {
        let Some(path) = self.again.as_ref().filter(|_| self.seq > 0) else { return Ok(false) };
        let file = File::open(path).map_err(|source| SourceError::Open { path: path.clone(), source })?;
        self.input = bytes::input(file);
        self.frames = None;
        Ok(true)
    }

    fn part(&mut self, to: &mut Vec<u8>) -> Result<Part, SourceError> {
        let frames = match self.frames.take() {
            Some(frames) => frames,
            None => self.start()?,
        };
        let part = match self.frames.insert(frames) {
            Frames::Y4m(layout) => y4m::frame(&mut self.input, *layout, to),
            Frames::Raw(layout) => y4m::raw(&mut self.input, *layout, to),
            Frames::Mjpeg(cutter) => cutter.frame(&mut self.input, to),
        };
        part.map_err(|source| SourceError::Read { name: self.name.clone(), source })
    }
}

impl Source for Stream {
    fn name(&self) -> &str {
        &self.name
    }

    fn live(&self) -> bool {
        self.live
    }

    fn patient(&self) -> bool {
        true
    }

    fn endless(&self) -> bool {
        self.live || self.again.is_some()
    }

    fn next(&mut self, frame: &mut Frame) -> Result<Next, SourceError> {
        if !self.pace.wait() {
            return Ok(Next::End);
        }
        let mut part = self.part(&mut frame.bytes)?;
        if part == Part::End && self.rewind()? {
            part = self.part(&mut frame.bytes)?;
        }
        let next = match part {
            Part::End => return Ok(Next::End),
            Part::Lost(why) => Next::Skipped(Flaw::Unreadable, format!("{}: {why}", self.name)),
            Part::Whole(layout) => {
                frame.layout = layout;
                Next::Frame
            }
        };
        (frame.seq, frame.captured, frame.path) = (self.seq, self.context.clock.now(), None);
        self.seq += 1;
        Ok(next)
    }
}
