//! L2 norm of every filter: the host side of `shaders/filter_norm.wgsl`.

use std::ops::Range;

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, WORD_BYTES, align_words};

use super::{AdapterClass, Arena, ArenaLayout, Target, TensorSpan, tree::Tree};

pub(super) static FILTER_NORM: KernelSpec = KernelSpec {
    entry: "filter_norm",
    source: concat!(
        include_str!("../../shaders/filter_norm.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("weights", Access::Read), ("filters", Access::Read), ("norms", Access::ReadWrite)],
    immediate_bytes: 4,
};

/// Norms of the clean weights' filters, in as few dispatches as the adapter's binding limit allows.
#[derive(Debug)]
pub struct FilterNorms {
    /// Per tensor (first filter, elements per filter, 0, 0).
    pub by_tensor: Buffer,
    /// One per filter, in the order of the tensors.
    pub norms: Buffer,
    dispatches: Vec<Dispatch>,
}

/// Elements of each of a tensor's filters.
fn filter_len(span: &TensorSpan) -> usize {
    span.len / span.filters.max(1)
}

/// Neighbouring tensors that one dispatch takes: those that lie within `words` of each other, one at least.
fn runs(spans: &[TensorSpan], words: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (tensor, span) in spans.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if span.start + span.len - spans[run.start].start <= words => run.end += 1,
            _ => runs.push(tensor..tensor + 1),
        }
    }
    runs
}

/// How a dispatch over these tensors shares them out: by the longest of their filters.
fn launch(target: &Target, spans: &[TensorSpan]) -> Result<Launch, GpuError> {
    let longest = spans.iter().map(filter_len).max().unwrap_or(0);
    let filters = spans.iter().map(|span| span.filters).sum();
    let tree = Tree::rows(target.class, longest);
    tree.launch(target, &FILTER_NORM, &[], tree.workgroups(filters), tree.chain(longest, 1))
}

impl FilterNorms {
    /// # Errors
    /// [`GpuError::TooLarge`] for a tensor past the binding limit, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, class: AdapterClass, arena: &Arena) -> Result<Self, GpuError> {
        let spans = arena.layout.spans();
        let runs = runs(spans, (gpu.limits().binding_bytes / WORD_BYTES) as usize);
        // Each run's norms start at an aligned place, because they are bound as a view of their own.
        let mut by_tensor = Vec::with_capacity(spans.len());
        let mut tables = Vec::with_capacity(runs.len());
        let mut words = 0;
        for run in &runs {
            let (start, base) = (words, spans[run.start].start);
            let mut filters: Vec<[u32; 2]> = Vec::new();
            for span in &spans[run.clone()] {
                let len = filter_len(span);
                by_tensor.push([(start + filters.len()) as u32, len.max(1) as u32, 0, 0]);
                filters.extend((0..span.filters).map(|f| [(span.start - base + f * len) as u32, len as u32]));
            }
            words += align_words(filters.len());
            tables.push((start, filters));
        }
        let norms = gpu.buffer("filter norms", words)?;
        let mut dispatches = Vec::with_capacity(runs.len());
        for (run, (start, filters)) in runs.iter().zip(&tables) {
            let spans = &spans[run.clone()];
            let (first, last) = (&spans[0], &spans[spans.len() - 1]);
            let weights = arena.weights.part(first.start, last.start + last.len - first.start)?;
            let views = [&weights, &gpu.upload("filters", filters)?.view(), &norms.part(*start, filters.len())?];
            let launch = launch(&Target::with_class(gpu, class), spans)?;
            dispatches.push(gpu.bind(&launch, &views, bytemuck::bytes_of(&(filters.len() as u32)))?);
        }
        Ok(Self { by_tensor: gpu.upload("filters by tensor", &by_tensor)?, norms, dispatches })
    }

    /// What the norms of tensors laid out so launch.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn launches(target: &Target, layout: &ArenaLayout) -> Result<Vec<Launch>, GpuError> {
        let spans = layout.spans();
        let runs = runs(spans, (target.limits.binding_bytes / WORD_BYTES) as usize);
        runs.into_iter().map(|run| launch(target, &spans[run])).collect()
    }

    /// Records the norms of the weights as they are.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for dispatch in &self.dispatches {
            recorder.run(dispatch);
        }
    }
}
