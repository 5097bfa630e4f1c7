//! Lion fused with the next step's noise: the host side of `shaders/update_lion.wgsl`.

use crate::gpu::{Access, KernelSpec};

use super::{FusedUpdate, NoiseStep, UpdateValues};

pub(super) static UPDATE_LION: KernelSpec = KernelSpec {
    entry: "update_lion",
    source: concat!(
        include_str!("../../shaders/update_lion.wgsl"),
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
        ("weights", Access::ReadWrite),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<LionStep>() as u32,
};

/// Lion: its state is the moving average of gradients, 0 at the start.
pub type UpdateLion = FusedUpdate<LionStep>;

/// Values of one step; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LionStep {
    /// Noise of the next step.
    pub noise: NoiseStep,
    /// Step size.
    pub learning_rate: f32,
    /// 1 - beta1
    pub one_minus_beta1: f32,
    /// 1 - beta2
    pub one_minus_beta2: f32,
    /// 1 - learning_rate * decay
    pub decay_factor: f32,
}

impl UpdateValues for LionStep {
    const SPEC: &'static KernelSpec = &UPDATE_LION;

    fn noise(&self) -> NoiseStep {
        self.noise
    }

    fn with_noise(self, noise: NoiseStep) -> Self {
        Self { noise, ..self }
    }
}
