//! One flat buffer per role (weights, weights_eff, grads): where each tensor lies in it.

use std::ops::Range;

use crate::gpu::{ALIGNMENT_WORDS, Buffer, Element, Gpu, GpuError, View};

use super::GradientScaling;

/// Tensors start at multiples of this many elements: 256 bytes of f16, so that one layout serves f32 and f16 arenas.
const ALIGNMENT: usize = 2 * ALIGNMENT_WORDS;

/// One tensor's place in every arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpan {
    /// First element in the arena; a multiple of 128.
    pub start: usize,
    /// Elements.
    pub len: usize,
    /// Filters: rows of a weight, 1 for a one-dimensional tensor.
    pub filters: usize,
    /// Whether it has two dimensions or more.
    pub is_matrix: bool,
    /// Whether it is a matrix in a network's midst, which some optimizers take apart.
    pub is_hidden: bool,
}

impl TensorSpan {
    /// The 64-element blocks that the tensor covers, padding included.
    #[must_use]
    pub fn blocks(&self) -> Range<u32> {
        let end = self.start + self.len.next_multiple_of(ALIGNMENT);
        (self.start / ALIGNMENT_WORDS) as u32..(end / ALIGNMENT_WORDS) as u32
    }
}

/// Where the tensors of a model lie in an arena, each at a multiple of 128 elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArenaLayout {
    spans: Vec<TensorSpan>,
    words: usize,
    stats: Vec<TensorSpan>,
    stat_words: usize,
}

impl ArenaLayout {
    /// Places tensors of these shapes one after the other.
    #[must_use]
    pub fn new<'a>(shapes: impl IntoIterator<Item = &'a [usize]>) -> Self {
        let mut layout = Self::default();
        for shape in shapes {
            let len = shape.iter().product();
            let is_matrix = shape.len() > 1;
            let filters = if is_matrix { shape[0] } else { 1 };
            layout.spans.push(TensorSpan { start: layout.words, len, filters, is_matrix, is_hidden: false });
            layout.words += len.next_multiple_of(ALIGNMENT);
        }
        layout
    }

    /// The same, with some of the tensors, in their order, marked as hidden matrices.
    #[must_use]
    pub fn with_hidden(mut self, hidden: &[bool]) -> Self {
        self.spans.iter_mut().zip(hidden).for_each(|(span, hidden)| span.is_hidden = span.is_matrix && *hidden);
        self
    }

    /// The same, with tensors of running statistics `[channels]` in an arena of their own.
    #[must_use]
    pub fn with_stats(self, channels: impl IntoIterator<Item = usize>) -> Self {
        let shapes: Vec<[usize; 1]> = channels.into_iter().map(|channels| [channels]).collect();
        let stats = Self::new(shapes.iter().map(<[usize; 1]>::as_slice));
        Self { stats: stats.spans, stat_words: stats.words, ..self }
    }

    /// The tensors in order.
    #[must_use]
    pub fn spans(&self) -> &[TensorSpan] {
        &self.spans
    }

    /// The same, each element of a tensor of one dimension being a filter of its own.
    pub(super) fn with_elements_as_filters(mut self) -> Self {
        let vectors = self.spans.iter_mut().filter(|span| !span.is_matrix);
        vectors.for_each(|span| span.filters = span.len.max(1));
        self
    }

    /// Elements with padding.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// Elements without padding: the number of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.spans.iter().map(|span| span.len).sum()
    }

    /// The tensors of running statistics in order.
    #[must_use]
    pub fn stats(&self) -> &[TensorSpan] {
        &self.stats
    }

    /// 64-element blocks.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        (self.words / ALIGNMENT_WORDS) as u32
    }
}

/// The arenas that every network has, on the device.
#[derive(Clone, Debug)]
pub struct Arena {
    /// Where the tensors lie.
    pub layout: ArenaLayout,
    /// The clean f32 master, written by the optimizer alone.
    pub weights: Buffer,
    /// What forward and backward read: the noisy weights of this step, stored as `element` says.
    pub weights_eff: Buffer,
    /// How `weights_eff` is stored.
    pub element: Element,
    /// d(mean loss)/d(weights) at the noisy weights.
    pub grads: Buffer,
    /// Per 64-element block (tensor, first octet within the tensor, noise scale as bits, 0 of a vector, 1 of a matrix and 2 of a
    /// hidden one).
    pub blocks: Buffer,
    /// How gradients are scaled from the loss to the update: one [`GradientScaling`].
    pub scaling: Buffer,
    /// Running statistics of batch norms; no part of training's weights, so noise and optimizer leave them alone.
    pub stats: Buffer,
}

