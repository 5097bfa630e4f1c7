//! Clipping of gradients and the loss scale of mixed precision: the host side of `shaders/gradient_factor.wgsl`.

use crate::gpu::{Access, Dispatch, Element, Gpu, GpuError, Grid, KernelSpec, Launch, Recorder};

use super::{AdapterClass, Arena, Norms, flag, tree::Tree};

pub(super) static GRADIENT_FACTOR: KernelSpec = KernelSpec {
    entry: "gradient_factor",
    source: concat!(
        include_str!("../../shaders/gradient_factor.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/finite.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("partials", Access::Read), ("scaling", Access::ReadWrite)],
    immediate_bytes: size_of::<Values>() as u32,
};

/// Steps without an overflow after which the loss scale doubles: `torch.amp.GradScaler`'s.
pub const GROWTH_INTERVAL: u32 = 2000;

/// Immediates of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    partials: u32,
    limit: f32,
    growth_interval: u32,
}

/// What the factor of gradients does beside taking the loss scale off.
#[derive(Clone, Copy, Debug)]
pub struct FactorRules {
    /// The largest norm of the gradients over the whole arena, whose padding has to be 0; `None` does not clip.
    pub limit: Option<f32>,
    /// Leaves out updates whose gradients are not finite.
    pub skips: bool,
    /// Steps without an overflow after which the loss scale doubles.
    pub growth_interval: u32,
}

/// One workgroup for all partials: on a GPU a large one, which has more reads under way.
pub(super) fn partials_tree(class: AdapterClass) -> Tree {
    Tree { sums: 1, lanes: if class.is_software() { 64 } else { 256 } }
}

/// The planned factor of one arena's gradients, which the update takes from the arena's `scaling`.
#[derive(Debug)]
pub struct GradientFactor {
    norms: Norms,
    factor: Dispatch,
    skips: bool,
}

impl GradientFactor {
    /// Plans `min(1, limit / (norm of grads + 1e-6))`. Where the network sees f16 it also takes the loss scale off and moves
    /// it.
    ///
    /// Source: `torch.nn.utils.clip_grad_norm_`, `torch.amp.GradScaler`.
    ///
    /// # Errors
    /// As [`Gpu::buffer`], and where a kernel does not compile.
    pub fn new(gpu: &Gpu, arena: &Arena, rules: FactorRules) -> Result<Self, GpuError> {
        let class = AdapterClass::for_device(gpu);
        let norms = Norms::new(gpu, class, &arena.grads)?;
        let partials = norms.partials();
        let values = Values {
            partials: (partials.len() / 2) as u32,
            limit: rules.limit.unwrap_or(f32::INFINITY),
            growth_interval: rules.growth_interval.max(1),
        };
        let mut launch = Self::launch(class, partials.len() / 2);
        launch.constants.extend([flag("SKIPS", rules.skips), flag("MIXED", arena.element == Element::Half)]);
        let factor = gpu.bind(&launch, &[&partials, &arena.scaling.view()], bytemuck::bytes_of(&values))?;
        Ok(Self { norms, factor, skips: rules.skips })
    }

    /// What the factor of `partials` partial sums launches.
    #[must_use]
    pub fn launch(class: AdapterClass, partials: usize) -> Launch {
        let tree = partials_tree(class);
        let [_, lanes] = tree.constants();
        Launch::new(&GRADIENT_FACTOR, &[lanes], Grid([1; 3]), tree.threads()).chained(tree.chain(partials, 1))
    }

    /// Whether updates with gradients that are not finite are left out.
    #[must_use]
    pub fn skips(&self) -> bool {
        self.skips
    }

    /// Records the factor of what the gradients' arena holds.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.norms.record(recorder);
        recorder.run(&self.factor);
    }
}
