//! The `edge-rcnn` program.

fn main() {}
