//! The network's weights at a distance along a gradient: the host side of `shaders/ascend.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Element, Gpu, GpuError, KernelSpec, Recorder};

use super::{Arena, FactorRules, GradientFactor, GradientScaling, Target, arena_parts};

pub(super) static ASCEND: KernelSpec = KernelSpec {
    entry: "ascend",
    source: concat!(
        include_str!("../../shaders/ascend.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
    ),
    bindings: &[
        ("grads", Access::Read),
        ("weights", Access::Read),
        ("weights_eff", Access::Real),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<Values>() as u32,
};

/// What is added to the norm, so that nothing is divided by 0.
const LEAST: f32 = 1e-6;

/// Immediates of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    count: u32,
    scale: f32,
}

/// A planned ascent.
#[derive(Debug)]
pub struct Ascend {
    norm: GradientFactor,
    sweep: Vec<Dispatch>,
}

impl Ascend {
    /// Plans `weights_eff = weights + rho grads / (norm of grads + 1e-6)`, the norm over the whole arena, whose padding has to be
    /// 0. A loss scale makes no difference but to the 1e-6.
    ///
    /// Source: Foret, Kleiner, Mobahi and Neyshabur, *Sharpness-aware minimization*, ICLR 2021.
    ///
    /// # Errors
    /// [`GpuError::Length`] for gradients that are not laid out as the weights, and where a kernel does not compile.
    pub fn new(gpu: &Gpu, arena: &Arena, grads: &Buffer, rho: f64) -> Result<Self, GpuError> {
        grads.view().expect_len(ASCEND.entry, "grads", arena.layout.words())?;
        // The factor of clipping to LEAST is LEAST / (norm + LEAST), never cut off at 1; its state is this ascent's own.
        let scaling = gpu.upload("norm of the ascent", &[GradientScaling::initial(Element::Word)])?;
        let own = Arena { grads: grads.clone(), scaling, element: Element::Word, ..arena.clone() };
        let rules = FactorRules { limit: Some(LEAST), skips: false, growth_interval: 1 };
        let norm = GradientFactor::new(gpu, &own, rules)?;
        let scale = (rho / f64::from(LEAST)) as f32;
        let parts = arena_parts(gpu.limits(), arena.layout.words()).map(|(start, words)| {
            let values = Values { count: (words / 4) as u32, scale };
            let launch = Target::for_device(gpu).launch(&ASCEND, &[], words / 4)?;
            let [grads, weights] = [grads, &arena.weights].map(|buffer| buffer.part(start, words));
            let views = [&grads?, &weights?, &arena.effective_part(start, words)?, &own.scaling.view()];
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
