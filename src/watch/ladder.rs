//! The steps a budget is held with: smaller pictures and fewer regions, from the cheapest to the model's own numbers.

use std::time::Duration;

use crate::clock::Clock;

/// How closely frames are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Shorter side of the network input, in pixels.
    pub short_side: u32,
    /// Regions the head looks at.
    pub proposals: usize,
}

/// A step and what it costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    /// The step.
    pub step: Step,
    /// Milliseconds for a frame; only their ratios matter once frames come.
    pub cost_ms: f64,
}

/// Parts of the model's own scale and regions. Few regions cost little accuracy and much of the head's time, so they go
/// first; then size and regions go together.
const PARTS: [(f64, f64); 10] = [
    (0.16, 0.06),
    (0.2, 0.1),
    (0.27, 0.1),
    (0.33, 0.17),
    (0.4, 0.17),
    (0.5, 0.33),
    (0.67, 0.33),
    (0.83, 0.33),
    (1.0, 0.33),
    (1.0, 1.0),
];

/// Smallest network input that still shows something.
const SMALLEST_SIDE: u32 = 64;

/// Fewest regions that still find something.
const FEWEST: usize = 10;

/// Steps that cost more than this many budgets need not be measured.
const FAR_OVER: f64 = 2.0;

/// The steps from the cheapest to `full`. What is pinned stays as it is in `full`.
pub fn steps(full: Step, scale_pinned: bool, proposals_pinned: bool) -> Vec<Step> {
    let part = |full: f64, part: f64| (full * part).round();
    let mut steps: Vec<Step> = PARTS
        .iter()
        .map(|&(scale, proposals)| Step {
            short_side: match scale_pinned {
                true => full.short_side,
                false => (part(f64::from(full.short_side), scale) as u32).max(SMALLEST_SIDE).min(full.short_side),
            },
            proposals: match proposals_pinned {
                true => full.proposals,
                false => (part(full.proposals as f64, proposals) as usize).max(FEWEST).min(full.proposals),
            },
        })
        .collect();
    steps.dedup();
    steps
}

/// Measures the steps on this machine, from the cheapest up to the first that is far over the budget; what is left is
/// reckoned from the network's work. `look` looks at one frame at a step.
pub fn measure<E>(
    steps: &[Step],
    budget: Duration,
    clock: &dyn Clock,
    mut look: impl FnMut(Step) -> Result<(), E>,
) -> Result<Vec<Rung>, E> {
    let far_over = FAR_OVER * budget.as_secs_f64() * 1e3;
    let mut rungs: Vec<Rung> = Vec::with_capacity(steps.len());
    for &step in steps {
        let cost_ms = match rungs.last() {
            Some(last) if last.cost_ms > far_over => last.cost_ms * work(step) / work(last.step),
            last => {
                let at_least = last.map_or(0.0, |rung| rung.cost_ms);
                // The first frame at a size pays for its plan; of the next two, something else may disturb one.
                look(step)?;
                let mut once = || {
                    let started = clock.now();
                    look(step).map(|()| clock.now().ms_since(started))
                };
                once()?.min(once()?).max(at_least)
            }
        };
        rungs.push(Rung { step, cost_ms });
    }
    Ok(rungs)
}

/// Multiply-adds of ZF at 3:2 with compressed layers, in millions; other networks have about the same ratios.
fn work(step: Step) -> f64 {
    f64::from(step.short_side).powi(2) * 1.5 * 0.028 + step.proposals as f64 * 16.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::watch::testing::SimClock;

    const FULL: Step = Step { short_side: 600, proposals: 300 };

    #[test]
    fn steps_rise_to_the_models_own_numbers_and_pins_hold() {
        let all = steps(FULL, false, false);
        assert_eq!((all.len(), all[0], all[9]), (10, Step { short_side: 96, proposals: 18 }, FULL));
        assert!(all.windows(2).all(|w| w[0].short_side <= w[1].short_side && w[0].proposals <= w[1].proposals));
        // At most as many sizes as a trunk keeps plans for, and one.
        let mut sides: Vec<_> = all.iter().map(|s| s.short_side).collect();
        sides.dedup();
        assert_eq!(sides.len(), 9);
        assert!(steps(FULL, true, false).iter().all(|s| s.short_side == 600));
        assert!(steps(FULL, false, true).iter().all(|s| s.proposals == 300));
        assert_eq!(steps(FULL, true, true), [FULL]);
        // A small model's ladder does not go below what makes sense, nor above the model.
        let small = steps(Step { short_side: 100, proposals: 5 }, false, false);
        assert!(small.iter().all(|s| (64..=100).contains(&s.short_side) && s.proposals == 5), "{small:?}");
    }

    #[test]
    fn cheap_steps_are_measured_and_the_far_too_dear_reckoned() {
        let clock = SimClock::default();
        let mut looks = Vec::new();
        let cost = |step: Step| work(step) / 100.0;
        let rungs = measure::<()>(&steps(FULL, false, false), Duration::from_millis(20), &clock, |step| {
            looks.push(step);
            // The first look at each size makes a plan.
            let plan = if looks.iter().filter(|s| s.short_side == step.short_side).count() == 1 { 500.0 } else { 0.0 };
            clock.advance(cost(step) + plan);
            Ok(())
        })
        .unwrap();
        assert!(rungs.iter().all(|r| (r.cost_ms - cost(r.step)).abs() < 0.01), "{rungs:?}");
        assert!(!looks.contains(&FULL) && looks.len() >= 3 * 5, "{looks:?}");
    }
}
