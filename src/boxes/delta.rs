//! Coding of a box relative to another (R-CNN appendix C, Faster R-CNN eq. 2).
//!
//! `dx, dy` move the centre in units of the reference box's size, `dw, dh` are logarithms of the size ratio.
//! Follows the reference code: widths count pixels inclusively, centres are `x1 + 0.5·width`, and the decoded
//! corners are `centre ± 0.5·size` without a `- 1`.

use super::BBox;

/// `dw` and `dh` are limited to this before `exp`, so that a wild weight cannot give an infinite box:
/// a box grows by at most 1000/16 in one step (the bound other implementations of the paper use too).
pub const MAX_LOG_SCALE: f32 = 4.135_166_6;

/// The regression target or output for one box: `[dx, dy, dw, dh]`.
pub type Delta = [f32; 4];

/// The delta that carries `from` onto `to`.
pub fn encode(from: &BBox, to: &BBox) -> Delta {
    let (fw, fh, tw, th) = (from.width(), from.height(), to.width(), to.height());
    let (fx, fy) = (from.x1 + 0.5 * fw, from.y1 + 0.5 * fh);
    let (tx, ty) = (to.x1 + 0.5 * tw, to.y1 + 0.5 * th);
    [(tx - fx) / fw, (ty - fy) / fh, (tw / fw).ln(), (th / fh).ln()]
}

/// The box that `delta` makes of `from`.
pub fn decode(from: &BBox, delta: &Delta) -> BBox {
    let (w, h) = (from.width(), from.height());
    let cx = delta[0] * w + from.x1 + 0.5 * w;
    let cy = delta[1] * h + from.y1 + 0.5 * h;
    let half_w = 0.5 * delta[2].min(MAX_LOG_SCALE).exp() * w;
    let half_h = 0.5 * delta[3].min(MAX_LOG_SCALE).exp() * h;
    BBox::new(cx - half_w, cy - half_h, cx + half_w, cy + half_h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_delta_adds_the_half_pixel_of_the_reference_code() {
        // centre ± 0.5·width without the - 1: the right corner comes out one larger.
        let b = BBox::new(10.0, 20.0, 29.0, 59.0);
        assert_eq!(decode(&b, &[0.0; 4]), BBox::new(10.0, 20.0, 30.0, 60.0));
    }

    #[test]
    fn decoding_an_encoded_box_restores_centre_and_size() {
        let from = BBox::new(-7.0, 3.0, 92.0, 41.0);
        let to = BBox::new(15.0, 8.0, 64.0, 107.0);
        let got = decode(&from, &encode(&from, &to));
        let expected = BBox::new(to.x1, to.y1, to.x2 + 1.0, to.y2 + 1.0);
        for (g, e) in [(got.x1, expected.x1), (got.y1, expected.y1), (got.x2, expected.x2), (got.y2, expected.y2)] {
            assert!((g - e).abs() < 1e-3, "{got:?} {expected:?}");
        }
    }

    #[test]
    fn a_huge_log_scale_stays_finite() {
        assert!(decode(&BBox::new(0.0, 0.0, 15.0, 15.0), &[0.0, 0.0, 1e9, 1e9]).is_finite());
    }
}
