//! The values of samples as they came: bytes of a file, numbers or tokens in memory.

use std::ops::Range;

use super::Windows;

/// The shape of one sample: planes of rows of pixels, row-major, channel first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleShape {
    /// Planes, 1 for grey images.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl SampleShape {
    /// The values of one sample: channels x height x width.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// How a value of a sample is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SampleType {
    /// A byte, of which [`Dataset::full_scale`](super::Dataset::full_scale) means 1.0.
    #[default]
    U8,
    /// A number, as it stands.
    F32,
    /// A token: a place in a vocabulary.
    U32,
}

impl SampleType {
    /// Bytes of a value.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 | Self::U32 => 4,
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
    /// Tokens.
    U32(Vec<u32>),
    /// Windows of a text, whose tokens are there once.
    Windows(Windows),
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

impl From<Vec<u32>> for Samples {
    fn from(values: Vec<u32>) -> Self {
        Self::U32(values)
    }
}

impl Samples {
    /// How they are stored.
    #[must_use]
    pub fn kind(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::U8,
            Self::F32(_) => SampleType::F32,
            Self::U32(_) | Self::Windows(_) => SampleType::U32,
        }
    }

    /// Values of all samples; of windows the tokens that they are windows of.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::Windows(windows) => windows.tokens().len(),
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
            Self::U32(values) => bytemuck::cast_slice(values),
            Self::Windows(windows) => bytemuck::cast_slice(windows.tokens()),
        }
    }

    /// Those that are bytes; `None` where they are not.
    #[must_use]
    pub fn as_u8(&self) -> Option<&[u8]> {
        match self {
            Self::U8(values) => Some(values),
            Self::F32(_) | Self::U32(_) | Self::Windows(_) => None,
        }
    }

    /// Tokens are below this: the vocabulary of a text, else one more than the largest, the smallest that holds them all; 0 of
    /// samples that are no tokens.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::U8(_) | Self::F32(_) => 0,
            Self::U32(tokens) => count_of_kinds(tokens),
            Self::Windows(windows) => windows.vocabulary().size(),
        }
    }

    /// Where the first value stands that is neither a number nor finite.
    pub(super) fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::U8(_) | Self::U32(_) | Self::Windows(_) => None,
            Self::F32(values) => first_not_finite(values),
        }
    }

    /// None, stored alike.
    pub(super) fn none_like(&self) -> Self {
        match self {
            Self::U8(_) => Self::U8(Vec::new()),
            Self::F32(_) => Self::F32(Vec::new()),
            Self::U32(_) | Self::Windows(_) => Self::U32(Vec::new()),
        }
    }

    /// Appends the values in `range` of others that are stored alike; whether there are such.
    pub(crate) fn extend(&mut self, others: &Self, range: Range<usize>) -> bool {
        match (self, others) {
            (Self::U8(own), Self::U8(others)) => append(own, others, range),
            (Self::F32(own), Self::F32(others)) => append(own, others, range),
            (Self::U32(own), Self::U32(others)) => append(own, others, range),
            _ => false,
        }
    }

    /// As kernels read them: bytes four to a word, or a number or token a word.
    #[must_use]
    pub fn to_words(&self) -> Vec<u32> {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        match self {
            Self::U8(values) => values.chunks(4).map(word).collect(),
            Self::F32(values) => values.iter().map(|value| value.to_bits()).collect(),
            Self::U32(values) => values.clone(),
            Self::Windows(windows) => windows.tokens().to_vec(),
        }
    }
}

/// Appends the values in `range` of `others`; whether there are such.
pub(super) fn append<T: Copy>(own: &mut Vec<T>, others: &[T], range: Range<usize>) -> bool {
    others.get(range).map(|values| own.extend_from_slice(values)).is_some()
}

/// Where the first number stands that is not finite.
pub(super) fn first_not_finite(values: &[f32]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

/// One more than the largest.
pub(super) fn count_of_kinds(values: &[u32]) -> usize {
    values.iter().max().map_or(0, |largest| *largest as usize + 1)
}
