//! Measuring trained networks: curvature.

mod curvature;
mod hessian_trace;
mod lanczos;
mod spectrum;

pub use curvature::{AnalysisError, Curvature, CurvatureProduct, Subject};
pub use hessian_trace::{MIN_PROBES, TraceEstimate, TraceOptions, hessian_trace};
pub use lanczos::{Ritz, lanczos};
pub use spectrum::{Spectrum, SpectrumOptions, spectrum};
