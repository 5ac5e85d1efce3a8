//! Anchors: the reference boxes of the RPN (Faster R-CNN §3.1.1).
//!
//! Ratios are the outer loop and scales the inner one; over the map the order is row, column, anchor. Rounding
//! follows the reference code (numpy's half-to-even), which gives the published table in the test below.

use super::BBox;

/// What anchors a network was trained with.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AnchorSpec {
    /// Side of the base square in pixels.
    pub base: f32,
    /// Height over width.
    pub ratios: Vec<f32>,
    /// Multiples of the base side.
    pub scales: Vec<f32>,
    /// Pixels of the network input from one cell of the map to the next.
    pub stride: f32,
}

impl Default for AnchorSpec {
    /// The nine anchors of the paper: base 16, ratios ½, 1, 2, scales 8, 16, 32, stride 16.
    fn default() -> Self {
        Self { base: 16.0, ratios: vec![0.5, 1.0, 2.0], scales: vec![8.0, 16.0, 32.0], stride: 16.0 }
    }
}

impl AnchorSpec {
    /// Anchors per cell.
    pub fn per_cell(&self) -> usize {
        self.ratios.len() * self.scales.len()
    }

    /// The anchors of the cell at the top left.
    pub fn base_anchors(&self) -> Vec<BBox> {
        let centre = (self.base - 1.0) * 0.5;
        let around = |w: f32, h: f32| {
            let (dx, dy) = (0.5 * (w - 1.0), 0.5 * (h - 1.0));
            BBox::new(centre - dx, centre - dy, centre + dx, centre + dy)
        };
        let mut out = Vec::with_capacity(self.per_cell());
        for &ratio in &self.ratios {
            let w = (self.base * self.base / ratio).sqrt().round_ties_even();
            let h = (w * ratio).round_ties_even();
            out.extend(self.scales.iter().map(|&s| around(w * s, h * s)));
        }
        out
    }

    /// One of the [`base_anchors`](Self::base_anchors) moved to a cell of the map.
    pub fn at_cell(&self, base_anchor: &BBox, row: usize, col: usize) -> BBox {
        let (dx, dy) = (col as f32 * self.stride, row as f32 * self.stride);
        BBox::new(base_anchor.x1 + dx, base_anchor.y1 + dy, base_anchor.x2 + dx, base_anchor.y2 + dy)
    }

    /// All anchors of a map of `rows`×`cols` cells, in the order row, column, anchor.
    pub fn over_map(&self, rows: usize, cols: usize) -> Vec<BBox> {
        let base = self.base_anchors();
        let mut out = Vec::with_capacity(rows * cols * base.len());
        for row in 0..rows {
            for col in 0..cols {
                out.extend(base.iter().map(|a| self.at_cell(a, row, col)));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the released Python code computes. The table in that file's comment is the Matlab original with 1-based
    /// corners: every number one larger.
    #[test]
    fn the_nine_anchors_are_those_of_the_reference_code() {
        let expected = [
            (-84.0, -40.0, 99.0, 55.0),
            (-176.0, -88.0, 191.0, 103.0),
            (-360.0, -184.0, 375.0, 199.0),
            (-56.0, -56.0, 71.0, 71.0),
            (-120.0, -120.0, 135.0, 135.0),
            (-248.0, -248.0, 263.0, 263.0),
            (-36.0, -80.0, 51.0, 95.0),
            (-80.0, -168.0, 95.0, 183.0),
            (-168.0, -344.0, 183.0, 359.0),
        ];
        let got: Vec<_> = AnchorSpec::default().base_anchors().iter().map(|b| (b.x1, b.y1, b.x2, b.y2)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn the_map_is_walked_row_by_row_then_column_then_anchor() {
        let spec = AnchorSpec::default();
        let all = spec.over_map(2, 3);
        assert_eq!(all.len(), 2 * 3 * 9);
        assert_eq!(all[9], BBox::new(-68.0, -40.0, 115.0, 55.0));
        assert_eq!(all[27], BBox::new(-84.0, -24.0, 99.0, 71.0));
    }
}
