//! L1 and L2 norm of all weights: the host side of `shaders/norms.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Recorder, View};

use super::{
    AdapterClass, arena_parts,
    tree::{Launch, Tree},
};

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
fn tree(class: AdapterClass) -> Tree {
    match class {
        AdapterClass::Gpu(_) => Tree { sums: 4, lanes: 64 },
        AdapterClass::EightLanes => Tree { sums: 64, lanes: 1 },
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
        let kernel = gpu.kernel(&NORMS, &tree(class).constants())?;
        let parts: Vec<_> = arena_parts(gpu, arena.len()).collect();
        let partials = gpu.buffer("norm partials", parts.len() * PARTIALS * 2)?;
        let grid = Self::launch(class, arena.len()).grid(gpu)?;
        let mut dispatches = Vec::with_capacity(parts.len());
        for (part, (start, words)) in parts.into_iter().enumerate() {
            let values = [(words / 4) as u32, PARTIALS as u32];
            let views = [&arena.part(start, words)?, &partials.part(part * PARTIALS * 2, PARTIALS * 2)?];
            dispatches.push(kernel.dispatch(gpu, grid, &views, bytemuck::cast_slice(&values))?);
        }
        Ok(Self { partials, dispatches })
    }

    /// The dispatch for an arena of `words`, or for each part of one past the binding limit.
    #[must_use]
    pub fn launch(class: AdapterClass, words: usize) -> Launch {
        let tree = tree(class);
        let terms = (words / 4).div_ceil(PARTIALS); // of a partial, in vec4s
        tree.launch(NORMS.entry, tree.workgroups(PARTIALS), tree.chain(terms, 1))
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
