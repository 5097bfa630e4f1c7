//! Gaussians over weights that some rules leave in `posterior.safetensors`: made, written, read, drawn from.
//!
//! | `rule` of the metadata | tensors of a parameter NAME | a draw, xi of zero mean and unit variance |
//! |---|---|---|
//! | `swag` | NAME/mean, NAME/second_moment, NAME/deviations `[held, ...]` | mean + sqrt(1/2) (sqrt(v) xi + D xi' / sqrt(K - 1)), v = max(second_moment - mean^2, 1e-30) |
//! | `ivon` | NAME/mean, NAME/deviation: the weights, and 1 / sqrt(ess (hess + weight decay)) | mean + deviation xi |
//!
//! D has a column for each deviation held, the last K (`rank` of the metadata) of those taken; xi' has one number for each,
//! the same for all tensors. K - 1 stands there where fewer are held too, as in the code of SWAG's authors.

mod draws;
mod format;
mod swag;
mod taking;

pub use draws::{Gaussian, GaussianPosterior};
pub use format::POSTERIOR;
pub(super) use swag::Swag;
