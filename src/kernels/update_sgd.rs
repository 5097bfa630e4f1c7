//! SGD fused with the next step's noise: the host side of `shaders/update_sgd.wgsl`.

use crate::gpu::{Access, KernelSpec};

use super::{FusedUpdate, NoiseStep, UpdateValues, UpdateVariant, flag};

pub(super) static UPDATE_SGD: KernelSpec = KernelSpec {
    entry: "update_sgd",
    source: concat!(
        include_str!("../../shaders/update_sgd.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
        include_str!("../../shaders/shared/update.wgsl"),
    ),
    bindings: &[
        ("grads", Access::Read),
        ("velocity", Access::ReadWrite),
        ("weights", Access::ReadWrite),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<SgdStep>() as u32,
};

/// SGD: its state is the velocity, 0 at the start.
pub type UpdateSgd = FusedUpdate<SgdStep>;

/// Values of one step; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SgdStep {
    /// Noise of the next step.
    pub noise: NoiseStep,
    /// Step size.
    pub learning_rate: f32,
    /// Momentum; 0 for none.
    pub momentum: f32,
    /// 1 - dampening.
    pub one_minus_dampening: f32,
    /// L2 coefficient, added to the gradient.
    pub weight_decay: f32,
    /// 1 for Nesterov.
    pub nesterov: u32,
    /// 1 at the first step: velocity starts as the gradient. So it does at the first update that is not left out.
    pub first_step: u32,
}

impl UpdateValues for SgdStep {
    const SPEC: &'static KernelSpec = &UPDATE_SGD;

    fn noise(&self) -> NoiseStep {
        self.noise
    }

    fn with_noise(self, noise: NoiseStep) -> Self {
        Self { noise, ..self }
    }

    fn constants(variant: UpdateVariant) -> Vec<(&'static str, f64)> {
        variant.constants().into_iter().chain([flag("DECAY_SEEN", variant.decay_seen)]).collect()
    }
}
