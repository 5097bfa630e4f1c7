//! Where tensors past a binding are cut.

use std::ops::Range;

use crate::gpu::{Limits, WORD_BYTES};

/// Parts begin at multiples of this many columns, and so all their tensors at aligned places.
const ALIGNMENT: usize = 128;

/// How the columns of a tensor [rows, columns] are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutColumns {
    /// The operand that is such a tensor.
    pub place: usize,
    /// Columns that go together, those of the last part left out.
    pub columns: usize,
}

/// Words that a binding holds.
pub(super) fn most_words(limits: Limits) -> usize {
    usize::try_from(limits.binding_bytes.min(limits.buffer_bytes) / WORD_BYTES).unwrap_or(usize::MAX)
}

impl CutColumns {
    /// Parts as equal as may be of `columns`, each of which stands for `column_words` words of the largest tensor that is cut along;
    /// none where that fits a binding whole, or no part does.
    #[must_use]
    pub fn new(place: usize, columns: usize, column_words: usize, limits: Limits) -> Option<Self> {
        let most = most_words(limits) / column_words.max(1) / ALIGNMENT * ALIGNMENT;
        if columns.saturating_mul(column_words) <= most_words(limits) || most == 0 {
            return None;
        }
        let parts = columns.div_ceil(most);
        Some(Self { place, columns: columns.div_ceil(parts).next_multiple_of(ALIGNMENT) })
    }
}

/// The ranges of `all` columns in parts of `columns`.
pub(super) fn ranges(all: usize, columns: usize) -> impl Iterator<Item = Range<usize>> {
    (0..all).step_by(columns.max(1)).map(move |start| start..(start + columns).min(all))
}
