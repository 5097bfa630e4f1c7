//! Placing what lives between calls in one arena, by liveness.

use crate::gpu::align_words;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Offset of each tensor, a multiple of 64.
    pub offsets: Vec<usize>,
    /// Length of the arena.
    pub words: usize,
}

/// Places tensors so that those alive together do not overlap: largest first, each at the lowest place that is free
/// for its whole life.
#[must_use]
pub fn place(lives: &[Life]) -> Placement {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(lives[*i].words), lives[*i].first, *i));
    let mut placement = Placement { offsets: vec![0; lives.len()], words: 0 };
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let life = lives[i];
        let mut taken: Vec<_> = placed
            .iter()
            .filter(|j| lives[**j].first <= life.last && life.first <= lives[**j].last)
            .map(|j| (placement.offsets[*j], placement.offsets[*j] + align_words(lives[*j].words)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + life.words <= start {
                break;
            }
            offset = offset.max(end);
        }
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
        fn those_alive_together_do_not_overlap(lives in prop::collection::vec(life(), 1..40)) {
            let placement = place(&lives);
            for (i, a) in lives.iter().enumerate() {
                prop_assert_eq!(placement.offsets[i] % 64, 0);
                prop_assert!(placement.offsets[i] + a.words <= placement.words);
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
        assert_eq!(place(&lives).words, 128);
        assert_eq!(lower_bound(&lives), 128);
    }
}
