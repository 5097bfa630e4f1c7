//! The three simple models, for which noise is exactly a convex penalty: problems, their runs on the device, and what
//! the runs should reach.

mod arms;
mod file;
mod model;
mod rounded;
mod runs;
mod synthetic;

pub use arms::{ArmIterates, ArmSettings, Case, MOST_COEFFICIENTS, NOISY, PARTS, SolvedCase, Steps, Units, segments};
pub(crate) use file::parse;
pub use file::{FileKind, FileProblem, ThetaLayout, read};
pub use model::{ConvexTarget, Distance, SimpleModel, penalty_share};
pub use rounded::Rounded;
pub use runs::{BatchConfig, Regression, RunSettings, Runs};
pub use synthetic::{Grouped, LowRank, Observation, Sparse};
