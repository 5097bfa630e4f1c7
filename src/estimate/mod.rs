//! How long a step would take on a GPU that is only described: arithmetic over the plan's dispatches.
//!
//! A dispatch takes its launch, and then the longest of three things, which a GPU overlaps:
//!
//! - *latency*: rounds that wait for each other, in as many waves as the workgroups need that are resident at once;
//! - *memory*: the bytes of its operands by the bandwidth;
//! - *operations*: of a product the multiply-adds of whole tiles, idle ones included, with what it costs to feed them, on the
//!   multiprocessor that has most workgroups; of other kernels those of their formula.
//!
//! What it does not know: how well accesses coalesce, what stays in caches between dispatches, clocks that fall under load,
//! and dispatches that overlap. A measurement is better: `make gpu`.

mod description;
mod dispatch;
mod error;
mod fields;
mod step;

pub use description::{GpuDescription, Matrices};
pub use dispatch::{Bound, Dispatch, Estimate};
pub use error::DescriptionError;
pub use step::StepEstimate;
