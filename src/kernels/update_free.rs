//! Schedule-free SGD fused with the next step's noise: the host side of `shaders/update_free.wgsl`.

use crate::gpu::{Access, Buffer, Gpu, GpuError, KernelSpec, Launch, Recorder};

use super::{AdapterClass, Arena, NoiseRange, NoiseStep, Sweep, Target, UpdateVariant, sweep::sweep_launches};

pub(super) static UPDATE_FREE: KernelSpec = KernelSpec {
    entry: "update_free",
    source: concat!(
        include_str!("../../shaders/update_free.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
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

/// The compiled update of one network.
#[derive(Debug)]
pub struct UpdateFree(Sweep);

impl UpdateFree {
    /// Plans the update; `z` and `y` are arenas like the others and start as the weights.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where the kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        [z, y]: [&Buffer; 2],
        variant: UpdateVariant,
    ) -> Result<Self, GpuError> {
        let arenas = [&arena.grads, z, y, &arena.weights];
        let constants = [&variant.clean().constants()[..], &variant.constants()];
        Sweep::new(gpu, class, &UPDATE_FREE, constants, &arenas, arena, &[&arena.blocks.view(), &arena.scaling.view()])
            .map(Self)
    }

    /// What an update of `words` weights launches, all of them getting noise.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid.
    pub fn launches(target: &Target, words: usize, variant: UpdateVariant) -> Result<Vec<Launch>, GpuError> {
        let parts = sweep_launches(target, &UPDATE_FREE, &variant.constants(), words)?;
        Ok(parts.into_iter().map(|(_, launch)| launch).collect())
    }

    /// Records one update; `values.noise` holds seed, step and sigma.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        values: FreeStep,
    ) -> Result<(), GpuError> {
        self.0.record(gpu, recorder, ranges, values.noise, |noise| FreeStep { noise, ..values })
    }
}
