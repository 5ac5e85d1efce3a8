//! `edge-rcnn cameras`: the video devices of this system, what they offer, and what is wrong with the others.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use edge_rcnn::source::camera::choose::{Offer, pixel_format};
use edge_rcnn::source::camera::v4l2::{Found, list};
use serde_json::{Value, json};

use super::Failure;

/// Arguments of `cameras`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 69 if no camera can be used.")]
pub struct Args {
    /// One JSON object per device instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let found = list();
    let mut text = String::new();
    for device in &found {
        match args.json {
            true => text += &format!("{}\n", line(device)),
            false => describe(&mut text, device).map_err(Failure::runtime)?,
        }
    }
    io::stdout().write_all(text.as_bytes()).map_err(Failure::output)?;
    if found.is_empty() {
        return Err(Failure::unavailable(
            "there is no /dev/video*; is a camera plugged in and its driver loaded (`dmesg`)? In a container, pass the \
             device; a camera of a board's own connector may need libcamera and a pipe",
        ));
    }
    match found.iter().any(|device| device.trouble.is_none()) {
        true => Ok(()),
        false => Err(Failure::unavailable("none of these devices can be used as a camera; the reasons are above")),
    }
}

fn describe(text: &mut String, device: &Found) -> fmt::Result {
    write!(text, "{}  {}", device.path.display(), device.card)?;
    match &device.driver {
        Some((driver, bus)) => writeln!(text, " ({driver}, {bus})")?,
        None => writeln!(text)?,
    }
    for link in &device.links {
        writeln!(text, "  {}", link.display())?;
    }
    if let Some(trouble) = &device.trouble {
        writeln!(text, "  cannot be used: {trouble}")?;
    }
    for offer in &device.offers {
        let sizes = offer.sizes.iter().map(|(sizes, fps)| {
            let size = match sizes.min == sizes.max {
                true => format!("{}x{}", sizes.min.0, sizes.min.1),
                false => format!("{}x{} to {}x{}", sizes.min.0, sizes.min.1, sizes.max.0, sizes.max.1),
            };
            fps.map_or(size.clone(), |fps| format!("{size} at {}/s", (fps * 100.0).round() / 100.0))
        });
        let sizes = sizes.collect::<Vec<_>>().join(", ");
        let sizes = if sizes.is_empty() { "any size" } else { &sizes };
        let unread = if readable(offer) { "" } else { "  (not read by this program)" };
        writeln!(text, "  {:<6}{sizes}{unread}", offer.fourcc.to_string())?;
    }
    if !device.controls.is_empty() {
        let controls = device.controls.iter().map(|c| {
            let value = c.value.map(|value| format!("={value}")).unwrap_or_default();
            format!("{}{value} ({} to {})", c.name, c.min, c.max)
        });
        writeln!(text, "  --set {}", controls.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}

fn readable(offer: &Offer) -> bool {
    pixel_format(offer.fourcc).is_some()
}

fn line(device: &Found) -> Value {
    let offers = device.offers.iter().map(|offer| {
        let sizes = offer.sizes.iter().map(|(sizes, fps)| {
            let mut size = json!({ "min": [sizes.min.0, sizes.min.1], "max": [sizes.max.0, sizes.max.1] });
            if let Some(fps) = fps {
                size["fps"] = json!(fps);
            }
            size
        });
        json!({
            "fourcc": offer.fourcc.to_string(),
            "description": offer.description,
            "read": readable(offer),
            "sizes": sizes.collect::<Vec<_>>(),
        })
    });
    let controls = device.controls.iter().map(|c| {
        let mut control = json!({ "name": c.name, "min": c.min, "max": c.max, "default": c.default });
        if let Some(value) = c.value {
            control["value"] = json!(value);
        }
        control
    });
    let mut line = json!({
        "type": "camera",
        "device": device.path,
        "card": device.card,
        "links": device.links,
        "usable": device.trouble.is_none(),
        "formats": offers.collect::<Vec<_>>(),
        "controls": controls.collect::<Vec<_>>(),
    });
    if let Some((driver, bus)) = &device.driver {
        (line["driver"], line["bus"]) = (json!(driver), json!(bus));
    }
    if let Some(trouble) = &device.trouble {
        (line["reason"], line["message"]) = (json!(trouble.reason), json!(trouble.message));
    }
    line
}
