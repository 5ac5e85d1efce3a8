//! Pictures of every kind people have, decoded to the colours they show.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use edge_rcnn::frame::{Blob, Picture, Scaling, preprocess};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};

fn bytes(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn assert_close(got: Option<[u8; 3]>, want: [u8; 3], what: &str) {
    let got = got.unwrap();
    assert!(got.iter().zip(want).all(|(&g, w)| g.abs_diff(w) <= 4), "{what}: got {got:?}, want {want:?}");
}

#[test]
fn cmyk_ink_becomes_the_colour_it_prints() {
    let p = Picture::decode(include_bytes!("pictures/cmyk.jpg")).unwrap();
    let squares = [
        ("cyan", [0, 255, 255]),
        ("magenta", [255, 0, 255]),
        ("yellow", [255, 255, 0]),
        ("half black", [127, 127, 127]),
        ("paper", [255, 255, 255]),
    ];
    for (i, (name, want)) in squares.into_iter().enumerate() {
        assert_close(p.pixel(16 * i + 8, 8), want, name);
    }
}

#[test]
fn gray_is_spread_over_the_three_channels() {
    let gray = ImageBuffer::from_fn(20, 10, |x, _| Luma([(x * 12) as u8]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let p = Picture::decode(&bytes(gray.clone(), format)).unwrap();
        assert_close(p.pixel(10, 5), [120, 120, 120], "gray");
    }
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    let colour: ImageBuffer<Rgb<u16>, _> = ImageBuffer::from_pixel(3, 2, Rgb([65535, 32768, 257]));
    assert_eq!(Picture::decode(&bytes(colour, ImageFormat::Png)).unwrap().pixel(1, 1), Some([255, 128, 1]));
    let gray: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_pixel(3, 2, Luma([51400]));
    assert_eq!(Picture::decode(&bytes(gray, ImageFormat::Png)).unwrap().pixel(0, 0), Some([200, 200, 200]));
}

#[test]
fn a_transparent_pixel_keeps_the_colour_stored_under_it() {
    let colour: ImageBuffer<Rgba<u8>, _> = ImageBuffer::from_pixel(2, 2, Rgba([200, 100, 50, 0]));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let p = Picture::decode(&bytes(colour.clone(), format)).unwrap();
        assert_eq!(p.pixel(0, 1), Some([200, 100, 50]), "{format:?}");
    }
    let gray: ImageBuffer<LumaA<u8>, _> = ImageBuffer::from_pixel(2, 2, LumaA([70, 10]));
    assert_eq!(Picture::decode(&bytes(gray, ImageFormat::Png)).unwrap().pixel(0, 0), Some([70; 3]));
}

/// A JPEG with an EXIF block that says how it must be turned.
fn turned(stored: RgbImage, orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let jpeg = bytes(stored, ImageFormat::Jpeg);
    let mut out = jpeg[..2].to_vec();
    out.extend([0xFF, 0xE1]);
    out.extend((exif.len() as u16 + 2).to_be_bytes());
    out.extend(exif);
    out.extend(&jpeg[2..]);
    out
}

#[test]
fn all_eight_exif_orientations_come_out_upright() {
    // Upright: 32×16, left half red, right half blue, with a green stripe along the top.
    let upright = RgbImage::from_fn(32, 16, |x, y| match (x, y) {
        (_, 0..8) => Rgb([0, 255, 0]),
        (0..16, _) => Rgb([255, 0, 0]),
        _ => Rgb([0, 0, 255]),
    });
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    // How the camera has stored it, by the tag's table in the EXIF standard.
    let stored = [
        upright.clone(),
        flip_horizontal(&upright),
        rotate180(&upright),
        flip_vertical(&upright),
        flip_horizontal(&rotate90(&upright)),
        rotate270(&upright),
        flip_horizontal(&rotate270(&upright)),
        rotate90(&upright),
    ];
    for (i, stored) in stored.into_iter().enumerate() {
        let what = format!("orientation {}", i + 1);
        let p = Picture::decode(&turned(stored, i as u8 + 1)).unwrap();
        assert_eq!((p.width, p.height), (32, 16), "{what}");
        assert_close(p.pixel(3, 3), [0, 255, 0], &what);
        assert_close(p.pixel(3, 12), [255, 0, 0], &what);
        assert_close(p.pixel(28, 12), [0, 0, 255], &what);
    }
}

#[test]
fn one_pixel_and_one_row_reach_the_network() {
    let mut blob = Blob::default();
    for (width, height, input) in [(1, 1, (600, 600)), (20_000, 1, (1000, 1)), (1, 20_000, (1, 1000))] {
        let png = bytes(RgbImage::from_pixel(width, height, Rgb([10, 20, 30])), ImageFormat::Png);
        preprocess(&Picture::decode(&png).unwrap(), Scaling::default(), [0.0; 3], &mut blob);
        assert_eq!((blob.width, blob.height), input);
        assert!(blob.data[..input.0 * input.1].iter().all(|v| (v - 30.0).abs() < 1e-4));
    }
}

#[test]
fn the_error_names_the_file_the_reason_and_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let said = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let message = Picture::open(&path).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        message
    };
    assert!(said("empty.jpg", b"").contains("is empty; copy it again"));
    assert!(said("text.png", b"hello, world").contains("convert it first"));
    let jpeg = bytes(RgbImage::new(64, 64), ImageFormat::Jpeg);
    assert!(said("half.jpg", &jpeg[..jpeg.len() / 2]).contains("is cut off: the JPEG ends"));
    let png = bytes(RgbImage::new(64, 64), ImageFormat::Png);
    assert!(said("half.png", &png[..png.len() / 2]).contains("is cut off: the PNG ends"));
    let missing = Picture::open(&dir.path().join("nowhere.jpg")).unwrap_err().to_string();
    assert!(missing.contains("nowhere.jpg: cannot be read: No such file"), "{missing}");
    let folder = Picture::open(dir.path()).unwrap_err().to_string();
    assert!(folder.contains("is a folder, not a picture"), "{folder}");
}

#[test]
fn the_name_of_a_file_does_not_matter_its_content_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("really-a-png.jpg");
    std::fs::write(&path, bytes(RgbImage::new(3, 2), ImageFormat::Png)).unwrap();
    assert_eq!(Picture::open(&path).unwrap().width, 3);
}

#[test]
fn the_sample_photographs_decode() {
    for (name, size) in [("astronaut", (512, 512)), ("chelsea", (451, 300)), ("coffee", (600, 400))] {
        let path = format!("{}/tests/photos/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
        let p = Picture::open(path.as_ref()).unwrap();
        assert_eq!((p.width, p.height), size);
    }
}
