//! L2 norm of every filter: the host side of `shaders/filter_norm.wgsl`.

use std::ops::Range;

use crate::gpu::{
    ALIGNMENT_WORDS, Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Launch, Limits, Recorder, WORD_BYTES,
    align_words,
};

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
    /// `by_tensor` on the host.
    pub(super) table: Vec<[u32; 4]>,
    dispatches: Vec<Dispatch>,
}

/// Elements of each of a tensor's filters.
fn filter_len(span: &TensorSpan) -> usize {
    span.len / span.filters.max(1)
}

/// Filters of a tensor that lie in one binding: all of them, or where it is past one as many as begin and end at aligned places.
#[derive(Clone, Debug)]
struct Piece {
    tensor: usize,
    span: TensorSpan,
    /// Whether its norms have to start at an aligned place, because those of the tensor's next piece do.
    begins_run: bool,
}

/// Tensors as pieces of at most `words`.
fn pieces(spans: &[TensorSpan], words: usize) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(spans.len());
    for (tensor, span) in spans.iter().enumerate() {
        let len = filter_len(span);
        let most = words / len.max(1) / ALIGNMENT_WORDS * ALIGNMENT_WORDS;
        if span.len <= words || most == 0 {
            pieces.push(Piece { tensor, span: span.clone(), begins_run: false });
            continue;
        }
        for first in (0..span.filters).step_by(most) {
            let filters = most.min(span.filters - first);
            let span = TensorSpan { start: span.start + first * len, len: filters * len, filters, ..*span };
            pieces.push(Piece { tensor, span, begins_run: true });
        }
    }
    pieces
}

/// Neighbouring pieces that one dispatch takes: those that lie within `words` of each other, one at least.
fn runs(pieces: &[Piece], words: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, Piece { span, begins_run, .. }) in pieces.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if !begins_run && span.start + span.len - pieces[run.start].span.start <= words => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// Words that a binding holds.
fn most_words(limits: Limits) -> usize {
    (limits.binding_bytes / WORD_BYTES) as usize
}

/// How a dispatch over these pieces shares them out: by the longest of their filters.
fn launch(target: &Target, pieces: &[Piece]) -> Result<Launch, GpuError> {
    let longest = pieces.iter().map(|piece| filter_len(&piece.span)).max().unwrap_or(0);
    let filters = pieces.iter().map(|piece| piece.span.filters).sum();
    let tree = Tree::rows(target.class, longest);
    tree.launch(target, &FILTER_NORM, &[], tree.workgroups(filters), tree.chain(longest, 1))
}

impl FilterNorms {
    /// # Errors
    /// [`GpuError::TooLarge`] for a tensor of which 64 filters are past the binding limit, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, class: AdapterClass, arena: &Arena) -> Result<Self, GpuError> {
        let words_bound = most_words(gpu.limits());
        let pieces = pieces(arena.layout.spans(), words_bound);
        let runs = runs(&pieces, words_bound);
        // Each run's norms start at an aligned place, because they are bound as a view of their own.
        let mut by_tensor = Vec::with_capacity(arena.layout.spans().len());
        let mut tables = Vec::with_capacity(runs.len());
        let mut words = 0;
        for run in &runs {
            let (start, base) = (words, pieces[run.start].span.start);
            let mut filters: Vec<[u32; 2]> = Vec::new();
            for Piece { tensor, span, .. } in &pieces[run.clone()] {
                let len = filter_len(span);
                // Of later pieces of a tensor the norms follow upon those of the first.
                if *tensor == by_tensor.len() {
                    by_tensor.push([(start + filters.len()) as u32, len.max(1) as u32, 0, 0]);
                }
                filters.extend((0..span.filters).map(|f| [(span.start - base + f * len) as u32, len as u32]));
            }
            words += align_words(filters.len());
            tables.push((start, filters));
        }
        let norms = gpu.buffer("filter norms", words)?;
        let mut dispatches = Vec::with_capacity(runs.len());
        for (run, (start, filters)) in runs.iter().zip(&tables) {
            let pieces = &pieces[run.clone()];
            let (first, last) = (&pieces[0].span, &pieces[pieces.len() - 1].span);
            let weights = arena.weights.part(first.start, last.start + last.len - first.start)?;
            let views = [&weights, &gpu.upload("filters", filters)?.view(), &norms.part(*start, filters.len())?];
            let launch = launch(&Target::with_class(gpu, class), pieces)?;
            dispatches.push(gpu.bind(&launch, &views, bytemuck::bytes_of(&(filters.len() as u32)))?);
        }
        Ok(Self { by_tensor: gpu.upload("filters by tensor", &by_tensor)?, norms, table: by_tensor, dispatches })
    }

    /// What the norms of tensors laid out so launch.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn launches(target: &Target, layout: &ArenaLayout) -> Result<Vec<Launch>, GpuError> {
        let words_bound = most_words(target.limits);
        let pieces = pieces(layout.spans(), words_bound);
        runs(&pieces, words_bound).into_iter().map(|run| launch(target, &pieces[run])).collect()
    }

    /// Records the norms of the weights as they are.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for dispatch in &self.dispatches {
            recorder.run(dispatch);
        }
    }
}
