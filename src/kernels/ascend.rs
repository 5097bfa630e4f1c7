//! The network's weights at a distance along a direction: the host side of `shaders/ascend.wgsl`.

use crate::gpu::{ALIGNMENT_WORDS, Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Recorder};

use super::{
    Arena, Target, arena_parts,
    direction_norm::{DirectionNorm, Metric},
    flag,
};

pub(super) static ASCEND: KernelSpec = KernelSpec {
    entry: "ascend",
    source: concat!(include_str!("../../shaders/ascend.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[
        ("direction", Access::Read),
        ("weights", Access::Read),
        ("weights_eff", Access::Real),
        ("inverse", Access::Read),
        ("blocks", Access::Read),
        ("marked", Access::Read),
    ],
    immediate_bytes: size_of::<Values>() as u32,
};

/// Immediates of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    count: u32,
    block_base: u32,
    rho: f32,
    eta: f32,
}

/// A planned ascent.
#[derive(Debug)]
pub struct Ascend {
    norm: DirectionNorm,
    sweep: Vec<Dispatch>,
}

impl Ascend {
    /// Plans `weights_eff = weights + rho T^2 along / (norm of T along + 1e-12)`, the norm over the whole arena, whose padding has to
    /// be 0; T is 1, or abs(weights) + eta by the metric. A loss scale makes no difference but to the 1e-12.
    ///
    /// Source: Foret, Kleiner, Mobahi and Neyshabur, *Sharpness-aware minimization*, ICLR 2021; Kwon, Kim, Park and Choi, *ASAM*,
    /// ICML 2021.
    ///
    /// # Errors
    /// [`GpuError::Length`] for a direction that is not laid out as the weights, and where a kernel does not compile.
    pub fn new(gpu: &Gpu, arena: &Arena, along: &Buffer, rho: f64, metric: Metric<'_>) -> Result<Self, GpuError> {
        along.view().expect_len(ASCEND.entry, "direction", arena.layout.words())?;
        let norm = DirectionNorm::new(gpu, arena, along, metric)?;
        let (eta, marked) = match metric {
            Metric::Plain => (0.0, &arena.blocks),
            Metric::Adaptive { eta, marked } => (eta as f32, marked),
        };
        let adaptive = flag("ADAPTIVE", matches!(metric, Metric::Adaptive { .. }));
        let parts = arena_parts(gpu.limits(), arena.layout.words()).map(|(start, words)| {
            let block_base = (start / ALIGNMENT_WORDS) as u32;
            let values = Values { count: (words / 4) as u32, block_base, rho: rho as f32, eta };
            let launch = Target::for_device(gpu).launch(&ASCEND, &[adaptive], words / 4)?;
            let [along, weights] = [along, &arena.weights].map(|buffer| buffer.part(start, words));
            let effective = arena.effective_part(start, words)?;
            let tables = [&norm.inverse, &arena.blocks, marked].map(Buffer::view);
            let views = [&along?, &weights?, &effective, &tables[0], &tables[1], &tables[2]];
            gpu.bind(&launch, &views, bytemuck::bytes_of(&values))
        });
        let sweep = parts.collect::<Result<_, _>>()?;
        Ok(Self { norm, sweep })
    }

    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.norm.record(recorder);
        self.sweep.iter().for_each(|dispatch| recorder.run(dispatch));
    }
}
