//! Initialisation on the device: PyTorch's default unless a graph says otherwise.

use crate::{
    gpu::{Gpu, GpuError},
    graph::ParamInit,
    kernels::{Arena, arena_parts, init_normal, init_uniform},
};

use super::Model;

/// Starts every parameter as its [`ParamInit`] says, draws being a pure function of (seed, tensor, element): where nothing else
/// was set, weights and biases of linear layers and convolutions uniform in +-1/sqrt(fan_in), and norms as the identity; running
/// statistics at mean 0 and variance 1.
///
/// Source: `reset_parameters` of `torch.nn.Linear`, `Conv2d` and `BatchNorm2d`.
///
/// # Errors
/// As [`init_uniform`] and [`init_normal`].
pub fn initialise(gpu: &Gpu, model: &Model, arena: &Arena, seed: u64) -> Result<(), GpuError> {
    let mut recorder = gpu.record();
    for (tensor, param) in model.graph.params().iter().enumerate() {
        let whole = arena.tensor(&arena.weights, tensor)?;
        for (first, words) in arena_parts(gpu.limits(), whole.len()) {
            let view = whole.part(first, words)?;
            match param.init {
                ParamInit::Constant(value) => gpu.write(&view, &vec![value; words])?,
                ParamInit::Uniform { fan_in } => {
                    let bound = 1.0 / (fan_in as f32).sqrt();
                    recorder.run(&init_uniform(gpu, &view, first, tensor, seed, bound)?);
                }
                ParamInit::Normal { std } => recorder.run(&init_normal(gpu, &view, first, tensor, seed, std)?),
            }
        }
    }
    for (index, stat) in model.graph.stats().iter().enumerate() {
        gpu.write(&arena.stat(index)?, &vec![stat.initial; stat.channels])?;
    }
    recorder.submit()
}
