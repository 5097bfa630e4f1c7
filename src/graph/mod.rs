//! Models as graphs of operations, and their compilation into one static list of dispatches.
//!
//! A [`Graph`] is built once with shapes checked as it grows. [`Schedule`] turns it into an ordered list of calls with
//! backward as the reverse of forward; [`memory`] places what lives between calls in one arena; [`Plan`] binds
//! everything on a device, after which a step only records.

mod autodiff;
mod bind;
mod call;
mod canonical;
mod error;
mod forward;
mod fuse;
mod launch;
mod layers;
pub mod memory;
mod op;
mod operands;
mod plan;
mod schedule;
mod shape;
mod tangent;
mod work;

pub use call::{
    AffineCall, BatchNormCall, BatchNormGradientCall, Call, ConvCall, MatmulCall, PlanStep, PoolCall, Slot, SlotId,
    Tensor,
};
pub use error::GraphError;
pub use launch::PlannedLaunch;
pub use op::{BatchNormOp, Graph, Node, NormOp, Op, Param, ParamId, ParamInit, ParamRole, Stat, StatId, ValueId};
pub use plan::{BatchInfo, DataViews, Plan, TangentArenas};
pub use schedule::{Loss, Mode, Schedule};
pub use shape::ValueShape;
