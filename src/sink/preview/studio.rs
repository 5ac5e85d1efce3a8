//! The studio: draws what was found into a frame and compresses it, for whoever looks.

use std::time::{Duration, Instant};

use super::desk::{Desk, Shot, Sight};
use crate::sink::annotate::{draw, jpeg};
use crate::sink::json::Found;

/// Between two pictures, at least: more would not look better.
const PERIOD: Duration = Duration::from_millis(40);

/// It rests so many times as long as it has worked.
const REST: u32 = 3;

/// Of 100; for looking at from a chair.
const QUALITY: u8 = 80;

/// Lower priority than the detector's threads, as `nice` counts.
const NICE: i32 = 10;

/// The thread.
pub fn run(desk: &Desk) {
    // Where it is not allowed, the rests are still kept.
    let _ = rustix::process::nice(NICE);
    let mut file = Vec::new();
    let mut rested = Instant::now();
    while let Some(mut shot) = desk.next_shot(rested, || file = Vec::new()) {
        let started = Instant::now();
        let seen = paint(&mut shot, &mut file);
        let took = started.elapsed();
        match seen {
            Ok(seen) => desk.publish(&file, seen, shot),
            Err(e) => log::warn!("preview: {e}"),
        }
        rested = started + PERIOD.max(took * (1 + REST));
    }
}

/// One picture.
fn paint(shot: &mut Shot, file: &mut Vec<u8>) -> Result<Vec<Sight>, image::ImageError> {
    let found: Vec<Found<'_>> = shot.objects.iter().map(|object| shot.names.found(object)).collect();
    draw(&mut shot.picture, &found);
    file.clear();
    jpeg(&shot.picture, QUALITY, file)?;
    let sights = found.iter().zip(&shot.objects).map(|(found, object)| Sight {
        label: found.label.to_owned(),
        class_id: found.class_id,
        score: found.score,
        track: object.track.map(|track| track.id),
    });
    Ok(sights.collect())
}
