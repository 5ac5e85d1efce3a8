//! The same object keeps its number: boxes are joined from frame to frame by how much they overlap.
//!
//! For each frame all pairs of a known object and a box of its class that overlap enough are taken, the best first; each
//! object and each box is used once. A box without an object begins a new one. An object that was not found for a while
//! is forgotten; its number is never used again.

use super::Object;
use crate::boxes::Rect;

/// Overlap (IoU) at which two boxes may be the same object. At low frame rates objects move far between two frames.
const SAME: f32 = 0.3;

/// Frames an object is remembered without being found.
const PATIENCE: u32 = 8;

/// An object's number, and for how many frames it has been known, the first counts as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// Unique within a run, from 1.
    pub id: u64,
    /// Frames looked at since the object appeared, with this one.
    pub age: u64,
}

/// Gives objects their numbers.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    known: Vec<Known>,
    pairs: Vec<Pair>,
    last_id: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    track: Track,
    class_id: usize,
    rect: Rect,
    missed: u32,
    /// Has its box in the frame at hand.
    found: bool,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    overlap: f32,
    known: usize,
    object: usize,
}

impl Tracker {
    /// Numbers go on after `last`, so that those of one run stay unique when the tracker is replaced.
    pub fn after(last: u64) -> Self {
        Self { last_id: last, ..Self::default() }
    }

    /// The last number given.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Numbers the objects of the next frame.
    pub fn update(&mut self, objects: &mut [Object]) {
        for known in &mut self.known {
            known.track.age += 1;
            known.missed += 1;
            known.found = false;
        }
        self.pairs.clear();
        for (k, known) in self.known.iter().enumerate() {
            for (o, object) in objects.iter().enumerate().filter(|(_, o)| o.detection.class_id == known.class_id) {
                let overlap = iou(&known.rect, &object.detection.rect);
                if overlap > SAME {
                    self.pairs.push(Pair { overlap, known: k, object: o });
                }
            }
        }
        // Equal overlaps: the older object, then the better box.
        self.pairs.sort_unstable_by(|a, b| {
            b.overlap.total_cmp(&a.overlap).then(a.known.cmp(&b.known)).then(a.object.cmp(&b.object))
        });
        for pair in &self.pairs {
            let (known, object) = (&mut self.known[pair.known], &mut objects[pair.object]);
            if !known.found && object.track.is_none() {
                (known.found, known.missed, known.rect) = (true, 0, object.detection.rect);
                object.track = Some(known.track);
            }
        }
        self.known.retain(|known| known.missed <= PATIENCE);
        for object in objects.iter_mut().filter(|object| object.track.is_none()) {
            self.last_id += 1;
            let track = Track { id: self.last_id, age: 1 };
            let (class_id, rect) = (object.detection.class_id, object.detection.rect);
            self.known.push(Known { track, class_id, rect, missed: 0, found: true });
            object.track = Some(track);
        }
    }
}

/// Overlap of two half-open boxes: 0…1.
fn iou(a: &Rect, b: &Rect) -> f32 {
    let area = |r: &Rect| (r.x2 - r.x1).max(0.0) * (r.y2 - r.y1).max(0.0);
    let both = Rect { x1: a.x1.max(b.x1), y1: a.y1.max(b.y1), x2: a.x2.min(b.x2), y2: a.y2.min(b.y2) };
    let all = area(a) + area(b) - area(&both);
    if all > 0.0 { area(&both) / all } else { 0.0 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::detector::Detection;

    fn object(class_id: usize, x: f32) -> Object {
        let rect = Rect { x1: x, y1: 10.0, x2: x + 100.0, y2: 110.0 };
        Object { detection: Detection { class_id, score: 0.9, rect }, zones: 0, track: None }
    }

    fn update(tracker: &mut Tracker, objects: &[(usize, f32)]) -> Vec<(u64, u64)> {
        let mut objects: Vec<_> = objects.iter().map(|&(class, x)| object(class, x)).collect();
        tracker.update(&mut objects);
        objects.iter().map(|o| o.track.map(|t| (t.id, t.age)).unwrap()).collect()
    }

    #[test]
    fn two_objects_that_pass_each_other_in_any_order_of_the_list_keep_their_numbers() {
        let mut tracker = Tracker::default();
        assert_eq!(update(&mut tracker, &[(1, 0.0), (1, 300.0)]), [(1, 1), (2, 1)]);
        assert_eq!(update(&mut tracker, &[(1, 280.0), (1, 20.0)]), [(2, 2), (1, 2)]);
        assert_eq!(update(&mut tracker, &[(1, 40.0), (1, 260.0)]), [(1, 3), (2, 3)]);
    }

    #[test]
    fn another_class_at_the_same_place_is_another_object() {
        let mut tracker = Tracker::default();
        assert_eq!(update(&mut tracker, &[(1, 0.0)]), [(1, 1)]);
        assert_eq!(update(&mut tracker, &[(2, 0.0), (1, 0.0)]), [(2, 1), (1, 2)]);
    }

    #[test]
    fn an_object_survives_frames_in_which_it_is_not_found_and_is_forgotten_after_that() {
        let mut tracker = Tracker::default();
        update(&mut tracker, &[(1, 0.0)]);
        (0..PATIENCE).for_each(|_| assert!(update(&mut tracker, &[]).is_empty()));
        assert_eq!(update(&mut tracker, &[(1, 10.0)]), [(1, u64::from(PATIENCE) + 2)]);
        (0..=PATIENCE).for_each(|_| assert!(update(&mut tracker, &[]).is_empty()));
        assert_eq!(update(&mut tracker, &[(1, 10.0)]), [(2, 1)]);
        assert_eq!(Tracker::after(tracker.last_id()).last_id(), 2);
    }

    #[test]
    fn of_two_boxes_on_one_object_the_one_that_overlaps_more_is_it() {
        let mut tracker = Tracker::default();
        update(&mut tracker, &[(1, 0.0)]);
        assert_eq!(update(&mut tracker, &[(1, 30.0), (1, 10.0)]), [(2, 1), (1, 2)]);
    }

    #[test]
    fn a_crowd_takes_no_memory_that_grows() {
        let mut tracker = Tracker::default();
        for round in 0..1000 {
            let x = (round * 500) as f32;
            update(&mut tracker, &[(1, x), (1, x + 200.0)]);
        }
        assert!(tracker.known.len() <= 2 * (PATIENCE as usize + 1), "{}", tracker.known.len());
        assert_eq!(tracker.last_id(), 2000);
    }
}
