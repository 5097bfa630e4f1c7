//! Models as graphs of operations, and their compilation into one static list of dispatches.
//!
//! A [`Graph`] is built once with shapes checked as it grows. [`Schedule`] turns it into an ordered list of calls with
//! backward as the reverse of forward; [`memory`] places what lives between calls in one arena; [`Plan`] binds
//! everything on a device, after which a step only records.

mod autodiff;
mod error;
pub mod memory;
mod op;
mod plan;
mod schedule;
mod tangent;

pub use error::GraphError;
pub use op::{Graph, Node, Op, Param, ParamId, ParamRole, ValueId};
pub use plan::{BatchInfo, DataViews, Plan, TangentArenas};
pub use schedule::{Call, Loss, MatmulCall, Mode, PlanStep, Schedule, Slot, SlotId, Tensor};
