//! One over the norm of a direction: the host side of `shaders/adaptive_norms.wgsl` and `inverse_norm.wgsl`.

use crate::gpu::{ALIGNMENT_WORDS, Access, Buffer, Dispatch, Gpu, GpuError, Grid, KernelSpec, Launch, Recorder, View};

use super::{
    AdapterClass, Arena, Norms, PARTIALS, Target, arena_parts, gradient_factor::partials_tree, norms::norms_tree,
};

pub(super) static ADAPTIVE_NORMS: KernelSpec = KernelSpec {
    entry: "adaptive_norms",
    source: concat!(
        include_str!("../../shaders/adaptive_norms.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[
        ("input", Access::Read),
        ("weights", Access::Read),
        ("blocks", Access::Read),
        ("marked", Access::Read),
        ("partials", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<AdaptiveValues>() as u32,
};

pub(super) static INVERSE_NORM: KernelSpec = KernelSpec {
    entry: "inverse_norm",
    source: concat!(include_str!("../../shaders/inverse_norm.wgsl"), include_str!("../../shaders/shared/tree.wgsl")),
    bindings: &[("partials", Access::Read), ("inverse", Access::ReadWrite)],
    immediate_bytes: 8,
};

/// Immediates of the norms.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct AdaptiveValues {
    count: u32,
    partials: u32,
    block_base: u32,
    eta: f32,
}

/// What is added to the norm, so that nothing is divided by 0.
const LEAST: f32 = 1e-12;

/// In which units a direction is measured.
#[derive(Clone, Copy, Debug)]
pub enum Metric<'a> {
    /// As it is.
    Plain,
    /// In units of the weights' magnitudes.
    Adaptive {
        /// Added to them.
        eta: f64,
        /// Per tensor 1 where it is measured so, 0 where as it is.
        marked: &'a Buffer,
    },
}

/// The partial sums of the norm.
#[derive(Debug)]
enum Sums {
    Plain(Norms),
    Adaptive(Vec<Dispatch>),
}

/// A planned inverse norm.
#[derive(Debug)]
pub(super) struct DirectionNorm {
    sums: Sums,
    finish: Dispatch,
    /// `[1]`, 1 / (norm + 1e-12)
    pub(super) inverse: Buffer,
}

impl DirectionNorm {
    /// Plans it over a whole arena `along`, whose padding has to be 0.
    ///
    /// # Errors
    /// As [`Gpu::buffer`], and where a kernel does not compile.
    pub(super) fn new(gpu: &Gpu, arena: &Arena, along: &Buffer, metric: Metric<'_>) -> Result<Self, GpuError> {
        let class = AdapterClass::for_device(gpu);
        let (sums, partials) = match metric {
            Metric::Plain => {
                let norms = Norms::new(gpu, class, along)?;
                let partials = norms.partials();
                (Sums::Plain(norms), partials)
            }
            Metric::Adaptive { eta, marked } => {
                let (dispatches, partials) = adaptive(gpu, arena, along, eta as f32, marked)?;
                (Sums::Adaptive(dispatches), partials)
            }
        };
        let inverse = gpu.buffer("inverse norm", 1)?;
        let values = [(partials.len() / 2) as u32, LEAST.to_bits()];
        let launch = finish_launch(class, partials.len() / 2);
        let finish = gpu.bind(&launch, &[&partials, &inverse.view()], bytemuck::cast_slice(&values))?;
        Ok(Self { sums, finish, inverse })
    }

    /// Records it.
    pub(super) fn record(&self, recorder: &mut Recorder<'_>) {
        match &self.sums {
            Sums::Plain(norms) => norms.record(recorder),
            Sums::Adaptive(dispatches) => dispatches.iter().for_each(|dispatch| recorder.run(dispatch)),
        }
        recorder.run(&self.finish);
    }
}

fn finish_launch(class: AdapterClass, partials: usize) -> Launch {
    let tree = partials_tree(class);
    let [_, lanes] = tree.constants();
    Launch::new(&INVERSE_NORM, &[lanes], Grid([1; 3]), tree.threads()).chained(tree.chain(partials, 1))
}

/// The norms of each part of the arena, and their partial sums.
fn adaptive(
    gpu: &Gpu,
    arena: &Arena,
    along: &Buffer,
    eta: f32,
    marked: &Buffer,
) -> Result<(Vec<Dispatch>, View), GpuError> {
    let parts: Vec<_> = arena_parts(gpu.limits(), along.len()).collect();
    let partials = gpu.buffer("norm partials", parts.len() * PARTIALS * 2)?;
    let (target, tree) = (Target::for_device(gpu), norms_tree(AdapterClass::for_device(gpu)));
    let chain = tree.chain((along.len() / 4).div_ceil(PARTIALS), 1);
    let launch = tree.launch(&target, &ADAPTIVE_NORMS, &[], tree.workgroups(PARTIALS), chain)?;
    let dispatch = |(part, (start, words)): (usize, (usize, usize))| {
        let values = AdaptiveValues {
            count: (words / 4) as u32,
            partials: PARTIALS as u32,
            block_base: (start / ALIGNMENT_WORDS) as u32,
            eta,
        };
        let views = [
            &along.part(start, words)?,
            &arena.weights.part(start, words)?,
            &arena.blocks.view(),
            &marked.view(),
            &partials.part(part * PARTIALS * 2, PARTIALS * 2)?,
        ];
        gpu.bind(&launch, &views, bytemuck::bytes_of(&values))
    };
    let dispatches = parts.into_iter().enumerate().map(dispatch).collect::<Result<_, _>>()?;
    Ok((dispatches, partials.view()))
}
