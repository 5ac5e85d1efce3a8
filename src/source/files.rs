//! Picture files, one after another, once or in a loop.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Context, Flaw, Frame, Next, Pace, Source, SourceError};
use crate::frame::Layout;

/// Larger files are no pictures.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A source of picture files.
pub struct Files {
    name: String,
    paths: Vec<PathBuf>,
    repeat: bool,
    pace: Pace,
    context: Context,
    /// Position in the list, and how many files were asked for altogether.
    at: usize,
    seq: u64,
    /// Files read in this round.
    read: usize,
}

impl Files {
    /// The pictures at `paths`, for ever if `repeat`, at most `fps` a second.
    pub fn new(
        name: String,
        paths: Vec<PathBuf>,
        repeat: bool,
        fps: Option<f64>,
        context: Context,
    ) -> Result<Self, SourceError> {
        let pace = Pace::new(fps, &context)?;
        Ok(Self { name, paths, repeat, pace, context, at: 0, seq: 0, read: 0 })
    }

    /// The next file of the list, which starts again if asked to.
    fn next_path(&mut self) -> Result<Option<PathBuf>, SourceError> {
        if self.at == self.paths.len() && self.repeat {
            if self.read == 0 {
                return Err(SourceError::NothingReadable { name: self.name.clone(), files: self.paths.len() });
            }
            (self.at, self.read) = (0, 0);
        }
        let path = self.paths.get(self.at).cloned();
        self.at += usize::from(path.is_some());
        Ok(path)
    }
}

impl Source for Files {
    fn name(&self) -> &str {
        &self.name
    }

    fn live(&self) -> bool {
        false
    }

    fn endless(&self) -> bool {
        self.repeat
    }

    fn next(&mut self, frame: &mut Frame) -> Result<Next, SourceError> {
        let Some(path) = self.next_path()? else { return Ok(Next::End) };
        if !self.pace.wait() {
            return Ok(Next::End);
        }
        frame.seq = self.seq;
        self.seq += 1;
        if let Err(e) = read(&path, &mut frame.bytes) {
            return Ok(Next::Skipped(Flaw::Unreadable, format!("{}: cannot be read: {e}", path.display())));
        }
        self.read += 1;
        frame.layout = Layout::ENCODED;
        frame.captured = self.context.clock.now();
        frame.path = Some(path);
        Ok(Next::Frame)
    }
}

fn read(path: &Path, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(into).map(|_| ())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::super::Stop;
    use super::*;
    use crate::clock::SystemClock;

    fn source(names: &[&str], repeat: bool) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = names.iter().map(|n| dir.path().join(n)).collect();
        for path in paths.iter().filter(|p| !p.ends_with("gone.jpg")) {
            std::fs::write(path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        let context = Context { clock: Arc::new(SystemClock), stop: Stop::default() };
        (dir, Files::new("pictures".into(), paths, repeat, None, context).unwrap())
    }

    #[test]
    fn files_come_in_their_order_and_one_that_is_gone_is_skipped() {
        let (_dir, mut files) = source(&["b.jpg", "gone.jpg", "a.jpg"], false);
        let mut frame = Frame::default();
        assert_eq!(files.next(&mut frame).unwrap(), Next::Frame);
        assert_eq!((frame.bytes.as_slice(), frame.seq), (b"b.jpg".as_slice(), 0));
        assert!(
            matches!(files.next(&mut frame).unwrap(), Next::Skipped(Flaw::Unreadable, why) if why.contains("gone.jpg"))
        );
        assert_eq!(files.next(&mut frame).unwrap(), Next::Frame);
        assert_eq!((frame.bytes.as_slice(), frame.seq), (b"a.jpg".as_slice(), 2));
        assert_eq!(files.next(&mut frame).unwrap(), Next::End);
    }

    #[test]
    fn a_loop_starts_again_and_ends_when_nothing_can_be_read() {
        let (dir, mut files) = source(&["a.jpg", "b.jpg"], true);
        let mut frame = Frame::default();
        for seq in 0..5 {
            assert_eq!(files.next(&mut frame).unwrap(), Next::Frame);
            assert_eq!(frame.seq, seq);
        }
        dir.close().unwrap();
        let end = (0..9).find_map(|_| files.next(&mut frame).err()).unwrap();
        assert!(end.to_string().contains("2 files"), "{end}");
    }
}
