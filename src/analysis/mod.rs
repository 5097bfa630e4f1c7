//! Measuring trained networks: curvature.

mod curvature;
mod hessian_trace;
mod lanczos;
mod noise_variance;
mod smoothed_loss;
mod spectrum;

pub use curvature::{AnalysisError, Curvature, CurvatureProduct, Subject};
pub use hessian_trace::{GroupTrace, MIN_PROBES, TraceEstimate, TraceOptions, grouped_trace, hessian_trace};
pub use lanczos::{Ritz, lanczos};
pub(crate) use noise_variance::variance_parts;
pub use noise_variance::{BlockVariance, VarianceOptions, noise_variance};
pub use smoothed_loss::NoisyLoss;
pub use spectrum::{Spectrum, SpectrumOptions, spectrum};
