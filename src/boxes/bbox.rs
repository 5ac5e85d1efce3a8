//! The two box types and the only place that converts between them.
//!
//! * [`BBox`] — network arithmetic. Corners are *inclusive* pixel positions, as in the reference Python/Caffe code:
//!   a box that covers one pixel has `x1 == x2` and width 1.
//! * [`Rect`] — everything that leaves the program. Half-open: `x2` and `y2` lie one past the last pixel, so
//!   `width = x2 - x1`.
//!
//! No other `+ 1` about boxes exists in the crate.

/// A box with inclusive corners, in pixels of the network input (or of the original picture, where said so).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BBox {
    /// Left column.
    pub x1: f32,
    /// Top row.
    pub y1: f32,
    /// Right column, included.
    pub x2: f32,
    /// Bottom row, included.
    pub y2: f32,
}

impl BBox {
    /// A box from its inclusive corners.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// Number of columns, `x2 - x1 + 1`.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1 + 1.0
    }

    /// Number of rows, `y2 - y1 + 1`.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1 + 1.0
    }

    /// Area in pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Intersection over union with the inclusive-corner widths of the reference code.
    pub fn iou(&self, other: &Self) -> f32 {
        let w = self.x2.min(other.x2) - self.x1.max(other.x1) + 1.0;
        let h = self.y2.min(other.y2) - self.y1.max(other.y1) + 1.0;
        if w <= 0.0 || h <= 0.0 {
            return 0.0;
        }
        let inter = w * h;
        inter / (self.area() + other.area() - inter)
    }

    /// The box moved inside a picture of `width`×`height` pixels: corners in `[0, width-1]`×`[0, height-1]`.
    pub fn clip(&self, width: f32, height: f32) -> Self {
        let (mx, my) = ((width - 1.0).max(0.0), (height - 1.0).max(0.0));
        Self {
            x1: self.x1.clamp(0.0, mx),
            y1: self.y1.clamp(0.0, my),
            x2: self.x2.clamp(0.0, mx),
            y2: self.y2.clamp(0.0, my),
        }
    }

    /// All four corners multiplied by `s` (as the reference code scales boxes: corners, not edges).
    pub fn scaled(&self, s: f32) -> Self {
        Self { x1: self.x1 * s, y1: self.y1 * s, x2: self.x2 * s, y2: self.y2 * s }
    }

    /// The box in the picture mirrored left to right, `width` pixels wide.
    pub fn flipped(&self, width: f32) -> Self {
        Self { x1: width - 1.0 - self.x2, y1: self.y1, x2: width - 1.0 - self.x1, y2: self.y2 }
    }

    /// True if all corners are finite numbers.
    pub fn is_finite(&self) -> bool {
        self.x1.is_finite() && self.y1.is_finite() && self.x2.is_finite() && self.y2.is_finite()
    }
}

/// A half-open box in pixels of the original picture: `width = x2 - x1`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge, one past the last column.
    pub x2: f32,
    /// Bottom edge, one past the last row.
    pub y2: f32,
}

impl Rect {
    /// Width in pixels.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Height in pixels.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }
}

impl From<BBox> for Rect {
    fn from(b: BBox) -> Self {
        Self { x1: b.x1, y1: b.y1, x2: b.x2 + 1.0, y2: b.y2 + 1.0 }
    }
}

impl From<Rect> for BBox {
    fn from(r: Rect) -> Self {
        Self { x1: r.x1, y1: r.y1, x2: r.x2 - 1.0, y2: r.y2 - 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_to_half_open_and_back_is_exact() {
        let b = BBox::new(3.0, 4.0, 10.0, 20.0);
        let r = Rect::from(b);
        assert_eq!((r.width(), r.height()), (b.width(), b.height()));
        assert_eq!(BBox::from(r), b);
    }

    #[test]
    fn iou_counts_the_shared_pixel_of_touching_boxes() {
        let a = BBox::new(0.0, 0.0, 9.0, 9.0);
        let b = BBox::new(9.0, 9.0, 18.0, 18.0);
        assert_eq!(a.iou(&b), 1.0 / 199.0);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&BBox::new(20.0, 20.0, 30.0, 30.0)), 0.0);
    }

    #[test]
    fn flipping_twice_gives_the_box_back_and_the_full_box_stays() {
        let b = BBox::new(0.0, 2.0, 7.0, 5.0);
        assert_eq!(b.flipped(20.0), BBox::new(12.0, 2.0, 19.0, 5.0));
        assert_eq!(b.flipped(20.0).flipped(20.0), b);
        let full = BBox::new(0.0, 0.0, 19.0, 9.0);
        assert_eq!(full.flipped(20.0), full);
    }
}
