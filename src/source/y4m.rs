//! YUV4MPEG2: what `ffmpeg -f yuv4mpegpipe` and mjpegtools write.
//!
//! A line `YUV4MPEG2 W640 H480 F30:1 C420jpeg XCOLORRANGE=LIMITED`, parameters in any order, then for each frame a line
//! that starts with `FRAME` and the planes. 8 bits; 4:2:0, 4:2:2, 4:4:4 and luma alone. Where the chroma samples of 4:2:0
//! lie exactly makes no difference to a detector and is ignored.

use std::io::{self, BufRead, Read};

use super::bytes::fill;
use super::stream::Part;
use crate::frame::{Layout, MAX_PIXELS, PixelFormat};

/// Longer lines are no headers.
const MAX_LINE: u64 = 4096;

/// Reads the stream's header; the error says what is wrong with it.
pub fn header(input: &mut dyn BufRead) -> io::Result<Result<Layout, String>> {
    Ok(layout(&line(input)?))
}

fn layout(line: &[u8]) -> Result<Layout, String> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    if words.next() != Some("YUV4MPEG2") {
        return Err("is not Y4M, it does not start with YUV4MPEG2".into());
    }
    let (mut width, mut height, mut colours, mut full_range) = (0, 0, "420jpeg", false);
    for word in words {
        match word.split_at_checked(1) {
            Some(("W", value)) => width = value.parse().unwrap_or(0),
            Some(("H", value)) => height = value.parse().unwrap_or(0),
            Some(("C", value)) => colours = value,
            Some(("X", "COLORRANGE=FULL")) => full_range = true,
            _ => {}
        }
    }
    let format = match colours {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => PixelFormat::I420,
        "422" => PixelFormat::I422,
        "444" => PixelFormat::I444,
        "mono" => PixelFormat::Luma,
        other => return Err(format!("its colour format C{other} is not one of 420, 422, 444 and mono with 8 bits")),
    };
    match u64::checked_mul(width, height) {
        Some(1..=MAX_PIXELS) => Ok(Layout { full_range, ..Layout::new(format, width as usize, height as usize) }),
        _ => Err(format!("its header gives no usable size (W{width} H{height}, at most {MAX_PIXELS} pixels)")),
    }
}

/// Reads one frame.
pub fn frame(input: &mut dyn BufRead, layout: Layout, to: &mut Vec<u8>) -> io::Result<Part> {
    let line = line(input)?;
    if line.is_empty() {
        return Ok(Part::End);
    }
    if !line.starts_with(b"FRAME") {
        return Ok(Part::Lost("a frame does not start with FRAME: the stream is damaged from here on".into()));
    }
    raw(input, layout, to)
}

/// Reads the bytes of one frame.
pub fn raw(input: &mut dyn BufRead, layout: Layout, to: &mut Vec<u8>) -> io::Result<Part> {
    let wanted = layout.bytes().unwrap_or(0);
    to.resize(wanted, 0);
    Ok(match fill(input, to)? {
        0 => Part::End,
        got if got < wanted => Part::Lost(format!("the last frame is cut off: {got} of its {wanted} bytes came")),
        _ => Part::Whole(layout),
    })
}

fn line(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    Ok(line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_understood_in_any_order() {
        let layout = |text: &str| header(&mut text.as_bytes()).unwrap();
        let of = |format, w, h| Layout::new(format, w, h);
        assert_eq!(layout("YUV4MPEG2 W640 H480 F30:1 Ip A1:1\n"), Ok(of(PixelFormat::I420, 640, 480)));
        assert_eq!(layout("YUV4MPEG2 C444 H2 W3 XYSCSS=444\n"), Ok(of(PixelFormat::I444, 3, 2)));
        assert_eq!(layout("YUV4MPEG2 W3 H2 Cmono\n"), Ok(of(PixelFormat::Luma, 3, 2)));
        let full = Layout { full_range: true, ..of(PixelFormat::I422, 3, 2) };
        assert_eq!(layout("YUV4MPEG2 W3 H2 C422 XCOLORRANGE=FULL\n"), Ok(full));
    }

    #[test]
    fn wrong_headers_are_refused_with_the_reason() {
        let why = |text: &str| header(&mut text.as_bytes()).unwrap().unwrap_err();
        assert!(why("RIFF").contains("YUV4MPEG2"));
        assert!(why("YUV4MPEG2 W3 H2 C420p10\n").contains("C420p10"));
        for size in ["", "W3", "W3 H0", "W-3 H2", "W99999999999 H99999999999"] {
            assert!(why(&format!("YUV4MPEG2 {size}\n")).contains("size"), "{size}");
        }
    }

    #[test]
    fn frames_follow_each_other_until_the_end_and_a_cut_off_one_is_told() {
        let layout = Layout::new(PixelFormat::Luma, 2, 1);
        let (mut input, mut to) = (b"FRAME\nabFRAME Xyz\ncdFRAME\ne".as_slice(), Vec::new());
        assert_eq!(frame(&mut input, layout, &mut to).unwrap(), Part::Whole(layout));
        assert_eq!(to, b"ab");
        assert_eq!(frame(&mut input, layout, &mut to).unwrap(), Part::Whole(layout));
        assert_eq!(to, b"cd");
        assert!(matches!(frame(&mut input, layout, &mut to).unwrap(), Part::Lost(why) if why.contains("1 of its 2")));
        assert_eq!(frame(&mut input, layout, &mut to).unwrap(), Part::End);
    }
}
