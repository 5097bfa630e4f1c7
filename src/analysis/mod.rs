//! Measuring trained networks: curvature.

mod hessian_trace;

pub use hessian_trace::{AnalysisError, Subject, TraceEstimate, TraceOptions, hessian_trace};
