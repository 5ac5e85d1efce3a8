//! Parts of the picture in which objects count, or do not.
//!
//! A zone is a polygon in fractions of the picture, so that it stays where it is when the size of the frames changes.
//! Whether an object is in it is decided by a point of its box, or by how much of the box lies inside.

use serde::Deserialize;

use crate::boxes::Rect;

/// More zones than this are refused: which ones a box is in is kept in the bits of one number.
pub const MAX_ZONES: usize = 64;

/// What a zone is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Objects outside of all zones of this kind are not reported.
    #[default]
    Include,
    /// Objects in it are not reported.
    Exclude,
    /// Objects in it are reported with its name, as those in `Include` zones are; nothing is left out.
    Mark,
}

/// When a box is in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Test {
    /// The middle of its lower edge is: where people and vehicles stand.
    #[default]
    Bottom,
    /// Its centre is.
    Center,
    /// More than this fraction of its area is.
    Overlap(f32),
}

impl TryFrom<String> for Test {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let part = text.strip_prefix("overlap>").map(str::trim).and_then(|n| n.parse().ok());
        match (text.as_str(), part) {
            ("bottom", _) => Ok(Self::Bottom),
            ("center", _) => Ok(Self::Center),
            (_, Some(part)) if (0.0..1.0).contains(&part) => Ok(Self::Overlap(part)),
            _ => Err(format!("\"{text}\" is no test; write \"bottom\", \"center\" or \"overlap>0.5\" (0 to 1)")),
        }
    }
}

/// A polygon with a name.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Zone {
    /// As detections list it.
    pub name: String,
    /// Corners `[x, y]` in fractions of width and height, in order around; the last is joined to the first.
    pub polygon: Vec<[f32; 2]>,
    /// What it is for.
    #[serde(default)]
    pub mode: Mode,
    /// When a box is in it.
    #[serde(default)]
    pub test: Test,
}

impl Zone {
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let inside = self.polygon.iter().flatten().all(|v| (0.0..=1.0).contains(v));
        match () {
            () if self.name.trim().is_empty() => Err("needs a name".into()),
            () if self.polygon.len() < 3 => Err(format!("polygon has {} corners; it needs 3", self.polygon.len())),
            () if !inside => Err("polygon: corners are [x, y] in fractions of the picture, 0 to 1".into()),
            () if area(&self.polygon) < 1e-6 => Err("polygon holds nothing; give its corners in order around".into()),
            () => Ok(()),
        }
    }

    /// True if a box, in pixels of a picture of this size, is in it.
    pub fn holds(&self, rect: &Rect, width: usize, height: usize) -> bool {
        let (w, h) = (width.max(1) as f32, height.max(1) as f32);
        let (x1, y1, x2, y2) = (rect.x1 / w, rect.y1 / h, rect.x2 / w, rect.y2 / h);
        match self.test {
            // The lower edge of a box that touches the frame's is the frame's: a polygon to 1 has to hold it.
            Test::Bottom => contains(&self.polygon, (x1 + x2) / 2.0, y2.min(1.0 - f32::EPSILON)),
            Test::Center => contains(&self.polygon, (x1 + x2) / 2.0, (y1 + y2) / 2.0),
            Test::Overlap(part) => overlap(&self.polygon, [x1, y1, x2, y2]) > part * (x2 - x1) * (y2 - y1),
        }
    }
}

/// Even-odd rule: a ray to the right crosses the outline an odd number of times.
fn contains(polygon: &[[f32; 2]], x: f32, y: f32) -> bool {
    edges(polygon)
        .filter(|([ax, ay], [bx, by])| (*ay > y) != (*by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax))
        .count()
        % 2
        == 1
}

/// Area of the part of the polygon inside of the box `[x1, y1, x2, y2]`, without taking memory: each edge, followed
/// along x, is cut to the box, and the area between it and the box's top is added or taken away.
fn overlap(polygon: &[[f32; 2]], [x1, y1, x2, y2]: [f32; 4]) -> f32 {
    let under = |([ax, ay], [bx, by]): ([f32; 2], [f32; 2])| -> f32 {
        let (from, to) = (ax.clamp(x1, x2), bx.clamp(x1, x2));
        if from == to {
            return 0.0;
        }
        let at = |x: f32| ay + (x - ax) / (bx - ax) * (by - ay);
        // Mean height over the box's top of the edge cut to its rows: the edge is straight between the places where it
        // meets the top and the bottom.
        let (start, end) = (at(from), at(to));
        (to - from) * mean_cut(start, end, y1, y2)
    };
    edges(polygon).map(under).sum::<f32>().abs()
}

