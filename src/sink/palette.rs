//! One colour per class, the same in every picture.
//!
//! Hues step by the golden angle, so that neighbouring class numbers lie far apart and any count of classes is spread
//! evenly; lightness alternates to tell near hues apart. Chosen in Oklab (B. Ottosson), where equal steps look equal.

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Nearly black, for text and for the rim around lines.
pub const INK: Colour = [16, 18, 22];

/// Text on dark plates.
pub const WHITE: Colour = [255, 255, 255];

/// The colour of a class.
pub fn of_class(class_id: usize) -> Colour {
    let hue = (class_id as f32 * 137.508 + 40.0).to_radians();
    let lightness = [0.78, 0.64, 0.71][class_id % 3];
    // The strongest colour of that hue and lightness that a screen can show.
    let mut chroma = 0.21;
    loop {
        match from_oklab(lightness, chroma * hue.cos(), chroma * hue.sin()) {
            Some(colour) => return colour,
            None => chroma -= 0.01,
        }
    }
}

/// [`INK`] or [`WHITE`], whichever reads better on `plate`.
pub fn text_on(plate: Colour) -> Colour {
    let linear = plate.map(|v| (f32::from(v) / 255.0).powf(2.2));
    let luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    // Equal contrast ratios by WCAG's formula: (l + 0.05)² = 1.05 · 0.05, a little above for thin letters.
    if luminance > 0.2 { INK } else { WHITE }
}

/// Oklab to sRGB; `None` if a screen cannot show it.
fn from_oklab(lightness: f32, a: f32, b: f32) -> Option<Colour> {
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    let linear = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ];
    // A gray of this lightness always fits, so the loop above ends.
    let shown = linear.iter().all(|v| (-0.001..=1.001).contains(v));
    shown.then(|| {
        linear.map(|v| {
            let v = v.clamp(0.0, 1.0);
            let v = if v <= 0.003_130_8 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
            (v * 255.0).round() as u8
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twenty_classes_of_voc_have_twenty_colours_that_differ() {
        for a in 1..=20 {
            for b in a + 1..=20 {
                let difference: u32 =
                    of_class(a).iter().zip(of_class(b)).map(|(&p, q)| u32::from(p.abs_diff(q)).pow(2)).sum();
                assert!(difference > 24 * 24, "{a} {:?} and {b} {:?}", of_class(a), of_class(b));
            }
        }
    }

    #[test]
    fn every_class_number_has_a_colour_with_readable_text() {
        for class_id in 0..300 {
            assert_eq!(text_on(of_class(class_id)), INK);
        }
        assert_eq!(text_on([20, 20, 120]), WHITE);
    }
}
