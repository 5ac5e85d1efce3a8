//! Why a source cannot go on, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::camera::Trouble;

/// Why there are no frames.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file could not be opened.
    #[error("{}: cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed.
    #[error("{name}: reading failed: {source}")]
    Read {
        /// The source.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing came at all.
    #[error("{name}: is empty, no frame came; is the program that writes it working?")]
    Empty {
        /// The source.
        name: String,
    },
    /// The first byte fits no format that tells itself.
    #[error(
        "{name}: starts neither as Y4M nor as JPEG; for raw frames give their --format and --size, or let ffmpeg write \
         Y4M (-f yuv4mpegpipe -)"
    )]
    UnknownFormat {
        /// The source.
        name: String,
    },
    /// The header of a Y4M stream is not right, or asks for what we do not read.
    #[error("{name}: {reason}; let ffmpeg write it with -pix_fmt yuv420p -f yuv4mpegpipe")]
    Y4m {
        /// The source.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Not one of the files of a loop could be read.
    #[error("{name}: not one of its {files} files could be read in a whole round; the messages before this say why")]
    NothingReadable {
        /// The source.
        name: String,
        /// How many there are.
        files: usize,
    },
    /// The camera is not there or has gone, and the run was not to go on without it.
    #[error(transparent)]
    Camera(Trouble),
    /// A setting is out of range.
    #[error("{name} = {value}: {reason}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
}

impl SourceError {
    /// True if there is no camera.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Camera(_))
    }

    /// True if what was named is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
