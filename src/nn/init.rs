//! PyTorch's default initialisation, on the device.

use crate::{
    gpu::{Gpu, GpuError},
    graph::ParamInit,
    kernels::{Arena, init_uniform},
};

use super::Model;

/// Draws every weight and bias of linear layers and convolutions uniformly from +-1/sqrt(fan_in), a pure function of
/// (seed, tensor, element); norms start as the identity, running statistics at mean 0 and variance 1.
///
/// Source: `reset_parameters` of `torch.nn.Linear`, `Conv2d` and `BatchNorm2d`.
///
/// # Errors
/// As [`init_uniform`].
pub fn initialise(gpu: &Gpu, model: &Model, arena: &Arena, seed: u64) -> Result<(), GpuError> {
    let mut recorder = gpu.record();
    for (tensor, param) in model.graph.params().iter().enumerate() {
        let view = arena.tensor(&arena.weights, tensor)?;
        match param.init {
            ParamInit::Constant(value) => gpu.write(&view, &vec![value; view.len()])?,
            ParamInit::Uniform { fan_in } => {
                let bound = 1.0 / (fan_in as f32).sqrt();
                recorder.run(&init_uniform(gpu, &view, tensor, seed, bound)?);
            }
        }
    }
    for (index, stat) in model.graph.stats().iter().enumerate() {
        gpu.write(&arena.stat(index)?, &vec![stat.initial; stat.channels])?;
    }
    recorder.submit()
}
