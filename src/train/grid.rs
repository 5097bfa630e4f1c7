//! Choosing among an arm's configurations, by the validation loss of runs of their own.

use std::ops::Range;

use serde::Serialize;

use crate::gpu::Gpu;

use super::{Arm, ArmRuns, Control, Event, Prepare, Prepared, RuleChoices, RunConfig, TrainError, TrainEval, compare};

/// Where seeds of runs to choose by begin, unless runs that are compared reach up to there.
const FIRST_SEED: u64 = 1_000_000;

/// A combination of values with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Such as `rho=0.05`.
    pub values: Vec<String>,
    /// The validation loss at the end of a run of each seed; none where it diverged.
    pub validation_losses: Vec<Option<f64>>,
}

/// What an arm was chosen as.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The arm.
    pub arm: String,
    /// Every combination; one without losses where there was nothing to choose.
    pub tried: Vec<Tried>,
    /// Which of them was taken; none where every one diverged.
    pub chosen: Option<usize>,
}

impl Tried {
    /// The mean of the validation losses; none where a run diverged, or there is none.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let losses = self.validation_losses.iter().copied().collect::<Option<Vec<f64>>>()?;
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        Some(mean).filter(|mean| mean.is_finite())
    }

    /// Its values in a line.
    #[must_use]
    pub fn text(&self) -> String {
        self.values.join(" ")
    }
}

impl Choice {
    /// The one with the lowest mean, the first of equal ones; the only one without a run.
    fn new(arm: String, tried: Vec<Tried>) -> Self {
        let only = (tried.len() == 1).then_some(0);
        let means = tried.iter().enumerate().filter_map(|(at, tried)| Some((at, tried.mean()?)));
        let best = means.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at);
        Self { arm, tried, chosen: only.or(best) }
    }

    /// The values that were taken.
    #[must_use]
    pub fn values(&self) -> Option<&Tried> {
        self.chosen.map(|at| &self.tried[at])
    }
}

/// Seeds to choose by, other than those of the runs that are compared.
#[must_use]
pub fn grid_seeds(compared: &Range<u64>, count: u64) -> Vec<u64> {
    let first = if compared.end > FIRST_SEED && compared.start < FIRST_SEED.saturating_add(count) {
        compared.end
    } else {
        FIRST_SEED
    };
    (first..first.saturating_add(count)).collect()
}

/// Runs every combination of the arms that have more than one, with every seed. `observe` hears as in [`compare`], of arms that are
/// labelled by their values. The test data are not seen: the validation part takes their place. `None` where `observe` stopped it.
///
/// # Errors
/// As [`compare`].
pub fn choose(
    gpu: &Gpu,
    arms: &[RuleChoices],
    seeds: &[u64],
    prepare: &Prepare<'_>,
    observe: &mut dyn FnMut(&Arm, u64, Event) -> Result<Control, TrainError>,
) -> Result<Option<Vec<Choice>>, TrainError> {
    let blind = |config: &RunConfig| prepare(config).map(without_test_data);
    let mut choices = Vec::with_capacity(arms.len());
    for choices_of_arm in arms {
        let label = choices_of_arm.arm.to_string();
        let several = choices_of_arm.options.len() > 1;
        let options = choices_of_arm.options.iter();
        let candidates = options.clone().filter(|_| several).map(|option| Arm {
            label: format!("{label} {}", option.values.join(" ")),
            config: RunConfig { train_eval: TrainEval::None, log_every: 0, ..option.config.clone() },
        });
        let runs = compare(gpu, candidates.collect(), seeds, &blind, &mut |_| Ok(None), observe)?;
        if several && runs.iter().any(|arm| arm.runs.len() < seeds.len()) {
            return Ok(None);
        }
        let losses = |arm: &ArmRuns| arm.runs.iter().map(|run| run.end()?.scores.validation_loss).collect();
        let mut losses = runs.iter().map(losses);
        let tried = options.map(|option| Tried {
            values: option.values.clone(),
            validation_losses: losses.next().unwrap_or_default(),
        });
        choices.push(Choice::new(label, tried.collect()));
    }
    Ok(Some(choices))
}

/// The same with the validation part in the place of the test data.
fn without_test_data(mut prepared: Prepared) -> Prepared {
    if let Some(validation) = &prepared.validation {
        prepared.split.test = validation.clone();
    }
    prepared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(losses: &[f64]) -> Tried {
        let loss = |loss: &f64| Some(*loss).filter(|loss| !loss.is_nan());
        Tried { values: Vec::new(), validation_losses: losses.iter().map(loss).collect() }
    }

    #[test]
    fn the_lowest_mean_is_taken_and_nothing_that_diverged() {
        let chosen = |tried: Vec<Tried>| Choice::new("a".to_owned(), tried).chosen;
        assert_eq!(chosen(vec![tried(&[1.0, 3.0]), tried(&[1.4, 1.6]), tried(&[1.5, 1.5])]), Some(1));
        assert_eq!(chosen(vec![tried(&[0.1, f64::NAN]), tried(&[2.0, 2.0])]), Some(1));
        assert_eq!(chosen(vec![tried(&[f64::NAN]), tried(&[f64::INFINITY])]), None);
        assert_eq!(chosen(vec![tried(&[])]), Some(0), "nothing to choose");
    }

    #[test]
    fn seeds_to_choose_by_are_others() {
        assert_eq!(grid_seeds(&(0..8), 2), [1_000_000, 1_000_001]);
        assert_eq!(grid_seeds(&(999_999..1_000_002), 2), [1_000_002, 1_000_003]);
        assert_eq!(grid_seeds(&(1_000_001..1_000_003), 2), [1_000_003, 1_000_004]);
    }
}
