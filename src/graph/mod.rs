//! Models as graphs of operations, and their compilation into one static list of dispatches. It names no operation: those
//! are in [`ops`](crate::ops), or in a crate of the user's.
//!
//! A [`Graph`] is built once with shapes checked as it grows. [`Schedule`] turns it into an ordered list of calls with
//! backward as the reverse of forward; [`memory`] places what lives between calls in one arena; [`Plan`] binds
//! everything on a device, after which a step only records.

mod backward;
mod batch;
mod bind;
mod call;
mod canonical;
mod compile;
mod cut;
mod cut_columns;
mod deferred;
mod destination;
mod ends;
mod error;
mod forward;
mod fuse;
#[allow(clippy::module_inception, reason = "the graph itself")]
mod graph;
mod hidden;
mod ids;
mod launch;
mod loss;
pub mod memory;
mod op;
mod op_pass;
mod operand;
mod output_shape;
mod parts;
mod places;
mod plan;
mod record;
mod schedule;
mod shape;
mod tangent;

pub use backward::Backward;
pub use batch::{BatchInfo, DataViews, LossTerms, TargetKind};
pub use bind::TangentArenas;
pub use call::{
    Binding, Call, Cut, Deferred, Kernel, LaunchContext, PlanStep, Tangent, TangentRule, TangentTarget, Tangents,
};
pub use cut_columns::CutColumns;
pub use destination::Destination;
pub use error::GraphError;
pub use forward::{Forward, Saved};
pub use graph::Graph;
pub use ids::{ParamId, SlotId, StatId, ValueId};
pub use launch::PlannedLaunch;
pub use loss::{GradientInPlace, LossFunction};
pub use op::{Fusion, Inputs, Node, Op, Param, ParamInit, ParamRole, ParamSpec, Stat, StatSpec};
pub use op_pass::OpPass;
pub use operand::{DataTensor, Operand, OperandAccess, Slot, Tensor};
pub use output_shape::OutputShape;
pub use places::Places;
pub use plan::Plan;
pub use record::Record;
pub use schedule::{PlanMode, Schedule};
pub use shape::ValueShape;
