//! Noise times gradients, summed over draws: the host side of `shaders/weigh.wgsl`.

use crate::gpu::{Access, Buffer, Gpu, GpuError, KernelSpec, Recorder};

use super::{AdapterClass, Arena, NoiseRange, NoiseStep, Sweep};

pub(super) static WEIGH: KernelSpec = KernelSpec {
    entry: "weigh",
    source: concat!(
        include_str!("../../shaders/weigh.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
    ),
    bindings: &[
        ("grads", Access::Read),
        ("products", Access::ReadWrite),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
    ],
    immediate_bytes: size_of::<Values>() as u32,
};

/// Immediates of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    noise: NoiseStep,
    first: u32,
}

/// A planned sum of noise times gradients.
#[derive(Debug)]
pub struct Weigh(Sweep);

impl Weigh {
    /// Plans `products <- products + share unit noise grads` over arenas laid out as the weights; `noise` is the distribution's code.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where the kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        [grads, products]: [&Buffer; 2],
        noise: u32,
    ) -> Result<Self, GpuError> {
        let constants = [("NOISE", f64::from(noise))];
        let arenas = [grads, products];
        Sweep::new(gpu, class, &WEIGH, [&constants, &constants], &arenas, arena, &[&arena.blocks.view()]).map(Self)
    }

    /// Records it for a draw, whose strength does not count, with a share of the sum, over `ranges`; the `first` of a step begins it.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        (noise, share): (NoiseStep, f64),
        first: bool,
    ) -> Result<(), GpuError> {
        let (unit, first) = (NoiseStep { sigma: share as f32, ..noise }, u32::from(first));
        self.0.record(gpu, recorder, ranges, unit, |noise| Values { noise, first })
    }
}
