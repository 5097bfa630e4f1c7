//! The paper's experiments: what noisy gradient descent should reach, and what it does reach.
//!
//! Each is declared in a TOML file beside its code; [`run`] runs it, [`Outcome::write`] writes it down.

mod arm_figure;
mod convergence;
pub mod convex;
mod definition;
mod error;
mod group_l1;
mod l1;
mod networks;
mod nuclear;
mod outcome;
mod penalties;
pub mod simple;
mod smoothed_loss;
pub mod statistics;
mod width;
mod width_figures;
mod width_training;

pub use arm_figure::arm_figure;
pub use definition::{Choices, Definition, Scale};
pub use error::ExperimentError;
pub use outcome::{Bar, Claim, Outcome, Provenance, short};
pub use penalties::Surroundings;

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
        "smoothed-loss" => smoothed_loss::run,
        "convergence" => convergence::run,
        _ => networks::run,
    };
    run(definition, choices, around)
}
