//! Models as graphs of operations, and their compilation into one static list of dispatches. It names no operation: those
//! are in [`ops`](crate::ops), or in a crate of the user's.
//!
//! A [`Graph`] is built once with shapes checked as it grows. [`Schedule`] turns it into an ordered list of calls with
//! backward as the reverse of forward; [`memory`] places what lives between calls in one arena; [`Plan`] binds
//! everything on a device, after which a step only records.

mod backward;
mod bind;
mod call;
mod canonical;
mod ends;
mod error;
mod forward;
mod fuse;
#[allow(clippy::module_inception, reason = "the graph itself")]
mod graph;
mod kernel;
mod launch;
mod loss;
pub mod memory;
mod op;
mod plan;
mod schedule;
mod shape;
mod tangent;

pub use backward::Backward;
pub use call::{Access, Call, DataTensor, Operand, PlanStep, Slot, SlotId, Tensor};
pub use error::GraphError;
pub use forward::Forward;
pub use graph::Graph;
pub use kernel::{Binding, Kernel, LaunchContext, Record, Rule, Tangent};
pub use launch::PlannedLaunch;
pub use loss::LossFunction;
pub use op::{
    Fusion, Inputs, Node, Op, Param, ParamId, ParamInit, ParamRole, ParamSpec, Saved, Stat, StatId, StatSpec, ValueId,
};
pub use plan::{BatchInfo, DataViews, Plan, TangentArenas};
pub use schedule::{Mode, Schedule};
pub use shape::ValueShape;
pub use tangent::{TangentPass, Target};
