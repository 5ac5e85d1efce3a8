//! Which detections are reported: thresholds and smallest sizes per class, and zones.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Object;
use super::zones::{MAX_ZONES, Mode, Zone};
use crate::detector::{Detection, class_id};

/// What is asked of the objects of one class.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub struct ClassRule {
    /// They must score more than this, instead of what holds for all classes.
    pub min_score: Option<f32>,
    /// Their boxes must be at least so large, in fractions of the picture's area.
    pub min_area: Option<f32>,
}

/// Rules as they are written down.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleBook {
    /// For all classes without a threshold of their own.
    pub min_score: f32,
    /// By name.
    pub classes: BTreeMap<String, ClassRule>,
    /// In the order in which detections list them.
    pub zones: Vec<Zone>,
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A class that the model does not have.
    #[error("{0}")]
    Class(String),
    /// A number out of range.
    #[error("class.{class}.{field} = {value}: must be 0 to 1")]
    Range {
        /// The class.
        class: String,
        /// The field.
        field: &'static str,
        /// What it was set to.
        value: f32,
    },
    /// A zone that cannot be one.
    #[error("zone \"{name}\": {reason}")]
    Zone {
        /// The zone.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl RuleBook {
    /// The lowest score of interest, for the detector to stop at.
    pub fn lowest_score(&self) -> f32 {
        self.classes.values().filter_map(|rule| rule.min_score).fold(self.min_score, f32::min)
    }
}

/// Rules for the classes of one model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// By `class_id - 1`: least score and least area.
    classes: Vec<(f32, f32)>,
    zones: Vec<Zone>,
    /// Some zone lets objects in, so that those in none stay out.
    fenced: bool,
}

impl Rules {
    /// Checks the book against the names of the model's classes.
    pub fn new(book: &RuleBook, labels: &[String]) -> Result<Self, RuleError> {
        let mut classes = vec![(book.min_score, 0.0); labels.len()];
        for (name, rule) in &book.classes {
            for (field, value) in [("min_score", rule.min_score), ("min_area", rule.min_area)] {
                if let Some(value) = value.filter(|v| !(0.0..=1.0).contains(v)) {
                    return Err(RuleError::Range { class: name.clone(), field, value });
                }
            }
            let entry = &mut classes[class_id(name, labels).map_err(|e| RuleError::Class(e.to_string()))? - 1];
            *entry = (rule.min_score.unwrap_or(entry.0), rule.min_area.unwrap_or(entry.1));
        }
        for (i, zone) in book.zones.iter().enumerate() {
            let twice = book.zones[..i].iter().any(|other| other.name == zone.name);
            let checked = if twice { Err("there are two of this name".to_owned()) } else { zone.check() };
            checked.map_err(|reason| RuleError::Zone { name: zone.name.clone(), reason })?;
        }
        if let Some(zone) = book.zones.get(MAX_ZONES) {
            let reason = format!("is one too many; there can be {MAX_ZONES}");
            return Err(RuleError::Zone { name: zone.name.clone(), reason });
        }
        let fenced = book.zones.iter().any(|zone| zone.mode == Mode::Include);
        Ok(Self { classes, zones: book.zones.clone(), fenced })
    }

    /// Puts what is to be reported of `found`, in a picture of this size, into `objects`.
    pub fn apply(&self, found: &[Detection], width: usize, height: usize, objects: &mut Vec<Object>) {
        objects.clear();
        objects.extend(found.iter().filter_map(|detection| self.judge(detection, width, height)));
    }

    /// Names of the zones, in the order of the bits of [`Object::zones`].
    pub fn zone_names(&self) -> impl Iterator<Item = &str> {
        self.zones.iter().map(|zone| zone.name.as_str())
    }

