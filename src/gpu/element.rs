//! How the elements of a tensor are stored.

/// How the elements of a view are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Element {
    /// f32 or u32.
    #[default]
    Word,
    /// f16, two to a word.
    Half,
    /// Bound, but neither read nor written.
    Unused,
}

impl Element {
    /// Words that hold `len` elements.
    #[must_use]
    pub fn words(self, len: usize) -> usize {
        if self == Self::Half { len.div_ceil(2) } else { len }
    }

    /// Elements in a word.
    #[must_use]
    pub fn per_word(self) -> usize {
        if self == Self::Half { 2 } else { 1 }
    }
}
