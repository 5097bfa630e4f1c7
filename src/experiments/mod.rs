//! The paper's experiments: what noisy gradient descent should reach, and what it does reach.
//!
//! Each is declared in a TOML file beside its code; [`run`] runs it, [`Outcome::write`] writes it down.

mod arm_figure;
mod attention_width;
mod block_traces;
mod claim;
mod comparison_report;
pub mod comparisons;
mod convergence;
pub mod convex;
mod definition;
mod error;
#[cfg(test)]
mod fooled;
mod generalisation;
mod group_l1;
mod kinks;
mod l1;
mod networks;
mod noise_arm;
mod nuclear;
mod numbers;
mod outcome;
mod penalties;
#[cfg(test)]
mod penalty_cases;
mod penalty_claims;
mod penalty_measurements;
mod penalty_panels;
mod rule_comparison;
mod rules;
mod run_figure;
pub mod simple;
mod smoothed_loss;
mod spectrum_figure;
pub mod statistics;
mod surroundings;
mod unfinished;
mod verdict;
mod width;
mod width_claims;
mod width_figures;
mod width_measurements;
mod width_net;
mod width_training;

pub use arm_figure::arm_figure;
pub use claim::{Claim, Ruling, Setting};
pub use comparison_report::ComparisonReport;
pub use definition::{Choices, Definition, Size};
pub use error::ExperimentError;
pub use numbers::short;
pub use outcome::{Outcome, Provenance};
pub use rule_comparison::RuleComparison;
pub use run_figure::{run_figure, write_curves};
pub use spectrum_figure::spectrum_figure;
pub use surroundings::Surroundings;
pub use verdict::{Bar, Evidence, Measured, Verdict};

/// Runs an experiment.
///
/// # Errors
/// [`ExperimentError`], for settings, problem files, solvers and the device.
pub fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let run = match definition.name.as_str() {
        "l1" => l1::run,
        "group-l1" => group_l1::run,
        "nuclear" => nuclear::run,
        "width" => width::run,
        "attention-width" => attention_width::run,
        "smoothed-loss" => smoothed_loss::run,
        "generalisation" => generalisation::run,
        "convergence" => convergence::run,
        "rules" => rules::run,
        _ => networks::run,
    };
    run(definition, choices, around)
}
