//! L1 and L2 norm of all weights: the host side of `shaders/norms.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View};

use super::{AdapterClass, Target, arena_parts, tree::Tree};

pub(super) static NORMS: KernelSpec = KernelSpec {
    entry: "norms",
    source: concat!(
        include_str!("../../shaders/norms.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("input", Access::Read), ("partials", Access::ReadWrite)],
    immediate_bytes: 8,
};

/// Partial sums per part of the arena: enough for a GPU, few enough to read back.
pub const PARTIALS: usize = 4096;

/// How a partial sum is shared out: on a GPU in a whole pass of its threads, 64 for each partial.
pub(super) fn norms_tree(class: AdapterClass) -> Tree {
    match class {
        AdapterClass::Gpu(_) => Tree { sums: 4, lanes: 64 },
        AdapterClass::Software(_) => Tree { sums: 64, lanes: 1 },
    }
}

/// The planned norms of one arena.
#[derive(Debug)]
pub struct Norms {
    partials: Buffer,
    dispatches: Vec<Dispatch>,
}

impl Norms {
    /// Splits an arena past the binding limit; padding counts as 0.
    ///
    /// # Errors
    /// As [`Gpu::buffer`], and where the kernel does not compile.
    pub fn new(gpu: &Gpu, class: AdapterClass, arena: &Buffer) -> Result<Self, GpuError> {
        let parts: Vec<_> = arena_parts(gpu.limits(), arena.len()).collect();
        let partials = gpu.buffer("norm partials", parts.len() * PARTIALS * 2)?;
        let launch = Self::launch(&Target::with_class(gpu, class), arena.len())?;
        let mut dispatches = Vec::with_capacity(parts.len());
        for (part, (start, words)) in parts.into_iter().enumerate() {
            let values = [(words / 4) as u32, PARTIALS as u32];
            let views = [&arena.part(start, words)?, &partials.part(part * PARTIALS * 2, PARTIALS * 2)?];
            dispatches.push(gpu.bind(&launch, &views, bytemuck::cast_slice(&values))?);
        }
        Ok(Self { partials, dispatches })
    }

    /// What an arena of `words` launches, or each part of one past the binding limit.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn launch(target: &Target, words: usize) -> Result<Launch, GpuError> {
        let tree = norms_tree(target.class);
        let terms = (words / 4).div_ceil(PARTIALS); // of a partial, in vec4s
        tree.launch(target, &NORMS, &[], tree.workgroups(PARTIALS), tree.chain(terms, 1))
    }

    /// The partial sums [partials, 2] of magnitudes and squares, once recorded.
    pub(super) fn partials(&self) -> View {
        self.partials.view()
    }

    /// Records the partial sums.
    pub(super) fn record(&self, recorder: &mut Recorder<'_>) {
        for dispatch in &self.dispatches {
            recorder.run(dispatch);
        }
    }

    /// (L1, L2) norm of the arena as it is now; partial sums in f32, their sum in f64.
    ///
    /// # Errors
    /// As [`Gpu::read`].
    pub fn read(&self, gpu: &Gpu) -> Result<(f64, f64), GpuError> {
        let mut recorder = gpu.record();
        self.record(&mut recorder);
        recorder.submit()?;
        let partials: Vec<[f32; 2]> = gpu.read(&self.partials.view())?;
        let l1 = partials.iter().map(|p| f64::from(p[0])).sum();
        let squares: f64 = partials.iter().map(|p| f64::from(p[1])).sum();
        Ok((l1, squares.sqrt()))
    }
}