    fn judge(&self, detection: &Detection, width: usize, height: usize) -> Option<Object> {
        let rect = &detection.rect;
        let (min_score, min_area) = self.classes.get(detection.class_id.wrapping_sub(1)).copied().unwrap_or_default();
        let area = (rect.x2 - rect.x1) * (rect.y2 - rect.y1) / (width * height).max(1) as f32;
        if detection.score <= min_score || area < min_area {
            return None;
        }
        let (mut zones, mut welcome) = (0u64, !self.fenced);
        for (i, zone) in self.zones.iter().enumerate().filter(|(_, zone)| zone.holds(rect, width, height)) {
            match zone.mode {
                Mode::Exclude => return None,
                Mode::Include => welcome = true,
                Mode::Mark => {}
            }
            zones |= 1 << i;
        }
        welcome.then_some(Object { detection: *detection, zones, track: None })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::boxes::Rect;

    fn labels() -> Vec<String> {
        ["cat", "dog", "person"].map(str::to_owned).to_vec()
    }

    fn detection(class_id: usize, score: f32, [x1, y1, x2, y2]: [f32; 4]) -> Detection {
        Detection { class_id, score, rect: Rect { x1, y1, x2, y2 } }
    }

    fn applied(book: &RuleBook, found: &[Detection]) -> Vec<Object> {
        let mut objects = Vec::new();
        Rules::new(book, &labels()).unwrap().apply(found, 100, 100, &mut objects);
        objects
    }

    fn left_half(mode: Mode) -> Zone {
        let polygon = vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
        Zone { name: format!("{mode:?}"), polygon, mode, ..Zone::default() }
    }

    const LEFT: [f32; 4] = [10.0, 10.0, 40.0, 50.0];
    const RIGHT: [f32; 4] = [60.0, 10.0, 90.0, 50.0];

    #[test]
    fn a_class_with_a_threshold_of_its_own_does_not_follow_the_common_one() {
        let strict = ClassRule { min_score: Some(0.8), min_area: None };
        let lax = ClassRule { min_score: Some(0.2), min_area: Some(0.13) };
        let classes = [("person".to_owned(), strict), ("cat".to_owned(), lax)].into();
        let book = RuleBook { min_score: 0.5, classes, zones: vec![] };
        assert_eq!(book.lowest_score(), 0.2);
        let found = [
            detection(3, 0.81, LEFT),
            detection(3, 0.8, LEFT),
            detection(2, 0.6, LEFT),
            detection(2, 0.5, LEFT),
            detection(1, 0.3, [0.0, 0.0, 50.0, 30.0]),
            // 12 of 100 parts are not the 13 asked for.
            detection(1, 0.3, LEFT),
        ];
        let kept: Vec<_> = applied(&book, &found).iter().map(|o| (o.detection.class_id, o.detection.score)).collect();
        assert_eq!(kept, [(3, 0.81), (2, 0.6), (1, 0.3)]);
    }

    #[test]
    fn include_fences_exclude_forbids_and_mark_only_names() {
        let found = [detection(1, 0.9, LEFT), detection(2, 0.9, RIGHT)];
        let with = |zones: Vec<Zone>| {
            let objects = applied(&RuleBook { zones, ..RuleBook::default() }, &found);
            objects.iter().map(|o| (o.detection.class_id, o.zones)).collect::<Vec<_>>()
        };
        assert_eq!(with(vec![]), [(1, 0), (2, 0)]);
        assert_eq!(with(vec![left_half(Mode::Include)]), [(1, 1)]);
        assert_eq!(with(vec![left_half(Mode::Exclude)]), [(2, 0)]);
        assert_eq!(with(vec![left_half(Mode::Mark)]), [(1, 1), (2, 0)]);
        assert_eq!(with(vec![left_half(Mode::Mark), left_half(Mode::Include)]), [(1, 0b11)]);
        assert_eq!(with(vec![left_half(Mode::Include), left_half(Mode::Exclude)]), []);
    }

    #[test]
    fn rules_that_cannot_be_followed_are_refused_by_name() {
        let said = |book: RuleBook| Rules::new(&book, &labels()).unwrap_err().to_string();
        let class = |name: &str, rule| RuleBook { classes: [(name.to_owned(), rule)].into(), ..RuleBook::default() };
        assert!(said(class("persn", ClassRule::default())).contains("did you mean \"person\""));
        let rule = ClassRule { min_score: Some(60.0), min_area: None };
        assert!(said(class("cat", rule)).contains("class.cat.min_score = 60"));
        let zones = vec![left_half(Mode::Mark), left_half(Mode::Mark)];
        assert!(said(RuleBook { zones, ..RuleBook::default() }).contains("zone \"Mark\": there are two"));
        let many = (0..=MAX_ZONES).map(|i| Zone { name: i.to_string(), ..left_half(Mode::Mark) }).collect();
        assert!(said(RuleBook { zones: many, ..RuleBook::default() }).contains("zone \"64\""));
    }
}