impl Arena {
    /// Zeroed arenas in f32; `scales` multiplies each tensor's noise (0 for a tensor that takes none).
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] or [`GpuError::OutOfMemory`].
    pub fn new(gpu: &Gpu, layout: ArenaLayout, scales: &[f32]) -> Result<Self, GpuError> {
        Self::stored(gpu, layout, scales, Element::Word)
    }

    /// As [`Arena::new`], with `weights_eff` stored as `element`.
    ///
    /// # Errors
    /// As [`Arena::new`].
    pub fn stored(gpu: &Gpu, layout: ArenaLayout, scales: &[f32], element: Element) -> Result<Self, GpuError> {
        let words = layout.words();
        Self::with_gradients(gpu, layout, scales, element, words)
    }

    /// As [`Arena::stored`], without room for gradients: for what takes none.
    ///
    /// # Errors
    /// As [`Arena::new`].
    pub fn without_gradients(
        gpu: &Gpu,
        layout: ArenaLayout,
        scales: &[f32],
        element: Element,
    ) -> Result<Self, GpuError> {
        Self::with_gradients(gpu, layout, scales, element, 0)
    }

    fn with_gradients(
        gpu: &Gpu,
        layout: ArenaLayout,
        scales: &[f32],
        element: Element,
        gradients: usize,
    ) -> Result<Self, GpuError> {
        let words = layout.words();
        Ok(Self {
            weights: gpu.buffer("weights", words)?,
            weights_eff: gpu.buffer("weights_eff", element.words(words))?,
            element,
            grads: gpu.buffer("grads", gradients)?,
            blocks: gpu.upload("blocks", &block_table(&layout, scales))?,
            scaling: gpu.upload("gradient scaling", &[GradientScaling::initial(element)])?,
            stats: gpu.buffer("running statistics", layout.stat_words)?,
            layout,
        })
    }

    /// The same arenas with other noise scales.
    ///
    /// # Errors
    /// As [`Gpu::upload`].
    pub fn with_noise_scales(&self, gpu: &Gpu, scales: &[f32]) -> Result<Self, GpuError> {
        Ok(Self { blocks: gpu.upload("blocks", &block_table(&self.layout, scales))?, ..self.clone() })
    }

    /// The same weights, with what the network sees of them in f32: for analysis, which takes derivatives in f32.
    ///
    /// # Errors
    /// As [`Arena::new`].
    pub fn in_f32(&self, gpu: &Gpu) -> Result<Self, GpuError> {
        if self.element == Element::Word {
            return Ok(self.clone());
        }
        let weights_eff = gpu.buffer("weights_eff", self.layout.words())?;
        Ok(Self { weights_eff, element: Element::Word, ..self.clone() })
    }

    /// Tensor `tensor` of one of the f32 arenas, without its padding.
    ///
    /// # Errors
    /// [`GpuError::Length`] if there is no such tensor in the buffer.
    pub fn tensor(&self, arena: &Buffer, tensor: usize) -> Result<View, GpuError> {
        part(&self.layout.spans, arena, tensor)
    }

    /// Tensor `tensor` of `weights_eff`.
    ///
    /// # Errors
    /// As [`Arena::tensor`].
    pub fn effective(&self, tensor: usize) -> Result<View, GpuError> {
        let span = span(&self.layout.spans, tensor)?;
        self.effective_part(span.start, span.len)
    }

    /// `len` elements of `weights_eff` from `start` on, which has to be a multiple of 128.
    pub(super) fn effective_part(&self, start: usize, len: usize) -> Result<View, GpuError> {
        let part = self.weights_eff.part(self.element.words(start), self.element.words(len))?;
        part.read_as(self.element, len)
    }

    /// Tensor `stat` of the running statistics.
    ///
    /// # Errors
    /// [`GpuError::Length`] if there is no such tensor.
    pub fn stat(&self, stat: usize) -> Result<View, GpuError> {
        part(&self.layout.stats, &self.stats, stat)
    }
}

fn span(spans: &[TensorSpan], tensor: usize) -> Result<&TensorSpan, GpuError> {
    let missing = GpuError::Length { kernel: "arena", argument: "tensor", expected: spans.len(), found: tensor };
    spans.get(tensor).ok_or(missing)
}

fn part(spans: &[TensorSpan], arena: &Buffer, tensor: usize) -> Result<View, GpuError> {
    let span = span(spans, tensor)?;
    arena.part(span.start, span.len)
}

/// Groups of 8 elements, those that one Philox call serves, in a block.
const OCTETS_PER_BLOCK: u32 = ALIGNMENT_WORDS as u32 / 8;

fn block_table(layout: &ArenaLayout, scales: &[f32]) -> Vec<[u32; 4]> {
    let mut table = Vec::with_capacity(layout.blocks() as usize);
    for (tensor, (span, scale)) in layout.spans.iter().zip(scales).enumerate() {
        for block in 0..span.blocks().len() as u32 {
            let kind = u32::from(span.is_matrix) + u32::from(span.is_hidden);
            table.push([tensor as u32, block * OCTETS_PER_BLOCK, scale.to_bits(), kind]);
        }
    }
    table
}
