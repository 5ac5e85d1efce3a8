//! The camera's options on the command line.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use edge_rcnn::frame::PixelFormat;
use edge_rcnn::source::camera::{Camera, CameraOptions, Driver, Wanted};
use edge_rcnn::source::{Context, Source};

use super::super::super::Failure;
use super::{Format, failure};

/// What only cameras have.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Camera")]
pub struct Args {
    /// Set a control of the camera at each opening, in the order given; `edge-rcnn cameras` lists them
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = control)]
    controls: Vec<(String, i32)>,
    /// Take the camera for lost after so many seconds without a good frame
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    camera_timeout: f64,
    /// Do not start without the camera (exit code 69)
    #[arg(long)]
    require_camera: bool,
    /// End when the camera is lost (exit code 69) instead of waiting for it
    #[arg(long)]
    exit_on_lost: bool,
}

/// True for a device, also one that is not there yet.
pub fn is_camera(path: &Path) -> bool {
    path.starts_with("/dev") || fs::metadata(path).is_ok_and(|m| m.file_type().is_char_device())
}

/// Makes a source of the camera at `path`.
pub fn open(
    path: &Path,
    (size, fps, format): (Option<(usize, usize)>, Option<f64>, Option<Format>),
    args: &Args,
    context: Context,
) -> Result<Box<dyn Source>, Failure> {
    let timeout = Duration::try_from_secs_f64(args.camera_timeout).ok().filter(|t| *t >= Duration::from_millis(100));
    let timeout = timeout.ok_or_else(|| {
        Failure::usage(format!("--camera-timeout {}: must be at least 0.1 seconds", args.camera_timeout))
    })?;
    if let Some(fps) = fps.filter(|fps| !(0.01..=1000.0).contains(fps)) {
        return Err(Failure::usage(format!("--fps {fps}: must be 0.01 to 1000 frames a second")));
    }
    let wanted = Wanted {
        // The parser of sizes lets nothing through that is larger.
        size: size.map(|(width, height)| (width as u32, height as u32)),
        fps,
        format: format.map(pixels).transpose()?,
        controls: args.controls.clone(),
        ..Wanted::new(path)
    };
    let options = CameraOptions { timeout, exit_on_lost: args.exit_on_lost };
    let mut camera = Camera::new(wanted, driver()?, options, context);
    if args.require_camera {
        camera.require().map_err(failure)?;
    }
    Ok(Box::new(camera))
}

#[cfg(feature = "camera")]
#[allow(clippy::unnecessary_wraps, reason = "a build without cameras has none")]
fn driver() -> Result<Box<dyn Driver>, Failure> {
    Ok(Box::new(edge_rcnn::source::camera::v4l2::V4l2))
}

#[cfg(not(feature = "camera"))]
fn driver() -> Result<Box<dyn Driver>, Failure> {
    Err(Failure::usage(
        "this program was built without cameras; build it with the feature `camera`, or use ffmpeg and a pipe",
    ))
}

fn pixels(format: Format) -> Result<PixelFormat, Failure> {
    match format {
        Format::Y4m => Err(Failure::usage("--format y4m: no camera gives it; use mjpeg or a raw format")),
        Format::Mjpeg => Ok(PixelFormat::Encoded),
        raw => Ok(raw.pixels().unwrap_or(PixelFormat::Encoded)),
    }
}

/// `exposure_auto=1`.
fn control(text: &str) -> Result<(String, i32), String> {
    let parts = text.split_once('=').and_then(|(name, value)| Some((name.trim(), value.trim().parse().ok()?)));
    parts
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .ok_or_else(|| "give a name and a whole number like exposure_auto=1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_a_name_and_a_number() {
        assert_eq!(control("exposure_auto=1"), Ok(("exposure_auto".into(), 1)));
        assert_eq!(control(" Pan = -3600 "), Ok(("Pan".into(), -3600)));
        for wrong in ["", "gain", "gain=", "=1", "gain=high", "gain=1.5", "gain=99999999999"] {
            assert!(control(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_are_cameras_and_files_are_not() {
        assert!(is_camera(Path::new("/dev/video9")) && is_camera(Path::new("/dev/v4l/by-id/usb-x")));
        assert!(!is_camera(Path::new("film.y4m")) && !is_camera(Path::new("/nowhere/dev/video0")));
    }
}
