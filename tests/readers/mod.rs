//! What the program reads from files that others made, one function for each kind of file. `tests/corpus.rs` and the
//! fuzz targets in `fuzz/` feed them; the only thing asked of them is that they return, whatever the bytes.
#![allow(dead_code)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_rcnn::clock::SystemClock;
use edge_rcnn::eval::{Dataset, GroundTruth};
use edge_rcnn::frame::{Layout, Picture, PixelFormat, to_picture};
use edge_rcnn::model::import::{caffemodel, import};
use edge_rcnn::model::{Manifest, onnx};
use edge_rcnn::source::camera::{Camera, CameraOptions, Device, Driver, Filled, FourCc, Granted, Trouble, Wanted};
use edge_rcnn::source::{Context, Frame, Next, Source, Stop};

/// `model.toml` and the two ONNX files.
pub fn bundle(bytes: &[u8]) -> bool {
    let manifest = std::str::from_utf8(bytes).is_ok_and(|text| Manifest::parse(text).is_ok());
    let (weights, shapes) = (onnx::read_weights(bytes), onnx::tensor_shapes(bytes));
    assert_eq!(weights.is_ok(), shapes.is_ok(), "the two readers of ONNX files judge alike");
    manifest || weights.is_ok()
}

/// A network description, up to the comparison with our networks.
pub fn prototxt(bytes: &[u8]) -> bool {
    let caffemodel: &[u8] = &[];
    let _ = import(bytes, caffemodel, None, &[]);
    edge_rcnn::model::import::prototxt::parse(bytes).is_ok()
}

/// Trained weights.
pub fn caffemodel(bytes: &[u8]) -> bool {
    caffemodel::read(bytes).is_ok()
}

/// VOC and COCO annotations.
pub fn annotations(bytes: &[u8]) -> bool {
    let here = Path::new("fuzz");
    let voc = std::str::from_utf8(bytes).is_ok_and(|xml| GroundTruth::from_voc_xml(xml, here).is_ok());
    voc || Dataset::coco_json(bytes, here, here).is_ok()
}

/// Picture files.
pub fn picture(bytes: &[u8]) -> bool {
    Picture::decode(bytes).is_ok_and(|p| {
        assert_eq!(p.rgb.len(), p.width * p.height * 3);
        true
    })
}

/// A camera's buffer. The first four bytes choose format, size and padding; the rest is what the driver has filled.
pub fn camera_buffer(bytes: &[u8]) -> bool {
    const FORMATS: [PixelFormat; 9] = [
        PixelFormat::Encoded,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
        PixelFormat::Nv21,
        PixelFormat::I420,
        PixelFormat::Rgb24,
        PixelFormat::Bgr24,
        PixelFormat::Gray,
    ];
    let Some((&[format, width, height, padding], rest)) = bytes.split_first_chunk() else { return false };
    let layout = match FORMATS[usize::from(format) % FORMATS.len()] {
        PixelFormat::Encoded => Layout::ENCODED,
        format => {
            let tight = Layout::new(format, usize::from(width), usize::from(height));
            Layout { stride: tight.stride + usize::from(padding), ..tight }
        }
    };
    let context = Context { clock: Arc::new(SystemClock), stop: Stop::default() };
    let driver = Box::new(OneBuffer(layout, rest.to_vec()));
    let mut camera = Camera::new(Wanted::new("camera"), driver, CameraOptions::default(), context);
    let mut frame = Frame::default();
    if camera.next(&mut frame).ok() != Some(Next::Frame) {
        return false;
    }
    let mut picture = Picture { width: 0, height: 0, rgb: Vec::new() };
    to_picture(frame.layout, &frame.bytes, &mut picture).is_ok_and(|()| {
        assert_eq!(picture.rgb.len(), picture.width * picture.height * 3);
        true
    })
}

/// A camera that gives the same buffer again and again.
struct OneBuffer(Layout, Vec<u8>);

impl Driver for OneBuffer {
    fn open(&mut self, wanted: &Wanted) -> Result<Box<dyn Device>, Trouble> {
        let granted = Granted {
            device: wanted.path.clone(),
            card: String::new(),
            fourcc: FourCc(*b"????"),
            size: (self.0.width as u32, self.0.height as u32),
            layout: self.0,
            fps: None,
        };
        Ok(Box::new(Opened(granted, self.1.clone())))
    }
}

struct Opened(Granted, Vec<u8>);

impl Device for Opened {
    fn granted(&self) -> &Granted {
        &self.0
    }

    fn next(&mut self, _: Duration) -> io::Result<Option<Filled<'_>>> {
        Ok(Some(Filled { bytes: &self.1, sequence: 0, stamp: None, damaged: false }))
    }
}
