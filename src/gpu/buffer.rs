//! Buffers of 32-bit words, and views of parts of them.

use std::ops::Range;

use super::{Element, GpuError, WORD_BYTES};

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
        View { buffer: self.clone(), offset: 0, len: self.words, element: Element::Word }
    }

    /// `words` words from `offset` on.
    ///
    /// # Errors
    /// [`GpuError::Length`] if the part runs past the end.
    pub fn part(&self, offset: usize, words: usize) -> Result<View, GpuError> {
        match offset.checked_add(words) {
            Some(end) if end <= self.words => {
                Ok(View { buffer: self.clone(), offset, len: words, element: Element::Word })
            }
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
    len: usize,
    element: Element,
}

impl View {
    /// Length in elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the view holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How the elements are stored.
    #[must_use]
    pub fn element(&self) -> Element {
        self.element
    }

    /// `words` words from `offset` on, a multiple of the alignment, of a view of words.
    ///
    /// # Errors
    /// [`GpuError::Length`] if the part runs past the view's end.
    pub fn part(&self, offset: usize, words: usize) -> Result<Self, GpuError> {
        if offset.saturating_add(words) > self.words() {
            let (expected, found) = (self.words(), offset.saturating_add(words));
            return Err(GpuError::Length { kernel: "view", argument: "offset + length", expected, found });
        }
        self.buffer.part(self.offset + offset, words)
    }

    /// `len` elements from `start` on, whose first word is a multiple of the alignment.
    ///
    /// # Errors
    /// As [`View::part`].
    pub fn elements(&self, start: usize, len: usize) -> Result<Self, GpuError> {
        self.part(self.element.words(start), self.element.words(len))?.read_as(self.element, len)
    }

    /// The same words read as `len` elements of a kind.
    ///
    /// # Errors
    /// [`GpuError::Length`] if that takes another number of words.
    pub fn read_as(self, element: Element, len: usize) -> Result<Self, GpuError> {
        let (expected, found) = (self.words(), element.words(len));
        if expected != found {
            return Err(GpuError::Length { kernel: "view", argument: "words", expected, found });
        }
        Ok(Self { len, element, ..self })
    }

    fn words(&self) -> usize {
        self.element.words(self.len)
    }

    /// Its words in its buffer.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.offset..self.offset + self.words()
    }

    /// Whether both are parts of one buffer.
    #[must_use]
    pub fn shares_buffer(&self, other: &Self) -> bool {
        self.buffer.raw == other.buffer.raw
    }

    /// These words of the view's buffer, stored as the view's elements: a binding of several tensors. The first is a multiple
    /// of the alignment.
    ///
    /// # Errors
    /// [`GpuError::Length`] if the words run past the buffer's end.
    pub fn around(&self, span: Range<usize>) -> Result<Self, GpuError> {
        let words = span.len();
        self.buffer.part(span.start, words)?.read_as(self.element, words * self.element.per_word())
    }

    /// Offset of the first byte in the buffer.
    pub(super) fn offset_bytes(&self) -> u64 {
        self.offset as u64 * WORD_BYTES
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.words() as u64 * WORD_BYTES
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

    /// Fails unless the view has `expected` elements.
    ///
    /// # Errors
    /// [`GpuError::Length`] naming kernel and argument.
    pub fn expect_len(&self, kernel: &'static str, argument: &'static str, expected: usize) -> Result<(), GpuError> {
        if self.len == expected {
            Ok(())
        } else {
            Err(GpuError::Length { kernel, argument, expected, found: self.len })
        }
    }
}
