//! The noise of a step as tensors, exactly as training adds it.

use crate::{
    gpu::{Gpu, GpuError},
    kernels::{AdapterClass, Arena, NoiseUnit, Perturb},
};

use super::{NoiseScheme, Scale, StepNoise};

/// The tensors that training adds to the clean weights of `arena` at a step, computed by the kernel that adds them.
///
/// Noise in units of filter norms depends on the weights: `arena` must hold those of the step. Each tensor comes flat,
/// in its own order, without padding.
///
/// # Errors
/// As [`Perturb::record`] and [`Gpu::read`].
pub fn deltas(gpu: &Gpu, arena: &Arena, scheme: &dyn NoiseScheme, step: &StepNoise) -> Result<Vec<Vec<f32>>, GpuError> {
    let unit = NoiseUnit::filter_scaled(scheme.scale() == Scale::Filter);
    let perturb = Perturb::new(gpu, AdapterClass::for_device(gpu), arena, scheme.distribution().code(), unit)?;
    // Noise on zeros is the noise itself, bit for bit; the norms are taken before the weights go.
    let kept = gpu.buffer("kept weights", arena.weights.len())?;
    let mut recorder = gpu.record();
    recorder.copy(&arena.weights.view(), &kept.view());
    perturb.record_norms(&mut recorder);
    recorder.clear(&arena.weights.view());
    perturb.record_noise(gpu, &mut recorder, &step.ranges, &step.edges, step.values)?;
    recorder.copy(&kept.view(), &arena.weights.view());
    recorder.submit()?;
    let spans = 0..arena.layout.spans().len();
    spans.map(|tensor| gpu.read_floats(&arena.effective(tensor)?)).collect()
}
