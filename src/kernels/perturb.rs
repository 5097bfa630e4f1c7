//! The noisy weights of a step from the clean ones: the host side of `shaders/perturb.wgsl`.

use std::sync::OnceLock;

use crate::gpu::{Access, Buffer, Gpu, GpuError, KernelSpec, Recorder};

use super::{AdapterClass, Arena, Constant, FilterHistory, FilterNorms, NoiseEdge, NoiseRange, NoiseStep, Sweep, flag};

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
        ("hess", Access::Read),
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
    ess: f32,
    delta: f32,
}

/// The unit of noise.
#[derive(Clone, Debug)]
pub enum NoiseUnit {
    /// 1
    Absolute,
    /// The norm of each filter.
    Filter,
    /// As [`NoiseUnit::Filter`], shrunk by the filter's past gradients.
    History {
        /// Added to what is kept of them.
        eta: f64,
        /// What is kept of them at each step.
        beta: f64,
    },
    /// A posterior's standard deviation, 1 / sqrt(ess (hess + delta)).
    Posterior {
        /// The diagonal of the Hessian, laid out as the weights.
        hess: Buffer,
        /// The effective sample size.
        ess: f64,
        /// The weight decay, the prior's precision over the effective sample size.
        delta: f64,
    },
}

impl NoiseUnit {
    /// Filter norms, or none.
    #[must_use]
    pub fn filter_scaled(filters: bool) -> Self {
        if filters { Self::Filter } else { Self::Absolute }
    }
}

/// The norms that a unit goes by.
#[derive(Debug)]
enum Norms {
    Filter(FilterNorms),
    History(Box<FilterHistory>),
}

impl Norms {
    fn new(gpu: &Gpu, class: AdapterClass, arena: &Arena, unit: &NoiseUnit) -> Result<Self, GpuError> {
        match unit {
            NoiseUnit::History { eta, beta } => {
                let history = FilterHistory::new(gpu, class, arena, [*eta, *beta])?;
                Ok(Self::History(Box::new(history)))
            }
            _ => FilterNorms::new(gpu, class, arena).map(Self::Filter),
        }
    }

    /// Per tensor where its filters' norms are, and the norms.
    fn tables(&self) -> [&Buffer; 2] {
        match self {
            Self::Filter(norms) => [&norms.by_tensor, &norms.norms],
            Self::History(history) => history.tables(),
        }
    }
}

/// `weights_eff = weights + noise`, stand-alone: for the first step, for analysis, for noise in units of filter norms, which the
/// fused update cannot know before it has written every weight, and for blocks that are noisy in part, which it leaves clean.
#[derive(Debug)]
pub struct Perturb {
    class: AdapterClass,
    arena: Arena,
    noise: u32,
    unit: NoiseUnit,
    norms: Norms,
    blocks: Sweep,
    /// Planned once there is an edge, which few runs have.
    edges: OnceLock<Sweep>,
}

impl Perturb {
    /// Plans the perturbation; `noise` is the distribution's code.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where a kernel does not compile.
    pub fn new(gpu: &Gpu, class: AdapterClass, arena: &Arena, noise: u32, unit: NoiseUnit) -> Result<Self, GpuError> {
        let norms = Norms::new(gpu, class, arena, &unit)?;
        let noisy = constants(noise, &unit);
        let blocks = sweep(gpu, class, [&[("NOISE", 0.0)], &noisy], arena, &unit, &norms)?;
        Ok(Self { class, arena: arena.clone(), noise, unit, norms, blocks, edges: OnceLock::new() })
    }

    /// The unit of the noise.
    #[must_use]
    pub fn unit(&self) -> &NoiseUnit {
        &self.unit
    }

    /// What is kept of the past gradients of filters, where the unit goes by them.
    #[must_use]
    pub fn history(&self) -> Option<&FilterHistory> {
        match &self.norms {
            Norms::History(history) => Some(history),
            Norms::Filter(_) => None,
        }
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
        match (&self.unit, &self.norms) {
            (NoiseUnit::Filter, Norms::Filter(norms)) => norms.record(recorder),
            (_, Norms::History(history)) => history.record(recorder),
            _ => {}
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
        let whole = |noise| PerturbStep { noise, ..self.values() };
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
            let marked = |noise| PerturbStep { noise, mask_low, mask_high, ..self.values() };
            self.edge_sweep(gpu)?.record(gpu, recorder, &[range], noise, marked)?;
        }
        Ok(())
    }

    /// What is the same in every dispatch.
    fn values(&self) -> PerturbStep {
        let (ess, delta) = match self.unit {
            NoiseUnit::Posterior { ess, delta, .. } => (ess as f32, delta as f32),
            _ => (0.0, 0.0),
        };
        PerturbStep { ess, delta, ..PerturbStep::default() }
    }

    fn edge_sweep(&self, gpu: &Gpu) -> Result<&Sweep, GpuError> {
        if let Some(planned) = self.edges.get() {
            return Ok(planned);
        }
        let masked = [&constants(self.noise, &self.unit)[..], &[flag("MASKED", true)]].concat();
        let planned = sweep(gpu, self.class, [&masked, &masked], &self.arena, &self.unit, &self.norms)?;
        Ok(self.edges.get_or_init(|| planned))
    }
}

fn constants(noise: u32, unit: &NoiseUnit) -> [Constant; 3] {
    let by_filters = matches!(unit, NoiseUnit::Filter | NoiseUnit::History { .. });
    let by_deviations = matches!(unit, NoiseUnit::Posterior { .. });
    [("NOISE", f64::from(noise)), flag("FILTER_SCALED", by_filters), flag("DEVIATION", by_deviations)]
}

fn sweep(
    gpu: &Gpu,
    class: AdapterClass,
    constants: [&[Constant]; 2],
    arena: &Arena,
    unit: &NoiseUnit,
    norms: &Norms,
) -> Result<Sweep, GpuError> {
    let [by_tensor, norms] = norms.tables().map(Buffer::view);
    let tables = [&arena.blocks.view(), &by_tensor, &norms];
    let hess = match unit {
        NoiseUnit::Posterior { hess, .. } => hess,
        _ => &arena.weights,
    };
    Sweep::new(gpu, class, &PERTURB, constants, &[&arena.weights, hess], arena, &tables)
}
