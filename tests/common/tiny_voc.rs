//! A tiny data set of our own drawing, for tests of the trainer.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

/// Ten pictures with one coloured rectangle each, as a VOC devkit folder with two classes.
pub fn make_voc(dir: &Path) {
    for sub in ["Annotations", "ImageSets/Main", "JPEGImages"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    fs::write(dir.join("classes.txt"), "red\nblue\n").unwrap();
    let mut list = String::new();
    for n in 0..10u32 {
        let (x, y, class) = (5 + n * 6, 4 + n * 3, if n % 2 == 0 { "red" } else { "blue" });
        let colour = if n % 2 == 0 { Rgb([220, 30, 20]) } else { Rgb([20, 40, 220]) };
        let picture = RgbImage::from_fn(128, 96, |px, py| {
            if (x..x + 50).contains(&px) && (y..y + 40).contains(&py) { colour } else { Rgb([90, 100, 95]) }
        });
        picture.save(dir.join(format!("JPEGImages/{n:06}.png"))).unwrap();
        let xml = format!(
            "<annotation><size><width>128</width><height>96</height><depth>3</depth></size><object><name>{class}</name>\
             <difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>\
             </object></annotation>",
            x + 1,
            y + 1,
            x + 50,
            y + 40
        );
        fs::write(dir.join(format!("Annotations/{n:06}.xml")), xml).unwrap();
        list += &format!("{n:06}\n");
    }
    fs::write(dir.join("ImageSets/Main/train.txt"), list).unwrap();
}
