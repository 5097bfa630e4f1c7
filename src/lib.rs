//! Jostle trains neural networks on any GPU through WebGPU compute, with noise injected into the weights, layer by
//! layer, before every gradient.
//!
//! The method is that of Orvieto, Raj, Kersting and Bach, *Explicit Regularization in Overparametrized Models via
//! Noise Injection*, AISTATS 2023. Each module uses only those below it:
//! [`train`] the loop; [`analysis`] curvature; [`nn`] models; [`ops`] operations; [`graph`] the compiled step;
//! [`rules`] what a step is, as data; [`noise`] and [`optim`] schemes and update rules, over a run by [`schedule`];
//! [`kernels`] the host side of the WGSL that these share; [`gpu`] the device. [`mod@bench`] measures steps; [`data`] and
//! [`report`] stand beside them and know no device.

extern crate self as jostle; // by which the commands name what they use

pub mod analysis;
pub mod bench;
#[doc(hidden)]
pub mod cli; // the commands, which the program and Python's wheel share; no interface for users
pub mod data;
mod device_data;
mod digest;
mod durable;
pub mod estimate;
pub mod experiments;
#[doc(hidden)]
pub mod fuzzing; // what the fuzz targets and the replay of their corpora call; no interface for users
pub mod gpu;
#[doc(hidden)]
pub mod gpu_report; // what scripts/gpu.sh makes of its measurements; no interface for users
pub mod graph;
mod input;
pub mod kernels;
mod names;
pub mod nn;
pub mod noise;
pub mod ops;
pub mod optim;
pub mod report;
pub mod rules;
pub mod schedule;
mod specs;
mod tensorboard;
pub mod train;

pub use specs::all_specs;

/// The README's library example, compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
