//! The noisy weights of a step from the clean ones: the host side of `shaders/perturb.wgsl`.

use crate::gpu::{Access, Gpu, GpuError, KernelSpec, Recorder};

use super::{AdapterClass, Arena, Constant, FilterNorms, NoiseRange, NoiseStep, Sweep, flag};

pub(super) static PERTURB: KernelSpec = KernelSpec {
    entry: "perturb",
    source: concat!(
        include_str!("../../shaders/perturb.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
    ),
    bindings: &[
        ("weights", Access::Read),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
        ("filters", Access::Read),
        ("norms", Access::Read),
    ],
    immediate_bytes: size_of::<NoiseStep>() as u32,
};

/// `weights_eff = weights + noise`, stand-alone: for the first step, for analysis, and for noise in units of filter
/// norms, which the fused update cannot know before it has written every weight.
#[derive(Debug)]
pub struct Perturb {
    sweep: Sweep,
    norms: FilterNorms,
    filter_scaled: bool,
}

impl Perturb {
    /// Plans the perturbation; `noise` is the distribution's code.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where a kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        noise: u32,
        filter_scaled: bool,
    ) -> Result<Self, GpuError> {
        let norms = FilterNorms::new(gpu, class, arena)?;
        let tables = [&arena.blocks.view(), &norms.by_tensor.view(), &norms.norms.view()];
        let constants: [&[Constant]; 2] =
            [&[("NOISE", 0.0)], &[("NOISE", f64::from(noise)), flag("FILTER_SCALED", filter_scaled)]];
        let sweep = Sweep::new(gpu, class, &PERTURB, constants, &[&arena.weights], arena, &tables)?;
        Ok(Self { sweep, norms, filter_scaled })
    }

    /// Records the perturbation over `ranges`, filter norms first where they count.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        noise: NoiseStep,
    ) -> Result<(), GpuError> {
        if ranges.iter().any(|range| range.noisy) {
            self.record_norms(recorder);
        }
        self.record_noise(gpu, recorder, ranges, noise)
    }

    /// Records the filter norms of the weights as they are, where sigma is in their units.
    pub fn record_norms(&self, recorder: &mut Recorder<'_>) {
        if self.filter_scaled {
            self.norms.record(recorder);
        }
    }

    /// Records the perturbation with the filter norms recorded last.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record_noise(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        noise: NoiseStep,
    ) -> Result<(), GpuError> {
        self.sweep.record(gpu, recorder, ranges, noise, |noise| noise)
    }
}
