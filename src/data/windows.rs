//! Samples that are windows of one text: its tokens are there once, and a sample is where its window begins.

use std::sync::Arc;

use super::{BatchOrder, Vocabulary, order};

/// Tokens of a window as long as neither a configuration nor a model says otherwise.
pub const BLOCK: usize = 64;

/// Windows of a text, each with the tokens one further on as its targets: the window at token i is tokens[i .. i + length],
/// its targets are tokens[i + 1 .. i + length + 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    tokens: Arc<[u32]>,
    length: usize,
    /// Tokens from the beginning of a sample to that of the next: the length in a text that is read through, one more where the
    /// tokens are those of single windows one after the other, each with the last of its targets.
    stride: usize,
    vocabulary: Arc<Vocabulary>,
}

impl Windows {
    /// Those of a text, of [`BLOCK`] tokens.
    pub(super) fn new(tokens: Vec<u32>, vocabulary: Arc<Vocabulary>) -> Self {
        Self { tokens: tokens.into(), length: BLOCK, stride: BLOCK, vocabulary }
    }

    /// All tokens.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What the tokens stand for.
    #[must_use]
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// In windows of so many tokens, any of which may be drawn.
    pub(super) fn with_block(&self, length: usize) -> Self {
        Self { length, stride: length, ..self.clone() }
    }

    /// Tokens of a window.
    #[must_use]
    pub fn block(&self) -> usize {
        self.length
    }

    /// Windows one after the other that the text has: an epoch's. Sample i of them begins at token i * length.
    #[must_use]
    pub fn count(&self) -> usize {
        self.places().div_ceil(self.stride)
    }

    /// Tokens at which a window may begin, and have its targets.
    #[must_use]
    pub fn places(&self) -> usize {
        self.tokens.len().saturating_sub(self.length)
    }

    /// Whether any window of the text may be drawn, and not only those one after the other.
    pub(super) fn is_text(&self) -> bool {
        self.stride == self.length
    }

    /// The token at which a sample begins, by its number.
    pub(super) fn begin(&self, sample: usize) -> usize {
        sample * self.stride
    }

    /// Tokens and targets of the window that begins at a token; `None` where there is no such window.
    #[must_use]
    pub fn window(&self, place: usize) -> Option<[&[u32]; 2]> {
        let part = self.tokens.get(place..place.checked_add(self.length + 1)?)?;
        Some([&part[..self.length], &part[1..]])
    }

    /// Where in the text an epoch's samples begin, in the order of their visit.
    pub(super) fn order(&self, order: BatchOrder, seed: u64, epoch: u64) -> Vec<u32> {
        match order {
            BatchOrder::Shuffled if self.is_text() => order::random_places(self.places(), self.count(), seed, epoch),
            _ => {
                let samples = order::epoch_order(self.count(), order, seed, epoch);
                samples.into_iter().map(|sample| sample * self.stride as u32).collect()
            }
        }
    }

    /// Single windows: those that begin at these tokens, in their order; places that are none are left out.
    pub(super) fn at(&self, places: impl Iterator<Item = usize>) -> Self {
        let parts = places.filter_map(|place| self.tokens.get(place..place + self.length + 1));
        let tokens: Vec<u32> = parts.flatten().copied().collect();
        Self { tokens: tokens.into(), stride: self.length + 1, ..self.clone() }
    }

    /// All but the last `n` windows, and these; no window of the one has tokens of the other.
    pub(super) fn set_apart(&self, n: usize) -> [Self; 2] {
        let last = if self.is_text() { n * self.stride + 1 } else { n * self.stride };
        self.split_at(self.tokens.len().saturating_sub(last))
    }

    /// The tokens before one, and those from it on.
    pub(super) fn split_at(&self, token: usize) -> [Self; 2] {
        let (before, after) = self.tokens.split_at(token.min(self.tokens.len()));
        [before, after].map(|tokens| Self { tokens: tokens.into(), ..self.clone() })
    }
}
