//! SGD fused with the next step's noise: the host side of `shaders/update_sgd.wgsl`.

use crate::gpu::{Access, Buffer, Gpu, GpuError, KernelSpec, Launch, Recorder};

use super::{
    AdapterClass, Arena, Constant, NoiseRange, NoiseStep, Sweep, Target, UpdateVariant, flag, sweep::sweep_launches,
};

pub(super) static UPDATE_SGD: KernelSpec = KernelSpec {
    entry: "update_sgd",
    source: concat!(
        include_str!("../../shaders/update_sgd.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
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

fn constants(variant: UpdateVariant) -> Vec<Constant> {
    let seen = flag("DECAY_SEEN", variant.decay_seen);
    variant.constants().into_iter().chain([seen]).collect()
}

/// The compiled update of one network.
#[derive(Debug)]
pub struct UpdateSgd(Sweep);

impl UpdateSgd {
    /// Plans the update; `velocity` is an arena like the others and starts at 0.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where the kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        velocity: &Buffer,
        variant: UpdateVariant,
    ) -> Result<Self, GpuError> {
        let arenas = [&arena.grads, velocity, &arena.weights];
        let constants = [variant.clean(), variant].map(constants);
        let constants = [&constants[0][..], &constants[1]];
        Sweep::new(gpu, class, &UPDATE_SGD, constants, &arenas, arena, &[&arena.blocks.view(), &arena.scaling.view()])
            .map(Self)
    }

    /// What an update of `words` weights launches, all of them getting noise.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid.
    pub fn launches(target: &Target, words: usize, variant: UpdateVariant) -> Result<Vec<Launch>, GpuError> {
        let parts = sweep_launches(target, &UPDATE_SGD, &constants(variant), words)?;
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
        values: SgdStep,
    ) -> Result<(), GpuError> {
        self.0.record(gpu, recorder, ranges, values.noise, |noise| SgdStep { noise, ..values })
    }
}
