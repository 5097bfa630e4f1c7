//! The noisy weights of a step from the clean ones: the host side of `shaders/perturb.wgsl`.

use std::sync::OnceLock;

use crate::gpu::{Access, Gpu, GpuError, KernelSpec, Recorder};

use super::{AdapterClass, Arena, Constant, FilterNorms, NoiseEdge, NoiseRange, NoiseStep, Sweep, flag};

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
    immediate_bytes: size_of::<PerturbStep>() as u32,
};

/// Values of one dispatch; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct PerturbStep {
    noise: NoiseStep,
    mask_low: u32,
    mask_high: u32,
}

/// `weights_eff = weights + noise`, stand-alone: for the first step, for analysis, for noise in units of filter norms, which the
/// fused update cannot know before it has written every weight, and for blocks that are noisy in part, which it leaves clean.
#[derive(Debug)]
pub struct Perturb {
    class: AdapterClass,
    arena: Arena,
    noise: u32,
    filter_scaled: bool,
    norms: FilterNorms,
    blocks: Sweep,
    /// Planned once there is an edge, which few runs have.
    edges: OnceLock<Sweep>,
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
        let constants: [&[Constant]; 2] =
            [&[("NOISE", 0.0)], &[("NOISE", f64::from(noise)), flag("FILTER_SCALED", filter_scaled)]];
        let blocks = sweep(gpu, class, constants, arena, &norms)?;
        Ok(Self { class, arena: arena.clone(), noise, filter_scaled, norms, blocks, edges: OnceLock::new() })
    }

    /// Records the perturbation over `ranges` and then `edges`, filter norms first where they count.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        edges: &[NoiseEdge],
        noise: NoiseStep,
    ) -> Result<(), GpuError> {
        if !edges.is_empty() || ranges.iter().any(|range| range.noisy) {
            self.record_norms(recorder);
        }
        self.record_noise(gpu, recorder, ranges, edges, noise)
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
        edges: &[NoiseEdge],
        noise: NoiseStep,
    ) -> Result<(), GpuError> {
        let whole = |noise| PerturbStep { noise, ..PerturbStep::default() };
        self.blocks.record(gpu, recorder, ranges, noise, whole)?;
        self.record_edges(gpu, recorder, edges, noise)
    }

    /// Records the perturbation of blocks that are noisy in part alone, with the filter norms recorded last: what an update with
    /// noise of its own leaves to do.
    ///
    /// # Errors
    /// As [`Sweep::record`], and where the kernel does not compile.
    pub fn record_edges(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        edges: &[NoiseEdge],
        noise: NoiseStep,
    ) -> Result<(), GpuError> {
        for NoiseEdge { block, mask } in edges {
            let range = NoiseRange { blocks: *block..block + 1, noisy: true };
            let (mask_low, mask_high) = (*mask as u32, (mask >> 32) as u32);
            let marked = |noise| PerturbStep { noise, mask_low, mask_high };
            self.edge_sweep(gpu)?.record(gpu, recorder, &[range], noise, marked)?;
        }
        Ok(())
    }

    fn edge_sweep(&self, gpu: &Gpu) -> Result<&Sweep, GpuError> {
        if let Some(planned) = self.edges.get() {
            return Ok(planned);
        }
        let masked =
            [("NOISE", f64::from(self.noise)), flag("FILTER_SCALED", self.filter_scaled), flag("MASKED", true)];
        let planned = sweep(gpu, self.class, [&masked, &masked], &self.arena, &self.norms)?;
        Ok(self.edges.get_or_init(|| planned))
    }
}

fn sweep(
    gpu: &Gpu,
    class: AdapterClass,
    constants: [&[Constant]; 2],
    arena: &Arena,
    norms: &FilterNorms,
) -> Result<Sweep, GpuError> {
    let tables = [&arena.blocks.view(), &norms.by_tensor.view(), &norms.norms.view()];
    Sweep::new(gpu, class, &PERTURB, constants, &[&arena.weights], arena, &tables)
}
