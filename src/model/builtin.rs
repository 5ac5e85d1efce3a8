//! The model that is compiled into the program: one of the folders in `models/`.
//!
//! It is the one in 8 bits; `tests/builtin_model.rs` holds it to what `calibration/figures.json` says about it.

/// A file of the model. This is the place that says which model it is.
macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../models/zf-voc-int8/", $name))
    };
}

/// `model.toml`, `trunk.onnx`, `head.onnx`.
pub static FILES: [&[u8]; 3] = [file!("model.toml"), file!("trunk.onnx"), file!("head.onnx")];
