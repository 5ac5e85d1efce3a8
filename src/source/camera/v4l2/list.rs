//! All video devices of the system, with what is wrong with each.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::Trouble;
use super::super::choose::Offer;
use super::calls::Node;
use super::{Control, camera, controls, offers};

/// Names that stay when numbers change.
const LINKS: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];

/// A video device.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its node.
    pub path: PathBuf,
    /// Links to it that stay when its number changes.
    pub links: Vec<PathBuf>,
    /// What the kernel calls it, also if it cannot be opened.
    pub card: String,
    /// Driver and bus.
    pub driver: Option<(String, String)>,
    /// Formats with their sizes and highest rates.
    pub offers: Vec<Offer>,
    /// Controls that can be set.
    pub controls: Vec<Control>,
    /// Why it cannot be used.
    pub trouble: Option<Trouble>,
}

/// The devices in the order of their numbers; nothing is changed about them.
pub fn list() -> Vec<Found> {
    let mut numbers: Vec<u32> = fs::read_dir("/dev").into_iter().flatten().flatten().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(look).collect()
}

fn number(entry: fs::DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.strip_prefix("video")?.parse().ok()
}

fn look(number: u32) -> Found {
    let path = PathBuf::from(format!("/dev/video{number}"));
    let card = fs::read_to_string(format!("/sys/class/video4linux/video{number}/name"));
    let mut found = Found {
        links: links(&path),
        card: card.map(|name| name.trim().to_owned()).unwrap_or_default(),
        driver: None,
        offers: Vec::new(),
        controls: Vec::new(),
        trouble: None,
        path,
    };
    found.trouble = inspect(&mut found).err();
    found
}

fn inspect(found: &mut Found) -> Result<(), Trouble> {
    let name = found.path.display().to_string();
    let failed = |what: &'static str| move |e: std::io::Error| (what, e);
    let told = |(what, e): (&str, std::io::Error)| Trouble::from_io(&name, what, &e);
    let node = Node::open(&found.path).map_err(failed("cannot be opened")).map_err(told)?;
    if let Ok(about) = node.about() {
        (found.card, found.driver) = (about.card, Some((about.driver, about.bus)));
    }
    camera(&node, &name)?;
    // The largest sizes: their rates tell what the bus can carry.
    found.offers =
        offers::all(&node, (u32::MAX, u32::MAX)).map_err(failed("its formats cannot be listed")).map_err(told)?;
    found.controls = controls::all(&node).map_err(failed("its controls cannot be listed")).map_err(told)?;
    Ok(())
}

fn links(path: &Path) -> Vec<PathBuf> {
    let entries = LINKS.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let mut links: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|link| fs::canonicalize(link).is_ok_and(|target| target == path))
        .collect();
    links.sort();
    links
}
