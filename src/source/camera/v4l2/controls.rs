//! Controls of a camera by their names: exposure, focus, and whatever else its driver has.

use std::io;

use v4l::v4l_sys as sys;

use super::super::Trouble;
use super::calls::{ControlInfo, Node};

/// Longer lists are a driver that never says "no more".
const MOST: usize = 512;

/// A control and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The name it is set by.
    pub name: String,
    /// Its value, unless it is a button.
    pub value: Option<i32>,
    /// Least value.
    pub min: i32,
    /// Highest value.
    pub max: i32,
    /// Value after plugging in.
    pub default: i32,
}

/// `Exposure, Auto` is set as `exposure_auto`: small letters and digits, anything else becomes one `_`. The tool
/// `v4l2-ctl` does the same.
pub fn control_name(text: &str) -> String {
    let mut name = String::new();
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    name.trim_end_matches('_').to_owned()
}

/// Sets controls in their order; automatics have to be switched off before what they govern can be set.
pub fn set(node: &Node, camera: &str, wanted: &[(String, i32)]) -> Result<(), Trouble> {
    if wanted.is_empty() {
        return Ok(());
    }
    let there = settable(node).map_err(|e| Trouble::from_io(camera, "its controls cannot be listed", &e))?;
    for (name, value) in wanted {
        let asked = control_name(name);
        let Some(control) = there.iter().find(|c| control_name(&c.name) == asked) else {
            let names: Vec<String> = there.iter().map(|c| control_name(&c.name)).collect();
            let message = format!("{camera}: there is no control {asked}; it has {}", names.join(", "));
            return Err(Trouble::other("CONTROL", message));
        };
        node.set_control(control.id, *value).map_err(|e| {
            let ControlInfo { min, max, step, default, .. } = control;
            let range = format!("{min} to {max} in steps of {step}, {default} by default");
            let message = format!("{camera}: the control {asked} cannot be set to {value}: {e}; it takes {range}");
            Trouble::other("CONTROL", message)
        })?;
    }
    Ok(())
}

/// All controls that take a number.
pub fn all(node: &Node) -> io::Result<Vec<Control>> {
    let controls = settable(node)?.into_iter().map(|c| {
        let value = node.control(c.id).ok();
        Control { name: control_name(&c.name), value, min: c.min, max: c.max, default: c.default }
    });
    Ok(controls.collect())
}

fn settable(node: &Node) -> io::Result<Vec<ControlInfo>> {
    let kinds = [
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU,
    ];
    let (mut controls, mut id) = (Vec::new(), 0);
    for _ in 0..MOST {
        let Some(control) = node.control_after(id)? else { break };
        id = control.id;
        if kinds.contains(&control.kind) && !control.disabled {
            controls.push(control);
        }
    }
    Ok(controls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_small_letters_digits_and_single_underscores() {
        assert_eq!(control_name("Exposure, Auto"), "exposure_auto");
        assert_eq!(control_name("White Balance Temperature, Auto "), "white_balance_temperature_auto");
        assert_eq!(control_name("exposure_auto"), "exposure_auto");
        assert_eq!(control_name("  (Zoom)/2x"), "zoom_2x");
    }
}
