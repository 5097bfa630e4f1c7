//! Adam and AdamW fused with the next step's noise: the host side of `shaders/update_adam.wgsl`.

use crate::gpu::{Access, Buffer, Gpu, GpuError, KernelSpec, Launch, Recorder};

use super::{
    AdapterClass, Arena, Constant, NoiseRange, NoiseStep, Sweep, Target, UpdateVariant, flag, sweep::sweep_launches,
};

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

fn constants(variant: UpdateVariant) -> Vec<Constant> {
    let orthogonal = flag("ORTHOGONAL", variant.orthogonal);
    variant.constants().into_iter().chain([orthogonal]).collect()
}

/// The compiled update of one network.
#[derive(Debug)]
pub struct UpdateAdam(Sweep);

impl UpdateAdam {
    /// Plans the update; the moments are arenas like the others and start at 0.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where the kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        moments: [&Buffer; 2],
        variant: UpdateVariant,
    ) -> Result<Self, GpuError> {
        let arenas = [&arena.grads, moments[0], moments[1], &arena.weights];
        let constants = [variant.clean(), variant].map(constants);
        let constants = [&constants[0][..], &constants[1]];
        Sweep::new(gpu, class, &UPDATE_ADAM, constants, &arenas, arena, &[&arena.blocks.view(), &arena.scaling.view()])
            .map(Self)
    }

    /// What an update of `words` weights launches, all of them getting noise.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid.
    pub fn launches(target: &Target, words: usize, variant: UpdateVariant) -> Result<Vec<Launch>, GpuError> {
        let parts = sweep_launches(target, &UPDATE_ADAM, &constants(variant), words)?;
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
        values: AdamStep,
    ) -> Result<(), GpuError> {
        self.0.record(gpu, recorder, ranges, values.noise, |noise| AdamStep { noise, ..values })
    }
}