/// Mean of `clamp(y, low, high) - low` for y running from `a` to `b`.
fn mean_cut(a: f32, b: f32, low: f32, high: f32) -> f32 {
    // The integral of the clamped value has a closed form; the mean is its difference over the way.
    let integral = |y: f32| {
        let inside = (y.clamp(low, high) - low).powi(2) / 2.0;
        inside + (y - high).max(0.0) * (high - low)
    };
    if (b - a).abs() < 1e-6 { a.clamp(low, high) - low } else { (integral(b) - integral(a)) / (b - a) }
}

fn area(polygon: &[[f32; 2]]) -> f32 {
    overlap(polygon, [0.0, 0.0, 1.0, 1.0])
}

fn edges(polygon: &[[f32; 2]]) -> impl Iterator<Item = ([f32; 2], [f32; 2])> {
    polygon.iter().copied().zip(polygon.iter().copied().cycle().skip(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(polygon: &[[f32; 2]], test: Test) -> Zone {
        Zone { name: "door".into(), polygon: polygon.to_vec(), mode: Mode::Include, test }
    }

    fn rect(x1: f32, y1: f32, x2: f32, y2: f32) -> Rect {
        Rect { x1, y1, x2, y2 }
    }

    /// A U, open above: the left, lower and right thirds of the picture.
    const U: [[f32; 2]; 8] =
        [[0.0, 0.0], [0.3, 0.0], [0.3, 0.7], [0.7, 0.7], [0.7, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];

    #[test]
    fn the_three_tests_differ_where_they_should() {
        // In a picture of 200×100: feet in the lower bar of the U, centre in its opening.
        let person = rect(80.0, 20.0, 120.0, 80.0);
        assert!(zone(&U, Test::Bottom).holds(&person, 200, 100));
        assert!(!zone(&U, Test::Center).holds(&person, 200, 100));
        // 10 of its 60 rows lie in the bar.
        assert!(zone(&U, Test::Overlap(0.16)).holds(&person, 200, 100));
        assert!(!zone(&U, Test::Overlap(0.17)).holds(&person, 200, 100));
    }

    #[test]
    fn a_box_down_to_the_frames_edge_stands_in_a_zone_down_to_the_edge() {
        assert!(zone(&U, Test::Bottom).holds(&rect(10.0, 10.0, 30.0, 100.0), 200, 100));
    }

    #[test]
    fn areas_are_those_of_geometry() {
        assert!((area(&U) - (1.0 - 0.4 * 0.7)).abs() < 1e-6);
        let triangle = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        assert!((area(&triangle) - 0.5).abs() < 1e-6);
        // The triangle's part of the quarter at the lower right is nothing, of the upper left all but nothing missing.
        assert!(overlap(&triangle, [0.5, 0.5, 1.0, 1.0]).abs() < 1e-6);
        assert!((overlap(&triangle, [0.0, 0.0, 0.5, 0.5]) - 0.25).abs() < 1e-6);
        assert!((overlap(&triangle, [0.25, 0.25, 0.75, 0.75]) - 0.125).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_zone_says_what_it_needs() {
        let said = |zone: Zone| zone.check().err().unwrap_or_default();
        assert!(said(zone(&U[..2], Test::Center)).contains("needs 3"));
        assert!(said(zone(&[[0.0, 0.0], [1.5, 0.0], [0.0, 1.0]], Test::Center)).contains("0 to 1"));
        assert!(said(zone(&[[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]], Test::Center)).contains("holds nothing"));
        assert!(said(Zone { name: " ".into(), ..zone(&U, Test::Center) }).contains("name"));
        assert_eq!(zone(&U, Test::Center).check(), Ok(()));
        assert!(Test::try_from("overlap>2".to_owned()).is_err());
        assert_eq!(Test::try_from("overlap>0.25".to_owned()), Ok(Test::Overlap(0.25)));
    }

    proptest! {
        #[test]
        fn the_area_of_an_overlap_is_that_of_counted_points(
            corners in proptest::collection::vec(proptest::array::uniform2(0f32..1.0), 3),
            a in proptest::array::uniform2(0f32..1.0), b in proptest::array::uniform2(0f32..1.0),
        ) {
            let cut = [a[0].min(b[0]), a[1].min(b[1]), a[0].max(b[0]), a[1].max(b[1])];
            let (n, mut inside) = (200, 0);
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let at = |low: f32, high: f32, k: i32| low + (high - low) * (k as f32 + 0.5) / n as f32;
                inside += u32::from(contains(&corners, at(cut[0], cut[2], i), at(cut[1], cut[3], j)));
            }
            let whole = (cut[2] - cut[0]) * (cut[3] - cut[1]);
            let counted = inside as f32 / (n * n) as f32 * whole;
            prop_assert!((overlap(&corners, cut) - counted).abs() < 0.02 * whole + 1e-4);
        }
    }
}
