//! What can be wrong with a camera, in words, and what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// Why there is no camera.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Trouble {
    /// A short name for programs: that of the error code (`ENODEV`), or `TIMEOUT`, `NOT_A_CAMERA`, `FORMAT`, `CONTROL`.
    pub reason: String,
    /// For people: which device, what happened, and what to do.
    pub message: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The codes that drivers give, and what helps.
const KNOWN: [(Errno, &str, &str); 16] = [
    (
        Errno::NOENT,
        "ENOENT",
        "there is no such device; is the camera plugged in? `edge-rcnn cameras` lists those that are. Numbers change when \
         cameras are plugged: a name from /dev/v4l/by-id stays",
    ),
    (
        Errno::NODEV,
        "ENODEV",
        "the camera is gone; was it unplugged or did it lose power? A name from /dev/v4l/by-id finds it again under \
         another number",
    ),
    (Errno::NXIO, "ENXIO", "there is no camera behind this node; plug it in again, and see `dmesg`"),
    (
        Errno::ACCESS,
        "EACCES",
        "this user may not open it; add the user to the group video (`usermod -aG video NAME`, then log in again), in a \
         systemd unit set SupplementaryGroups=video and DeviceAllow=char-video4linux rw, in a container pass the device",
    ),
    (
        Errno::PERM,
        "EPERM",
        "the system forbids to use it; in a systemd unit set DeviceAllow=char-video4linux rw, in a container pass the \
         device with its permissions",
    ),
    (Errno::BUSY, "EBUSY", "another program uses the camera; `fuser -v /dev/video*` shows which: stop it"),
    (
        Errno::NOSPC,
        "ENOSPC",
        "the USB bus has no bandwidth left for this size and rate; use --format mjpeg, a smaller --size or --fps, or plug \
         the camera into another controller",
    ),
    (
        Errno::NOTTY,
        "ENOTTY",
        "this is no V4L2 camera, or its driver lacks this call; `edge-rcnn cameras` lists the cameras",
    ),
    (Errno::INVAL, "EINVAL", "the driver refuses the setting; `edge-rcnn cameras` lists what it offers"),
    (Errno::IO, "EIO", "the camera or its cable has failed; try another cable, port or power supply, and see `dmesg`"),
    (
        Errno::PROTO,
        "EPROTO",
        "the USB connection is disturbed; try another cable or port without a hub, and see `dmesg`",
    ),
    (Errno::PIPE, "EPIPE", "the camera does not answer the driver; plug it in again, and see `dmesg`"),
    (Errno::NOLINK, "ENOLINK", "the camera's video link is down; check its cable, and see `dmesg`"),
    (Errno::TIMEDOUT, "ETIMEDOUT", "the camera does not answer the driver in time; plug it in again, and see `dmesg`"),
    (Errno::NOMEM, "ENOMEM", "there is no memory for its buffers; use a smaller --size, or free memory"),
    (Errno::MFILE, "EMFILE", "this process may not open more files; raise the limit (`ulimit -n`)"),
];

impl Trouble {
    /// A call failed: `what` was attempted with the device `name`.
    pub fn from_io(name: &str, what: &str, error: &io::Error) -> Self {
        let known = Errno::from_io_error(error).and_then(|errno| KNOWN.iter().find(|(code, ..)| *code == errno));
        let (reason, remedy) = match (known, error.raw_os_error()) {
            (Some((_, reason, remedy)), _) => ((*reason).to_owned(), *remedy),
            (None, Some(code)) => (format!("E{code}"), "see `dmesg` for what the kernel says about it"),
            (None, None) => ("ERROR".to_owned(), "see `dmesg` for what the kernel says about it"),
        };
        Self { message: format!("{name}: {what}: {reason}: {remedy}"), reason }
    }

    /// Reading frames failed.
    pub fn streaming(name: &str, error: &io::Error) -> Self {
        Self::from_io(name, "no more frames", error)
    }

    /// The device works, and gives nothing.
    pub fn silent(name: &str, timeout: Duration) -> Self {
        let message = format!(
            "{name}: no good frame for {} s; is its cable or its video signal off, or the USB hub without \
             power? --camera-timeout sets how long to wait",
            timeout.as_secs_f64()
        );
        Self { reason: "TIMEOUT".into(), message }
    }

    /// Something about the camera that no error code says.
    pub fn other(reason: &str, message: String) -> Self {
        Self { reason: reason.to_owned(), message }
    }
}

/// A signal came, or a frame was announced too early: nothing is wrong.
pub fn is_harmless(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// USERS case 8.
    #[test]
    fn case_08_each_code_has_a_message_of_its_own_with_a_remedy() {
        let told = |code: i32| Trouble::from_io("/dev/video0", "opening", &io::Error::from_raw_os_error(code));
        // Numbers of every Linux that we build for.
        let cases = [
            (28, "ENOSPC", "--format mjpeg"),
            (16, "EBUSY", "fuser"),
            (13, "EACCES", "SupplementaryGroups=video"),
            (19, "ENODEV", "unplugged"),
            (25, "ENOTTY", "edge-rcnn cameras"),
            (2, "ENOENT", "/dev/v4l/by-id"),
            (5, "EIO", "cable"),
            (22, "EINVAL", "offers"),
        ];
        let mut messages: Vec<String> = Vec::new();
        for (code, name, word) in cases {
            let trouble = told(code);
            assert_eq!(trouble.reason, name);
            assert!(
                trouble.message.starts_with("/dev/video0: opening: ") && trouble.message.contains(word),
                "{trouble}"
            );
            messages.push(trouble.message);
        }
        messages.sort();
        messages.dedup();
        assert_eq!(messages.len(), cases.len());
        assert_eq!(told(121).reason, "E121");
        assert_eq!(Trouble::from_io("x", "y", &io::Error::other("z")).reason, "ERROR");
    }
}
