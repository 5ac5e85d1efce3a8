//! A grid of boxes at a few sizes and shapes: proposals without looking at the picture.
//!
//! For networks without an RPN when no boxes are at hand, and as the baseline that a learned source must beat
//! (Faster R-CNN, table 10, compares against such sliding windows). Boxes go from large to small, each size row by row,
//! so that a lowered limit still covers the picture.

use super::{Proposal, ProposalContext, ProposalError, ProposalSource};
use crate::boxes::BBox;

/// The grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Square roots of the box areas as fractions of the shorter side of the network input, largest first.
    pub sizes: Vec<f32>,
    /// Height over width.
    pub ratios: Vec<f32>,
    /// Step from box to box as a fraction of its side.
    pub step: f32,
    /// Most boxes per picture; the step grows until the grid fits.
    pub max: usize,
}

impl Default for Dense {
    /// Sizes 1, ½, ¼, ⅛ of the shorter side, the RPN's ratios, at most 2000 boxes (what Fast R-CNN was fed).
    fn default() -> Self {
        Self { sizes: vec![1.0, 0.5, 0.25, 0.125], ratios: vec![0.5, 1.0, 2.0], step: 0.25, max: 2000 }
    }
}

impl Dense {
    /// The box shapes that fit the network input, in pixels.
    fn shapes(&self, height: f32, width: f32) -> impl Iterator<Item = (f32, f32)> {
        let side = height.min(width);
        self.sizes.iter().flat_map(move |&size| {
            self.ratios.iter().map(move |&ratio| {
                let (w, h) = (size * side / ratio.sqrt(), size * side * ratio.sqrt());
                (w.clamp(1.0, width), h.clamp(1.0, height))
            })
        })
    }

    /// Positions along one side such that the first box touches its start and the last its end.
    fn positions(&self, length: f32, box_side: f32, step: f32) -> (usize, f32) {
        let free = length - box_side;
        let steps = (free / (box_side * step)).ceil().max(0.0);
        (steps as usize + 1, if steps > 0.0 { free / steps } else { 0.0 })
    }

    fn count(&self, height: f32, width: f32, step: f32) -> usize {
        let along = |length, side| self.positions(length, side, step).0;
        self.shapes(height, width).map(|(w, h)| along(width, w).saturating_mul(along(height, h))).sum()
    }
}

impl ProposalSource for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn propose(&mut self, context: &ProposalContext<'_>, out: &mut Vec<Proposal>) -> Result<usize, ProposalError> {
        out.clear();
        let (height, width) = (context.blob_height as f32, context.blob_width as f32);
        if height < 1.0 || width < 1.0 {
            return Ok(0);
        }
        let mut step = self.step.clamp(0.01, 1.0);
        // At step 2 neighbours no longer touch; a limit below that many boxes is met by cutting the smallest sizes.
        while step < 2.0 && self.count(height, width, step) > self.max {
            step *= 1.1;
        }
        for (w, h) in self.shapes(height, width) {
            let (rows, dy) = self.positions(height, h, step);
            let (cols, dx) = self.positions(width, w, step);
            for row in 0..rows {
                for col in 0..cols {
                    let (x, y) = (col as f32 * dx, row as f32 * dy);
                    let bbox = BBox::new(x, y, x + w - 1.0, y + h - 1.0).clip(width, height);
                    out.push(Proposal { bbox, score: 1.0 });
                    if out.len() >= self.max {
                        return Ok(0);
                    }
                }
            }
        }
        Ok(0)
    }

    fn set_max(&mut self, max: usize) {
        self.max = max;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grid(dense: &mut Dense, height: usize, width: usize) -> Vec<Proposal> {
        let context = ProposalContext { name: None, blob_height: height, blob_width: width, scale: 1.0, rpn: None };
        let mut out = Vec::new();
        dense.propose(&context, &mut out).unwrap();
        out
    }

    #[test]
    fn the_grid_stays_inside_the_input_and_under_the_limit() {
        for (h, w) in [(600, 1000), (1000, 600), (600, 600), (17, 900), (1, 1)] {
            for max in [1, 10, 300, 2000] {
                let boxes = grid(&mut Dense { max, ..Dense::default() }, h, w);
                assert!(!boxes.is_empty() && boxes.len() <= max, "{h}×{w}, {max}: {}", boxes.len());
                for p in boxes {
                    assert!(p.bbox.x1 >= 0.0 && p.bbox.y1 >= 0.0 && p.bbox.width() >= 1.0 && p.bbox.height() >= 1.0);
                    assert!(p.bbox.x2 <= w as f32 - 1.0 && p.bbox.y2 <= h as f32 - 1.0);
                }
            }
        }
    }

    #[test]
    fn every_object_of_a_usual_size_meets_a_box_of_half_overlap() {
        let boxes = grid(&mut Dense::default(), 600, 1000);
        for (x, y, w, h) in [(10.0, 20.0, 200.0, 180.0), (700.0, 300.0, 290.0, 290.0), (400.0, 90.0, 160.0, 310.0)] {
            let object = BBox::new(x, y, x + w, y + h);
            let best = boxes.iter().map(|p| p.bbox.iou(&object)).fold(0.0, f32::max);
            assert!(best >= 0.5, "{object:?}: {best}");
        }
    }

    #[test]
    fn an_empty_input_has_no_boxes() {
        assert!(grid(&mut Dense::default(), 0, 100).is_empty());
    }
}
