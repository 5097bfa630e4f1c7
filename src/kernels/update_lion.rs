//! Lion fused with the next step's noise: the host side of `shaders/update_lion.wgsl`.

use crate::gpu::{Access, Buffer, Gpu, GpuError, KernelSpec, Launch, Recorder};

use super::{AdapterClass, Arena, NoiseRange, NoiseStep, Sweep, Target, UpdateVariant, sweep::sweep_launches};

pub(super) static UPDATE_LION: KernelSpec = KernelSpec {
    entry: "update_lion",
    source: concat!(
        include_str!("../../shaders/update_lion.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
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

/// The compiled update of one network.
#[derive(Debug)]
pub struct UpdateLion(Sweep);

impl UpdateLion {
    /// Plans the update; `exp_avg` is an arena like the others and starts at 0.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where the kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        exp_avg: &Buffer,
        variant: UpdateVariant,
    ) -> Result<Self, GpuError> {
        let arenas = [&arena.grads, exp_avg, &arena.weights];
        let constants = [&variant.clean().constants()[..], &variant.constants()];
        Sweep::new(gpu, class, &UPDATE_LION, constants, &arenas, arena, &[&arena.blocks.view(), &arena.scaling.view()])
            .map(Self)
    }

    /// What an update of `words` weights launches, all of them getting noise.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid.
    pub fn launches(target: &Target, words: usize, variant: UpdateVariant) -> Result<Vec<Launch>, GpuError> {
        let parts = sweep_launches(target, &UPDATE_LION, &variant.constants(), words)?;
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
        values: LionStep,
    ) -> Result<(), GpuError> {
        self.0.record(gpu, recorder, ranges, values.noise, |noise| LionStep { noise, ..values })
    }
}
