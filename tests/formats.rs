//! One photograph in every pixel format a camera may give, through the conversion and the detector: the same objects.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;
use std::path::Path;

use edge_rcnn::detector::{Detection, Detector, DetectorOptions, Precision};
use edge_rcnn::frame::{Layout, Picture, PixelFormat, to_picture};
use edge_rcnn::model::Bundle;
use image::RgbImage;

/// BT.601, limited range, not rounded.
fn yuv(pixel: &[u8]) -> [f64; 3] {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f64::from);
    [
        16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0,
        128.0 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255.0,
        128.0 + (112.0 * r - 93.786 * g - 18.214 * b) / 255.0,
    ]
}

/// One channel, the mean of each block of `sx`×`sy` pixels.
fn channel(image: &RgbImage, channel: usize, sx: usize, sy: usize) -> Vec<Vec<u8>> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let value = |x: usize, y: usize| yuv(&image.get_pixel(x as u32, y as u32).0)[channel];
    let block = |x: usize, y: usize| {
        let sum: f64 = (0..sx * sy).map(|i| value(x * sx + i % sx, y * sy + i / sx)).sum();
        (sum / (sx * sy) as f64).round() as u8
    };
    (0..height / sy).map(|y| (0..width / sx).map(|x| block(x, y)).collect()).collect()
}

/// A camera's frame: rows of the planes one after another, each as long as its stride says.
fn frame(image: &RgbImage, format: PixelFormat, padding: usize) -> (Layout, Vec<u8>) {
    let tight = Layout::new(format, image.width() as usize, image.height() as usize);
    let layout = Layout { stride: tight.stride + padding, ..tight };
    let mut bytes = Vec::new();
    let mut rows = |rows: Vec<Vec<u8>>, stride: usize| {
        for row in rows {
            bytes.extend_from_slice(&row);
            bytes.resize(bytes.len() + stride - row.len(), 0xEE);
        }
    };
    let stride = layout.stride;
    let planes = |sx, sy| [channel(image, 0, 1, 1), channel(image, 1, sx, sy), channel(image, 2, sx, sy)];
    let mixed = |a: Vec<Vec<u8>>, b: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        let pairs = |(a, b): (Vec<u8>, Vec<u8>)| a.into_iter().zip(b).flat_map(|(a, b)| [a, b]).collect();
        a.into_iter().zip(b).map(pairs).collect()
    };
    match format {
        PixelFormat::Yuyv | PixelFormat::Uyvy => {
            let [y, u, v] = planes(2, 1);
            let uv = mixed(u, v);
            rows(if format == PixelFormat::Yuyv { mixed(y, uv) } else { mixed(uv, y) }, stride);
        }
        PixelFormat::Nv12 | PixelFormat::Nv21 => {
            let [y, u, v] = planes(2, 2);
            rows(y, stride);
            rows(if format == PixelFormat::Nv12 { mixed(u, v) } else { mixed(v, u) }, stride);
        }
        PixelFormat::I420 => {
            let [y, u, v] = planes(2, 2);
            rows(y, stride);
            [u, v].into_iter().for_each(|plane| rows(plane, stride / 2));
        }
        PixelFormat::Bgr24 => {
            let lines = image.rows().map(|row| row.flat_map(|p| [p.0[2], p.0[1], p.0[0]]).collect());
            rows(lines.collect(), stride);
        }
        _ => rows(image.rows().map(|row| row.flat_map(|p| p.0).collect()).collect(), stride),
    }
    (layout, bytes)
}

struct Eye(Detector);

impl Eye {
    fn new() -> Self {
        // In real numbers, where a small difference of pixels stays small.
        let precision = Precision::F32;
        let options =
            DetectorOptions { short_side: Some(300), proposals: Some(100), precision, ..DetectorOptions::default() };
        Self(Detector::new(Bundle::builtin().unwrap(), options).unwrap())
    }

    fn see(&mut self, layout: Layout, bytes: &[u8]) -> Vec<Detection> {
        let mut picture = Picture { width: 0, height: 0, rgb: Vec::new() };
        to_picture(layout, bytes, &mut picture).unwrap();
        let found = self.0.detect(&picture).unwrap().detections;
        found.into_iter().filter(|d| d.score > 0.3).collect()
    }
}

fn assert_same(got: &[Detection], want: &[Detection], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: {got:?}, wanted {want:?}");
    for (g, w) in got.iter().zip(want) {
        let corners = |d: &Detection| [d.rect.x1, d.rect.y1, d.rect.x2, d.rect.y2];
        let off = corners(g).iter().zip(corners(w)).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        // Rounding to eight bits, and colour at half the resolution: measured 1.1 pixels and 0.011 at most.
        assert!(g.class_id == w.class_id && off < 3.0 && (g.score - w.score).abs() < 0.03, "{what}: {g:?}, {w:?}");
    }
}

/// USERS cases 6 and 17.
#[test]
fn case_06_every_format_of_a_camera_gives_the_same_detections_padded_or_not() {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/photos/astronaut.jpg");
    let image = image::open(photo).unwrap().into_rgb8();
    let mut eye = Eye::new();
    let (layout, bytes) = frame(&image, PixelFormat::Rgb24, 0);
    let want = eye.see(layout, &bytes);
    assert!(!want.is_empty(), "nothing is found, so nothing is compared");
    let formats = [
        PixelFormat::Rgb24,
        PixelFormat::Bgr24,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
        PixelFormat::Nv21,
        PixelFormat::I420,
    ];
    for format in formats {
        let (layout, bytes) = frame(&image, format, 0);
        let tight = eye.see(layout, &bytes);
        assert_same(&tight, &want, format.name());
        let (layout, bytes) = frame(&image, format, 64);
        assert_eq!(eye.see(layout, &bytes), tight, "{} with padded rows", format.name());
    }
    let mut best = Cursor::new(Vec::new());
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut best, 98).encode_image(&image).unwrap();
    assert_same(&eye.see(Layout::ENCODED, best.get_ref()), &want, "JPEG");
}

/// A gray camera sees what a colour camera would see of a gray world.
#[test]
fn case_17_gray_frames_give_what_gray_pictures_give() {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/photos/astronaut.jpg");
    let gray = image::open(photo).unwrap().into_luma8();
    let (width, height) = (gray.width() as usize, gray.height() as usize);
    let mut eye = Eye::new();
    let rgb: Vec<u8> = gray.as_raw().iter().flat_map(|&v| [v; 3]).collect();
    let want = eye.see(Layout::new(PixelFormat::Rgb24, width, height), &rgb);
    assert!(!want.is_empty(), "nothing is found, so nothing is compared");
    assert_eq!(eye.see(Layout::new(PixelFormat::Gray, width, height), gray.as_raw()), want);
    let padded: Vec<u8> = gray.as_raw().chunks(width).flat_map(|row| [row, &[7; 13]].concat()).collect();
    let layout = Layout { stride: width + 13, ..Layout::new(PixelFormat::Gray, width, height) };
    assert_eq!(eye.see(layout, &padded), want);
}
