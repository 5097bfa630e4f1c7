//! One flat buffer per role (weights, weights_eff, grads): where each tensor lies in it.

use std::ops::Range;

use crate::gpu::{ALIGNMENT_WORDS, Buffer, Gpu, GpuError, View, align_words};

/// One tensor's place in every arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpan {
    /// First element in the arena; a multiple of 64.
    pub start: usize,
    /// Elements.
    pub len: usize,
    /// Filters: rows of a weight, 1 for a one-dimensional tensor.
    pub filters: usize,
}

impl TensorSpan {
    /// The 64-element blocks that the tensor covers, padding included.
    #[must_use]
    pub fn blocks(&self) -> Range<u32> {
        let first = self.start / ALIGNMENT_WORDS;
        first as u32..(first + self.len.div_ceil(ALIGNMENT_WORDS)) as u32
    }
}

/// Where the tensors of a model lie in an arena, each at a multiple of 256 bytes.
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
            let filters = if shape.len() > 1 { shape[0] } else { 1 };
            layout.spans.push(TensorSpan { start: layout.words, len, filters });
            layout.words += align_words(len);
        }
        layout
    }

    /// The same, with tensors of running statistics [channels] in an arena of their own.
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
    /// What forward and backward read: the noisy weights of this step.
    pub weights_eff: Buffer,
    /// d(mean loss)/d(weights) at the noisy weights.
    pub grads: Buffer,
    /// Per 64-element block (tensor, first octet within the tensor, noise scale as bits, 0).
    pub blocks: Buffer,
    /// Running statistics of batch norms; no part of training's weights, so noise and optimizer leave them alone.
    pub stats: Buffer,
}

impl Arena {
    /// Zeroed arenas; `scales` multiplies each tensor's noise (0 for a tensor that takes none).
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] or [`GpuError::OutOfMemory`].
    pub fn new(gpu: &Gpu, layout: ArenaLayout, scales: &[f32]) -> Result<Self, GpuError> {
        let words = layout.words();
        Ok(Self {
            weights: gpu.buffer("weights", words)?,
            weights_eff: gpu.buffer("weights_eff", words)?,
            grads: gpu.buffer("grads", words)?,
            blocks: gpu.upload("blocks", &block_table(&layout, scales))?,
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

    /// Tensor `tensor` of one of the arenas, without its padding.
    ///
    /// # Errors
    /// [`GpuError::Length`] if there is no such tensor in the buffer.
    pub fn tensor(&self, arena: &Buffer, tensor: usize) -> Result<View, GpuError> {
        part(&self.layout.spans, arena, tensor)
    }

    /// Tensor `stat` of the running statistics.
    ///
    /// # Errors
    /// [`GpuError::Length`] if there is no such tensor.
    pub fn stat(&self, stat: usize) -> Result<View, GpuError> {
        part(&self.layout.stats, &self.stats, stat)
    }
}

fn part(spans: &[TensorSpan], arena: &Buffer, tensor: usize) -> Result<View, GpuError> {
    let missing = GpuError::Length { kernel: "arena", argument: "tensor", expected: spans.len(), found: tensor };
    let span = spans.get(tensor).ok_or(missing)?;
    arena.part(span.start, span.len)
}

/// Groups of 8 elements, those that one Philox call serves, in a block.
const OCTETS_PER_BLOCK: u32 = ALIGNMENT_WORDS as u32 / 8;

fn block_table(layout: &ArenaLayout, scales: &[f32]) -> Vec<[u32; 4]> {
    let mut table = Vec::with_capacity(layout.blocks() as usize);
    for (tensor, (span, scale)) in layout.spans.iter().zip(scales).enumerate() {
        for block in 0..span.blocks().len() as u32 {
            table.push([tensor as u32, block * OCTETS_PER_BLOCK, scale.to_bits(), 0]);
        }
    }
    table
}
