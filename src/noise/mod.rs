//! Weight noise: what is drawn, for which group of weights, how strong, at which step.
//!
//! The method is that of Orvieto, Raj, Kersting and Bach, *Explicit Regularization in Overparametrized Models via
//! Noise Injection*, AISTATS 2023: `w <- w - learning_rate * grad L(w + delta)`. Noise is a pure function of
//! (seed, step, tensor, element): nothing is stored, and whoever knows these four can repeat it.

mod config;
mod draw;
mod export;
mod groups;
mod labels;
mod noise_scheme;
mod point;
mod scheme;
mod step_noise;

pub use crate::names::UnknownName;
pub use config::{Distribution, GroupOrder, Grouping, Mode, NoiseConfig, Scale, SigmaSchedule};
pub use draw::{Stream, philox, posterior_normals, probe, unit_noise};
pub use export::deltas;
pub use groups::{NoisePart, NoiseTensor};
pub use labels::FreshLabels;
pub use noise_scheme::NoiseScheme;
pub use point::Point;
pub use scheme::Scheme;
pub use step_noise::StepNoise;
