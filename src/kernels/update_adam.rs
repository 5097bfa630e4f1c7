//! Adam and AdamW fused with the next step's noise: the host side of `shaders/update_adam.wgsl`.

use crate::gpu::{Access, KernelSpec};

use super::{FusedUpdate, NoiseStep, UpdateValues, UpdateVariant, flag};

pub(super) static UPDATE_ADAM: KernelSpec = KernelSpec {
    entry: "update_adam",
    source: concat!(
        include_str!("../../shaders/update_adam.wgsl"),
        include_str!("../../shaders/shared/bias_correction.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
        include_str!("../../shaders/shared/update.wgsl"),
    ),
    bindings: &[
        ("grads", Access::Read),
        ("exp_avg", Access::ReadWrite),
        ("exp_avg_sq", Access::ReadWrite),
        ("weights", Access::ReadWrite),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<AdamStep>() as u32,
};

/// Adam and AdamW: its state is the two moments, 0 at the start.
pub type UpdateAdam = FusedUpdate<AdamStep>;

/// Values of one step; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AdamStep {
    /// Noise of the next step.
    pub noise: NoiseStep,
    /// learning_rate / (1 - beta1^t)
    pub step_size: f32,
    /// 1 - beta1
    pub one_minus_beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// 1 - beta2
    pub one_minus_beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
    /// Adam's L2 coefficient; 0 for AdamW.
    pub weight_decay: f32,
    /// AdamW's 1 - learning_rate * decay; 1 for Adam.
    pub decay_factor: f32,
    /// sqrt(1 - beta2^t)
    pub bias_correction2_sqrt: f32,
    /// For where the device counts other updates than t: those that were not left out.
    pub learning_rate: f32,
}

impl UpdateValues for AdamStep {
    const SPEC: &'static KernelSpec = &UPDATE_ADAM;

    fn noise(&self) -> NoiseStep {
        self.noise
    }

    fn with_noise(self, noise: NoiseStep) -> Self {
        Self { noise, ..self }
    }

    fn constants(variant: UpdateVariant) -> Vec<(&'static str, f64)> {
        variant.constants().into_iter().chain([flag("ORTHOGONAL", variant.orthogonal)]).collect()
    }
}
