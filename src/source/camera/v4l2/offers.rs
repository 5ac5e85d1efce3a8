//! What a camera can give: formats, sizes, rates.

use std::io;

use super::super::FourCc;
use super::super::choose::{Offer, Sizes};
use super::calls::Node;

/// Longer lists are a driver that never says "no more".
const MOST: u32 = 256;

/// All formats with their sizes. Of sizes in steps, the rate is that of the one nearest to `near`.
pub fn all(node: &Node, near: (u32, u32)) -> io::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for index in 0..MOST {
        let Some((fourcc, description)) = node.format_offer(index)? else { break };
        let mut sizes = Vec::new();
        for index in 0..MOST {
            let Some([min, max, step]) = node.size_offer(fourcc, index)? else { break };
            let range = Sizes { min, max, step };
            sizes.push((range, highest_rate(node, fourcc, range.nearest(near))?));
        }
        offers.push(Offer { fourcc, description, sizes });
    }
    Ok(offers)
}

fn highest_rate(node: &Node, fourcc: FourCc, size: (u32, u32)) -> io::Result<Option<f64>> {
    let mut highest: Option<f64> = None;
    for index in 0..MOST {
        let Some(interval) = node.interval_offer(fourcc, size, index)? else { break };
        highest = rate(interval).into_iter().chain(highest).reduce(f64::max);
    }
    Ok(highest)
}

fn rate((numerator, denominator): (u32, u32)) -> Option<f64> {
    (numerator > 0 && denominator > 0).then(|| f64::from(denominator) / f64::from(numerator))
}

/// Asks for a rate, if one is wanted, and tells the one that is set. Cameras without a rate of their own do not say.
pub fn set_rate(node: &Node, wanted: Option<f64>) -> Option<f64> {
    if let Some(fps) = wanted {
        // Thousandths, so that 29.97 can be asked for.
        let interval = (1000, (fps * 1000.0).round().clamp(1.0, f64::from(u32::MAX)) as u32);
        if let Err(e) = node.set_interval(interval) {
            log::debug!("the camera does not take a rate: {e}");
        }
    }
    node.interval().ok().flatten().and_then(rate)
}
