//! Which of a camera's formats to ask for: the size that was wanted, a rate that suffices, the cheapest to decode.

use super::{FourCc, Granted, Wanted};
use crate::frame::PixelFormat;

/// Taken when no size is wanted: enough for most models, and every camera has it or something near.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// Taken when no rate is wanted: a format that is slower than this is passed over for one that is costlier to decode.
const USUAL_FPS: f64 = 15.0;

/// The formats we read, with V4L2's names for them, the cheapest first. Measured for 1280×720 on one x86-64 core, in ms:
/// RGB 0.2, the YUV ones 0.3, BGR 0.5, JPEG 1.5. Gray comes last: it costs 0.3, but the models want colours.
const READ: [(&[u8; 4], PixelFormat); 10] = [
    (b"RGB3", PixelFormat::Rgb24),
    (b"NV12", PixelFormat::Nv12),
    (b"NV21", PixelFormat::Nv21),
    (b"YU12", PixelFormat::I420),
    (b"YUYV", PixelFormat::Yuyv),
    (b"UYVY", PixelFormat::Uyvy),
    (b"BGR3", PixelFormat::Bgr24),
    (b"MJPG", PixelFormat::Encoded),
    (b"JPEG", PixelFormat::Encoded),
    (b"GREY", PixelFormat::Gray),
];

/// What a V4L2 format is to us; `None` if we do not read it.
pub fn pixel_format(fourcc: FourCc) -> Option<PixelFormat> {
    READ.iter().find(|(name, _)| **name == fourcc.0).map(|(_, format)| *format)
}

/// Sizes from `min` to `max` in steps; one size if they are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Smallest width and height.
    pub min: (u32, u32),
    /// Largest width and height.
    pub max: (u32, u32),
    /// From one to the next.
    pub step: (u32, u32),
}

impl Sizes {
    /// One size.
    pub fn one(size: (u32, u32)) -> Self {
        Self { min: size, max: size, step: (1, 1) }
    }

    /// The size nearest to `wanted`.
    pub fn nearest(&self, wanted: (u32, u32)) -> (u32, u32) {
        let side = |min: u32, max: u32, step: u32, wanted: u32| {
            let steps = wanted.clamp(min, max.max(min)) - min;
            min + steps - steps % step.max(1)
        };
        (side(self.min.0, self.max.0, self.step.0, wanted.0), side(self.min.1, self.max.1, self.step.1, wanted.1))
    }
}

/// What a camera offers in one format.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The format.
    pub fourcc: FourCc,
    /// In the driver's words.
    pub description: String,
    /// Sizes, each with its highest rate, if the driver says. Empty if the driver does not list sizes.
    pub sizes: Vec<(Sizes, Option<f64>)>,
}

/// What to ask the driver for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The format.
    pub fourcc: FourCc,
    /// Columns and rows.
    pub size: (u32, u32),
}

/// The size to look for.
pub fn wanted_size(wanted: &Wanted) -> (u32, u32) {
    wanted.size.unwrap_or(USUAL_SIZE)
}

/// The best of the offers; `None` if we read none of them, or not the one that was asked for.
pub fn choose(offers: &[Offer], wanted: &Wanted) -> Option<Choice> {
    let (size, fps) = (wanted_size(wanted), wanted.fps.unwrap_or(USUAL_FPS));
    let cost = |fourcc: FourCc| READ.iter().position(|(name, _)| **name == fourcc.0);
    let readable = offers.iter().filter(|offer| {
        pixel_format(offer.fourcc).is_some_and(|format| wanted.format.is_none_or(|wanted| wanted == format))
    });
    let candidates = readable.flat_map(|offer| {
        let unknown = offer.sizes.is_empty().then_some((Sizes::one(size), None));
        let sizes = offer.sizes.iter().copied().chain(unknown);
        sizes.map(move |(sizes, fps)| (Choice { fourcc: offer.fourcc, size: sizes.nearest(size) }, fps))
    });
    let key = |(choice, most): &(Choice, Option<f64>)| {
        let off = u64::from(choice.size.0.abs_diff(size.0)) + u64::from(choice.size.1.abs_diff(size.1));
        // Rates are compared in hundredths: 29.97 is not slower than 30 for anybody.
        let slow = most.map_or(0, |most| ((fps - most - 0.05).max(0.0) * 100.0) as u64);
        (off, slow, cost(choice.fourcc))
    };
    candidates.min_by_key(key).map(|(choice, _)| choice)
}

