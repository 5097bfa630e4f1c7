//! Measuring trained networks: curvature.

mod curvature;
mod hessian_trace;

pub use curvature::{AnalysisError, Curvature, CurvatureProduct, Subject};
pub use hessian_trace::{MIN_PROBES, TraceEstimate, TraceOptions, hessian_trace};
