//! PyTorch's default initialisation, on the device.

use crate::{
    gpu::{Gpu, GpuError},
    kernels::{Arena, init_uniform},
};

use super::Model;

/// Draws every parameter uniformly from +-1/sqrt(fan_in), weights and biases alike, a pure function of
/// (seed, tensor, element).
///
/// Source: `torch.nn.Linear.reset_parameters`.
///
/// # Errors
/// As [`init_uniform`].
pub fn initialise(gpu: &Gpu, model: &Model, arena: &Arena, seed: u64) -> Result<(), GpuError> {
    let mut recorder = gpu.record();
    for (tensor, param) in model.graph.params().iter().enumerate() {
        let bound = 1.0 / (param.fan_in as f32).sqrt();
        recorder.run(&init_uniform(gpu, &arena.tensor(&arena.weights, tensor)?, tensor, seed, bound)?);
    }
    recorder.submit()
}
