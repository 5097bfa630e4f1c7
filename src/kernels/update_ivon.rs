//! IVON fused with the next step's draw: the host side of `shaders/update_ivon.wgsl`.

use crate::gpu::{Access, Buffer, Gpu, GpuError, KernelSpec, Recorder};

use super::{AdapterClass, Arena, NoiseRange, NoiseStep, Sweep, flag};

pub(super) static UPDATE_IVON: KernelSpec = KernelSpec {
    entry: "update_ivon",
    source: concat!(
        include_str!("../../shaders/update_ivon.wgsl"),
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
        ("hess", Access::ReadWrite),
        ("products", Access::Read),
        ("weights", Access::ReadWrite),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<IvonStep>() as u32,
};

/// Values of one step; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct IvonStep {
    /// The next step's draw.
    pub noise: NoiseStep,
    /// Philox key of this step's draw, low word.
    pub then_seed_low: u32,
    /// The same, high word.
    pub then_seed_high: u32,
    /// This step.
    pub then_step: u32,
    /// 1 - beta1
    pub one_minus_beta1: f32,
    /// 1 - beta2
    pub one_minus_beta2: f32,
    /// 1 - beta1^t
    pub bias_correction1: f32,
    /// learning rate (hess at the start + delta)
    pub step_size: f32,
    /// Weight decay.
    pub delta: f32,
    /// Effective sample size.
    pub ess: f32,
}

/// The compiled update of one network.
#[derive(Debug)]
pub struct UpdateIvon(Sweep);

impl UpdateIvon {
    /// Plans the update by noise of a distribution's code; `state` is the first moment, 0 at the start, and the Hessian's diagonal.
    /// `products` are summed up by [`Weigh`](super::Weigh) where a step has several draws; with `scaled` gradients are multiplied by
    /// the factor of the arena's `scaling`.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where the kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        state: [&Buffer; 2],
        products: Option<&Buffer>,
        (noise, scaled): (u32, bool),
    ) -> Result<Self, GpuError> {
        let arenas = [&arena.grads, state[0], state[1], products.unwrap_or(&arena.grads), &arena.weights];
        let constants = [("NOISE", f64::from(noise)), flag("SCALED", scaled), flag("SUMMED", products.is_some())];
        let tables = [&arena.blocks.view(), &arena.scaling.view()];
        Sweep::new(gpu, class, &UPDATE_IVON, [&constants, &constants], &arenas, arena, &tables).map(Self)
    }

    /// Records one update.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        values: IvonStep,
    ) -> Result<(), GpuError> {
        self.0.record(gpu, recorder, ranges, values.noise, |noise| IvonStep { noise, ..values })
    }
}
