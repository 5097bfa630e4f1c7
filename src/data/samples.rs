//! The values of samples as they came: bytes of a file, or numbers in memory.

use std::ops::Range;

/// How a value of a sample is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SampleType {
    /// A byte, of which [`Dataset::full_scale`](super::Dataset::full_scale) means 1.0.
    #[default]
    U8,
    /// A number, as it stands.
    F32,
}

impl SampleType {
    /// Bytes of a value.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
        }
    }
}

/// The values of a data set, sample after sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Bytes.
    U8(Vec<u8>),
    /// Numbers.
    F32(Vec<f32>),
}

impl From<Vec<u8>> for Samples {
    fn from(values: Vec<u8>) -> Self {
        Self::U8(values)
    }
}

impl From<Vec<f32>> for Samples {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl Samples {
    /// How they are stored.
    #[must_use]
    pub fn kind(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::U8,
            Self::F32(_) => SampleType::F32,
        }
    }

    /// Values of all samples.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them as they lie in memory.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::U8(values) => values,
            Self::F32(values) => bytemuck::cast_slice(values),
        }
    }

    /// Those that are bytes; `None` where they are not.
    #[must_use]
    pub fn as_u8(&self) -> Option<&[u8]> {
        match self {
            Self::U8(values) => Some(values),
            Self::F32(_) => None,
        }
    }

    /// Where the first value stands that is neither a number nor finite.
    pub(super) fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::U8(_) => None,
            Self::F32(values) => values.iter().position(|value| !value.is_finite()),
        }
    }

    /// None, stored alike.
    pub(super) fn none_like(&self) -> Self {
        match self {
            Self::U8(_) => Self::U8(Vec::new()),
            Self::F32(_) => Self::F32(Vec::new()),
        }
    }

    /// Appends the values in `range` of others that are stored alike; whether there are such.
    pub(crate) fn extend(&mut self, others: &Self, range: Range<usize>) -> bool {
        match (self, others) {
            (Self::U8(own), Self::U8(others)) => others.get(range).map(|values| own.extend_from_slice(values)),
            (Self::F32(own), Self::F32(others)) => others.get(range).map(|values| own.extend_from_slice(values)),
            _ => None,
        }
        .is_some()
    }

    /// As kernels read them: bytes four to a word, or a number a word.
    #[must_use]
    pub fn to_words(&self) -> Vec<u32> {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        match self {
            Self::U8(values) => values.chunks(4).map(word).collect(),
            Self::F32(values) => values.iter().map(|value| value.to_bits()).collect(),
        }
    }
}
