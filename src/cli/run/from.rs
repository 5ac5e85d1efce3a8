//! Which source a command line means.

#[path = "camera.rs"]
mod camera;

use std::path::{Path, PathBuf};

use edge_rcnn::frame::{Layout, PixelFormat};
use edge_rcnn::source::{Context, Files, Framing, Source, SourceError, Stream, Synthetic};

use super::super::Failure;
use super::super::inputs::{Input, gather};

/// Size and rate of the synthetic source.
const SYNTHETIC: ((usize, usize), f64) = ((640, 480), 30.0);

/// Keys of the settings below: a run keeps them for its life.
pub const KEYS: &[&str] = &[
    "source",
    "format",
    "size",
    "fps",
    "loop",
    "every_frame",
    "recursive",
    "set",
    "camera_timeout",
    "require_camera",
    "exit_on_lost",
];

/// Where frames come from.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Source")]
pub struct Args {
    /// A camera (/dev/video0, or a link of /dev/v4l/by-id, which stays when numbers change), "-" for standard input,
    /// "synthetic" for drawn frames, a folder of pictures, a picture, a Y4M or motion JPEG file
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// What the bytes of a file or of standard input are [default: Y4M or motion JPEG, told from the first byte], or what
    /// the camera is to give [default: what is cheapest to decode at that size and rate]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Size of raw, synthetic and camera frames in pixels [default of cameras: 640x480 or the nearest they have]
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(usize, usize)>,
    /// Frames a second of files, the synthetic source and cameras [default: files as fast as they are looked at, synthetic
    /// 30, cameras what they do by themselves]
    #[arg(long, value_name = "N")]
    fps: Option<f64>,
    /// Start files again at their end, for ever
    #[arg(long = "loop")]
    repeat: bool,
    /// Look at each frame of a pipe and of the synthetic source, let them wait for it
    #[arg(long)]
    every_frame: bool,
    /// Also open the folders inside of folders
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    camera: camera::Args,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// YUV4MPEG2, as ffmpeg -f yuv4mpegpipe writes it
    Y4m,
    /// JPEG after JPEG
    Mjpeg,
    /// Raw 4:2:2, Y U Y V
    Yuyv,
    /// Raw 4:2:2, U Y V Y
    Uyvy,
    /// Raw 4:2:0, a plane of Y and one of U V pairs
    Nv12,
    /// Raw 4:2:0, a plane of Y and one of V U pairs
    Nv21,
    /// Raw 4:2:0, planes of Y, U and V
    I420,
    /// Raw, three bytes a pixel
    Rgb24,
    /// Raw, three bytes a pixel
    Bgr24,
    /// Raw, one byte a pixel
    Gray,
}

impl Format {
    /// The layout of pixels; none for those that tell it themselves.
    fn pixels(self) -> Option<PixelFormat> {
        match self {
            Self::Y4m | Self::Mjpeg => None,
            Self::Yuyv => Some(PixelFormat::Yuyv),
            Self::Uyvy => Some(PixelFormat::Uyvy),
            Self::Nv12 => Some(PixelFormat::Nv12),
            Self::Nv21 => Some(PixelFormat::Nv21),
            Self::I420 => Some(PixelFormat::I420),
            Self::Rgb24 => Some(PixelFormat::Rgb24),
            Self::Bgr24 => Some(PixelFormat::Bgr24),
            Self::Gray => Some(PixelFormat::Gray),
        }
    }
}

impl Args {
    /// Size of the frames as far as it is known before the first one.
    pub fn frame_size(&self) -> (usize, usize) {
        self.size.unwrap_or(SYNTHETIC.0)
    }
}

/// Opens the source.
pub fn open(args: &Args, context: &Context) -> Result<Box<dyn Source>, Failure> {
    let context = context.clone();
    let Some(source) = args.source.as_deref() else {
        return Err(Failure::usage("no source; give one with --source, or as `source = …` in the file of --config"));
    };
    let path = Path::new(source);
    if camera::is_camera(path) {
        return camera::open(path, (args.size, args.fps, args.format), &args.camera, context);
    }
    let framing = framing(args)?;
    match source {
        "synthetic" => {
            let (width, height) = args.size.unwrap_or(SYNTHETIC.0);
            let source = Synthetic::new(width, height, args.fps.unwrap_or(SYNTHETIC.1), context);
            source.map_err(failure).map(|mut source| {
                args.every_frame.then(|| source.every_frame());
                Box::new(source) as Box<dyn Source>
            })
        }
        "-" => Stream::stdin(framing, args.fps, context).map_err(failure).map(|source| stream(args, source)),
        _ if args.format.is_some() || is_film(path) => {
            let source = Stream::open(path, framing, args.repeat, args.fps, context);
            source.map_err(failure).map(|source| stream(args, source))
        }
        name => {
            let paths = pictures(path, args.recursive)?;
            let files = Files::new(name.to_owned(), paths, args.repeat, args.fps, context);
            files.map_err(failure).map(|source| Box::new(source) as Box<dyn Source>)
        }
    }
}

fn stream(args: &Args, mut source: Stream) -> Box<dyn Source> {
    args.every_frame.then(|| source.every_frame());
    Box::new(source)
}

fn framing(args: &Args) -> Result<Framing, Failure> {
    let format = match args.format {
        None => return Ok(Framing::Auto),
        Some(Format::Y4m) => return Ok(Framing::Y4m),
        Some(format) => match format.pixels() {
            Some(pixels) => pixels,
            None => return Ok(Framing::Mjpeg),
        },
    };
    let Some((width, height)) = args.size else {
        let name = format.name();
        return Err(Failure::usage(format!("--format {name}: raw frames do not tell their size; add --size WxH")));
    };
    Ok(Framing::Raw(Layout::new(format, width, height)))
}

/// A file that holds many frames.
fn is_film(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|e| ["y4m", "mjpeg", "mjpg"].contains(&e.as_str()))
}

/// The pictures meant by a path, at least one.
fn pictures(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for input in gather(&[path.to_owned()], recursive) {
        match input {
            Input::Picture { path, .. } => paths.push(path),
            Input::Problem { message, missing: true, .. } => {
                let other = "a source is a camera (/dev/video0), \"-\", \"synthetic\", a folder, or a picture, Y4M or motion JPEG file";
                return Err(Failure::missing(format!("{message}; {other}")));
            }
            Input::Problem { message, .. } if paths.is_empty() => return Err(Failure::missing(message)),
            Input::Problem { message, .. } => log::error!("{message}"),
        }
    }
    Ok(paths)
}

/// Wrong settings are wrong usage; the rest depends on whether there is anything.
pub fn failure(error: SourceError) -> Failure {
    match error {
        SourceError::Setting { name, value, reason } => Failure::usage(format!("--{name} {value}: {reason}")),
        e if e.is_missing() => Failure::missing(e),
        e if e.is_unavailable() => Failure::unavailable(e),
        e => Failure::runtime(e),
    }
}

/// `640x480`.
fn size(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once(['x', 'X', '×']).and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides
        .filter(|side| (1..=32768).contains(&side.0) && (1..=32768).contains(&side.1))
        .ok_or_else(|| "give width and height in pixels like 640x480, 1 to 32768 each".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers_with_a_cross() {
        assert_eq!(size("640x480"), Ok((640, 480)));
        assert_eq!(size("640X480"), Ok((640, 480)));
        for wrong in ["", "640", "640x", "x480", "0x480", "-1x4", "640x480x3", "99999x2"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
