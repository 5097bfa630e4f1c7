//! Buffers of 32-bit words, and views of parts of them.

use super::{GpuError, WORD_BYTES};

/// Bytes of a vec4: kernels that read vec4s are bound to whole ones.
pub(super) const VEC4_BYTES: u64 = 16;

/// A storage buffer of 32-bit words; zero until written.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(super) raw: wgpu::Buffer,
    words: usize,
}

impl Buffer {
    pub(super) fn new(raw: wgpu::Buffer, words: usize) -> Self {
        Self { raw, words }
    }

    /// Length in words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
    }

    /// Whether the buffer holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// All of it.
    #[must_use]
    pub fn view(&self) -> View {
        View { buffer: self.clone(), offset: 0, words: self.words }
    }

    /// `words` words from `offset` on.
    ///
    /// # Errors
    /// [`GpuError::Length`] if the part runs past the end.
    pub fn part(&self, offset: usize, words: usize) -> Result<View, GpuError> {
        match offset.checked_add(words) {
            Some(end) if end <= self.words => Ok(View { buffer: self.clone(), offset, words }),
            _ => Err(GpuError::Length {
                kernel: "view",
                argument: "offset + length",
                expected: self.words,
                found: offset.saturating_add(words),
            }),
        }
    }
}

/// A part of a buffer: what kernels are bound to.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) buffer: Buffer,
    pub(super) offset: usize,
    words: usize,
}

impl View {
    /// Length in words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
    }

    /// Whether the view holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// Offset of the first byte in the buffer.
    pub(super) fn offset_bytes(&self) -> u64 {
        self.offset as u64 * WORD_BYTES
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.words as u64 * WORD_BYTES
    }

    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer.raw,
            offset: self.offset_bytes(),
            // Whole vec4s: buffers are allocated so, tensors start at multiples of 256 bytes, and so the last vec4 of a
            // tensor is its own.
            size: wgpu::BufferSize::new(self.bytes().next_multiple_of(VEC4_BYTES)),
        })
    }

    /// Fails unless the view has `expected` words.
    ///
    /// # Errors
    /// [`GpuError::Length`] naming kernel and argument.
    pub fn expect_len(&self, kernel: &'static str, argument: &'static str, expected: usize) -> Result<(), GpuError> {
        if self.words == expected {
            Ok(())
        } else {
            Err(GpuError::Length { kernel, argument, expected, found: self.words })
        }
    }
}
