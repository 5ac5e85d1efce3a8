//! Whether standard error is the journal's.

use std::io;
use std::os::unix::fs::MetadataExt;

/// True if standard error is the stream that the service manager connected to the journal: it names that stream's device
/// and inode in `JOURNAL_STREAM` (systemd.exec(5)). Its lines may then start with a level as in sd-daemon(3).
pub fn on_stderr() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|named| stderr_is(&named).unwrap_or(false))
}

/// True if `device:inode` is that of standard error.
fn stderr_is(named: &str) -> io::Result<bool> {
    use std::os::fd::AsFd;
    // A duplicate, which is closed again; the descriptor itself stays with its owner.
    let metadata = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
    Ok(named == format!("{}:{}", metadata.dev(), metadata.ino()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_itself_is_recognised() {
        let metadata = std::fs::metadata("/proc/self/fd/2").unwrap();
        assert!(stderr_is(&format!("{}:{}", metadata.dev(), metadata.ino())).unwrap());
        for other in ["", "0:0", "nonsense", &format!("{}:{}", metadata.dev(), metadata.ino() + 1)] {
            assert!(!stderr_is(other).unwrap(), "{other}");
        }
    }
}
