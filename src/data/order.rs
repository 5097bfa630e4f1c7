//! The order in which an epoch visits the samples, and the choice of random subsets.
//!
//! An experiment is repeatable only as long as its shuffles are, so the numbers here may never change: not with a
//! platform, and not with a version of a dependency. The words come from ChaCha8, a published cipher whose key stream is
//! fixed by its specification (`rand` counts its generator among the named portable ones), keyed directly by the
//! seed. `rand`'s helpers above the raw words, `seed_from_u64`, `random_range` and `shuffle`, may give other values in
//! a later release; hence their few lines are written out here.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use crate::names::named;

named!("batch order",
    /// The order in which an epoch visits the samples.
    #[derive(Default)]
    BatchOrder {
        /// A new random permutation each epoch; of a text random windows, drawn with replacement.
        #[default]
        Shuffled = "shuffled",
        /// The order of the data set, each epoch the same; of a text its windows one after the other.
        Sequential = "sequential",
    }
);

/// The sample indices of one epoch in the order of their visit: a permutation of `0..len`.
///
/// A shuffled order depends on `len`, `seed` and `epoch` (0 for the first) and on nothing else, so that a run resumed
/// at epoch 7 sees the batches that an uninterrupted run saw. It is the same on every platform and in every version of
/// this crate.
///
/// # Panics
///
/// Where `len` does not fit in a `u32`. No data set that was loaded reaches that: IDX files count in 32 bits.
#[must_use]
pub fn epoch_order(len: usize, order: BatchOrder, seed: u64, epoch: u64) -> Vec<u32> {
    match order {
        BatchOrder::Sequential => identity(len),
        BatchOrder::Shuffled => draw(len, len, generator(*b"jostle epoch    ", seed, epoch)),
    }
}

/// `n` different indices below `len`, ascending. The choice for a smaller `n` is part of that for a larger one.
pub(super) fn subset_indices(len: usize, n: usize, seed: u64) -> Vec<u32> {
    let mut chosen = draw(len, n, generator(*b"jostle subset   ", seed, 0));
    chosen.sort_unstable();
    chosen
}

/// As [`subset_indices`], of the members of one class: each class has a draw of its own.
pub(super) fn class_subset_indices(len: usize, n: usize, seed: u64, class: u64) -> Vec<u32> {
    draw(len, n, generator(*b"jostle stratum  ", seed, class))
}

/// A label for a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RandomLabel {
    pub sample: u32,
    pub label: u32,
}

/// Labels below `classes` for `n` different samples below `len`. Those for a smaller `n` are the first for a larger one.
pub(super) fn random_labels(len: usize, classes: usize, n: usize, seed: u64) -> Vec<RandomLabel> {
    let samples = draw(len, n, generator(*b"jostle noisy    ", seed, 0));
    let mut rng = generator(*b"jostle label    ", seed, 0);
    let label = |rng: &mut ChaCha8Rng| below(rng, (classes as u32).max(1));
    samples.into_iter().map(|sample| RandomLabel { sample, label: label(&mut rng) }).collect()
}

/// As [`class_subset_indices`], for the samples kept apart to choose by, which a subset by the same seed is not to sway.
pub(super) fn class_validation_indices(len: usize, n: usize, seed: u64, class: u64) -> Vec<u32> {
    draw(len, n, generator(*b"jostle validate ", seed, class))
}

/// Of a text, `n` places below `len` at which the windows of an epoch begin, drawn with replacement.
pub(super) fn random_places(len: usize, n: usize, seed: u64, epoch: u64) -> Vec<u32> {
    places(len, n, generator(*b"jostle windows  ", seed, epoch))
}

/// As [`random_places`], for the windows that evaluations score.
pub(super) fn scored_places(len: usize, n: usize, seed: u64) -> Vec<u32> {
    places(len, n, generator(*b"jostle scored   ", seed, 0))
}

fn places(len: usize, n: usize, mut rng: ChaCha8Rng) -> Vec<u32> {
    (0..n).map(|_| below(&mut rng, (len as u32).max(1))).collect()
}

/// The first `n` elements of a random permutation of `0..len`, by the Fisher-Yates shuffle from the front.
fn draw(len: usize, n: usize, mut rng: ChaCha8Rng) -> Vec<u32> {
    let mut indices = identity(len);
    for (i, left) in (0..n.min(len)).zip((1..=len as u32).rev()) {
        let j = i + below(&mut rng, left) as usize;
        indices.swap(i, j);
    }
    indices.truncate(n);
    indices
}

fn identity(len: usize) -> Vec<u32> {
    assert!(u32::try_from(len).is_ok(), "{len} samples do not fit in 32-bit indices");
    (0..len as u32).collect()
}

/// The purpose is part of the key lest a subset and a shuffle of the same seed be correlated.
fn generator(purpose: [u8; 16], seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    key[16..].copy_from_slice(&purpose);
    ChaCha8Rng::from_seed(key)
}

/// A uniform number in `0..bound`, for `bound` above 0, by Lemire's multiplication (<https://arxiv.org/abs/1805.10941>):
/// the high half of `word * bound` is the number, and the low half tells the few words to reject that would favour
/// some numbers.
fn below(rng: &mut ChaCha8Rng, bound: u32) -> u32 {
    let excess = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        if product as u32 >= excess {
            return (product >> 32) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first words of ChaCha8's key stream for the key of zeros, from the cipher's published test vectors: holds
    /// the generator to the specification, whatever crate provides it.
    #[test]
    fn generator_is_chacha8() {
        let mut rng = ChaCha8Rng::from_seed([0; 32]);
        let words: Vec<u32> = (0..4).map(|_| rng.next_u32()).collect();
        assert_eq!(words, [0x2fef_003e, 0xd640_5f89, 0xe8b8_5b7f, 0xa1a5_091f]);
    }

    #[test]
    fn below_is_uniform() {
        let mut rng = generator(*b"test            ", 1, 2);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[below(&mut rng, 7) as usize] += 1;
        }
        // The standard deviation of a count is 93.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 465), "{counts:?}");
        assert_eq!(below(&mut rng, 1), 0);
        // Half of all words are to be rejected here, more than for any other bound.
        assert!((0..1000).all(|_| below(&mut rng, (1 << 31) + 1) <= 1 << 31));
    }
}
