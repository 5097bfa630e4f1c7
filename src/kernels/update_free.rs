//! Schedule-free SGD fused with the next step's noise: the host side of `shaders/update_free.wgsl`.

use crate::gpu::{Access, KernelSpec};

use super::{FusedUpdate, NoiseStep, UpdateValues};

pub(super) static UPDATE_FREE: KernelSpec = KernelSpec {
    entry: "update_free",
    source: concat!(
        include_str!("../../shaders/update_free.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
        include_str!("../../shaders/shared/update.wgsl"),
    ),
    bindings: &[
        ("grads", Access::Read),
        ("z", Access::ReadWrite),
        ("y", Access::ReadWrite),
        ("weights", Access::ReadWrite),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<FreeStep>() as u32,
};

/// Schedule-free SGD: its state is z and y, the weights at the start.
pub type UpdateFree = FusedUpdate<FreeStep>;

/// Values of one step; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct FreeStep {
    /// Noise of the next step.
    pub noise: NoiseStep,
    /// Step size.
    pub learning_rate: f32,
    /// Share of the mean in the weights that gradients are taken around.
    pub momentum: f32,
    /// L2 coefficient, of the weights that gradients are taken around.
    pub weight_decay: f32,
    /// 1 / t
    pub share: f32,
}

impl UpdateValues for FreeStep {
    const SPEC: &'static KernelSpec = &UPDATE_FREE;

    fn noise(&self) -> NoiseStep {
        self.noise
    }

    fn with_noise(self, noise: NoiseStep) -> Self {
        Self { noise, ..self }
    }
}