/// The offers in words, for a refusal.
pub fn listed(offers: &[Offer]) -> String {
    let names = offers.iter().map(|offer| {
        let known = if pixel_format(offer.fourcc).is_some() { "" } else { " (not read by this program)" };
        format!("{}{known}", offer.fourcc)
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Says so if the driver has granted something else than was wanted.
pub fn difference(wanted: &Wanted, granted: &Granted) -> Option<String> {
    let mut said = Vec::new();
    if let Some((width, height)) = wanted.size.filter(|&size| size != granted.size) {
        said.push(format!("{}x{} instead of {width}x{height}", granted.size.0, granted.size.1));
    }
    if let (Some(asked), Some(fps)) = (wanted.fps, granted.fps)
        && (fps - asked).abs() > 0.05 * asked
    {
        said.push(format!("{fps:.1} frames a second instead of {asked}"));
    }
    (!said.is_empty()).then(|| said.join(" and "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn offer(name: &[u8; 4], sizes: &[((u32, u32), f64)]) -> Offer {
        let sizes = sizes.iter().map(|&(size, fps)| (Sizes::one(size), Some(fps))).collect();
        Offer { fourcc: FourCc(*name), description: String::new(), sizes }
    }

    fn chosen(offers: &[Offer], size: Option<(u32, u32)>, fps: Option<f64>) -> (String, (u32, u32)) {
        let choice = choose(offers, &Wanted { size, fps, ..Wanted::new("x") }).unwrap();
        (choice.fourcc.to_string(), choice.size)
    }

    /// What the usual USB camera offers: large YUYV frames come slowly.
    fn webcam() -> Vec<Offer> {
        let (vga, hd) = ((640, 480), (1280, 720));
        vec![
            offer(b"MJPG", &[(vga, 30.0), (hd, 30.0)]),
            offer(b"YUYV", &[(vga, 30.0), (hd, 10.0)]),
            offer(b"H264", &[(hd, 30.0)]),
        ]
    }

    #[test]
    fn the_cheapest_format_of_the_wanted_size_is_taken_unless_it_is_too_slow() {
        assert_eq!(chosen(&webcam(), None, None), ("YUYV".into(), (640, 480)));
        assert_eq!(chosen(&webcam(), Some((1280, 720)), None), ("MJPG".into(), (1280, 720)));
        assert_eq!(chosen(&webcam(), Some((1280, 720)), Some(10.0)), ("YUYV".into(), (1280, 720)));
        assert_eq!(chosen(&webcam(), Some((1920, 1080)), Some(5.0)), ("YUYV".into(), (1280, 720)));
        assert_eq!(chosen(&webcam(), None, Some(30.0)), ("YUYV".into(), (640, 480)));
    }

    #[test]
    fn colour_is_preferred_to_gray_and_what_we_cannot_read_is_never_taken() {
        let vga = [((640, 480), 30.0)];
        assert_eq!(chosen(&[offer(b"GREY", &vga), offer(b"MJPG", &vga)], None, None).0, "MJPG");
        assert_eq!(chosen(&[offer(b"GREY", &vga)], None, None).0, "GREY");
        assert_eq!(chosen(&[offer(b"NV12", &[])], Some((320, 240)), None), ("NV12".into(), (320, 240)));
        assert_eq!(choose(&[offer(b"H264", &vga)], &Wanted::new("x")), None);
        let gray = Wanted { format: Some(PixelFormat::Gray), ..Wanted::new("x") };
        assert_eq!(choose(&webcam(), &gray), None);
        assert_eq!(listed(&webcam()), "MJPG, YUYV, H264 (not read by this program)");
    }

    #[test]
    fn of_sizes_in_steps_the_nearest_is_taken() {
        let sizes = Sizes { min: (32, 16), max: (1280, 720), step: (16, 2) };
        assert_eq!(sizes.nearest((645, 481)), (640, 480));
        assert_eq!(sizes.nearest((1, 9999)), (32, 720));
        let broken = Sizes { min: (64, 64), max: (32, 32), step: (0, 0) };
        assert_eq!(broken.nearest((640, 480)), (64, 64));
    }

    /// USERS case 6.
    #[test]
    fn case_06_another_size_or_rate_than_wanted_is_said() {
        let layout = crate::frame::Layout::new(PixelFormat::Yuyv, 640, 480);
        let fourcc = FourCc(*b"YUYV");
        let granted = Granted {
            device: "/dev/video0".into(),
            card: "a".into(),
            fourcc,
            size: (640, 480),
            layout,
            fps: Some(15.0),
        };
        let wanted = Wanted { size: Some((800, 600)), fps: Some(30.0), ..Wanted::new("x") };
        let said = difference(&wanted, &granted).unwrap();
        assert_eq!(said, "640x480 instead of 800x600 and 15.0 frames a second instead of 30");
        assert_eq!(difference(&Wanted { size: Some((640, 480)), ..Wanted::new("x") }, &granted), None);
        assert_eq!(granted.to_string(), "640x480 YUYV at 15 frames a second from /dev/video0 (a)");
        assert_eq!(FourCc(*b"BA\x0e\xb2").to_string(), "BA\\x0e2-BE");
    }
}
