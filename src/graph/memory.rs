//! Placing what lives between calls in one arena, by liveness; the arena is cut into buffers (banks) where an adapter's
//! buffers are smaller.

use crate::gpu::{ALIGNMENT_WORDS, WORD_BYTES, align_words};

/// A tensor's life: its size and the first and last call that touch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Size in words.
    pub words: usize,
    /// First call.
    pub first: usize,
    /// Last call.
    pub last: usize,
}

/// Where each tensor starts, and the arena's length, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Offset of each tensor, a multiple of 64.
    pub offsets: Vec<usize>,
    /// Length of the arena.
    pub words: usize,
    /// Length of a bank; no tensor lies across two, unless it is larger than one.
    pub bank_words: usize,
}

impl Placement {
    /// Bank and offset within it of a tensor.
    #[must_use]
    pub fn place_of(&self, tensor: usize) -> (usize, usize) {
        (self.offsets[tensor] / self.bank_words, self.offsets[tensor] % self.bank_words)
    }

    /// The length of each bank.
    pub fn banks(&self) -> impl Iterator<Item = usize> {
        (0..self.words).step_by(self.bank_words).map(|start| self.bank_words.min(self.words - start))
    }
}

/// Words of the largest bank that a buffer of `buffer_bytes` holds.
#[must_use]
pub fn bank_words(buffer_bytes: u64) -> usize {
    let words = usize::try_from(buffer_bytes / WORD_BYTES).unwrap_or(usize::MAX);
    words / ALIGNMENT_WORDS * ALIGNMENT_WORDS
}

/// Places tensors so that those alive together do not overlap: largest first, each at the lowest place that is free
/// for its whole life and lies in one bank.
#[must_use]
pub fn place(lives: &[Life], bank_words: usize) -> Placement {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(lives[*i].words), lives[*i].first, *i));
    let mut placement = Placement { offsets: vec![0; lives.len()], words: 0, bank_words };
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let life = lives[i];
        let within_bank = |offset: usize| {
            let left = bank_words - offset % bank_words;
            if align_words(life.words) <= left { offset } else { offset + left }
        };
        let mut taken: Vec<_> = placed
            .iter()
            .filter(|j| lives[**j].first <= life.last && life.first <= lives[**j].last)
            .map(|j| (placement.offsets[*j], placement.offsets[*j] + align_words(lives[*j].words)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if within_bank(offset) + life.words <= start {
                break;
            }
            offset = offset.max(end);
        }
        let offset = within_bank(offset);
        placement.offsets[i] = offset;
        placement.words = placement.words.max(offset + align_words(life.words));
        placed.push(i);
    }
    placement
}

/// The most words alive at one call: no placement can do with less.
#[must_use]
pub fn lower_bound(lives: &[Life]) -> usize {
    let alive =
        |call: usize| lives.iter().filter(|l| l.first <= call && call <= l.last).map(|l| align_words(l.words)).sum();
    lives.iter().map(|life| alive(life.first)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn life() -> impl Strategy<Value = Life> {
        (1usize..5000, 0usize..40, 0usize..12).prop_map(|(words, first, span)| Life {
            words,
            first,
            last: first + span,
        })
    }

    proptest! {
        #[test]
        fn those_alive_together_do_not_overlap(
            lives in prop::collection::vec(life(), 1..40),
            bank in (5000usize..20_000).prop_map(align_words),
        ) {
            let placement = place(&lives, bank);
            prop_assert_eq!(placement.banks().sum::<usize>(), placement.words);
            for (i, a) in lives.iter().enumerate() {
                prop_assert_eq!(placement.offsets[i] % 64, 0);
                prop_assert!(placement.offsets[i] + a.words <= placement.words);
                let (_, start) = placement.place_of(i);
                prop_assert!(start + a.words <= bank, "{i} lies in two banks");
                for (j, b) in lives.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart = placement.offsets[i] + a.words <= placement.offsets[j]
                        || placement.offsets[j] + b.words <= placement.offsets[i];
                    prop_assert!(!together || apart, "{i} and {j} overlap");
                }
            }
            prop_assert!(placement.words >= lower_bound(&lives));
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let lives: Vec<_> = (0..10).map(|i| Life { words: 64, first: i, last: i + 1 }).collect();
        assert_eq!(place(&lives, 1 << 20).words, 128);
        assert_eq!(lower_bound(&lives), 128);
    }
}
