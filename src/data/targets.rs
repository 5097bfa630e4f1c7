//! What is to be predicted of each sample.

use std::ops::Range;

use super::samples::{append, count_of_kinds, first_not_finite};

/// What a network is trained to answer, sample after sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class of each sample.
    Classes {
        /// `[len]`, below `classes`
        labels: Vec<u32>,
        /// Classes that there are.
        classes: usize,
    },
    /// A vector of numbers of each sample: regression.
    Vectors {
        /// [len, width]
        values: Vec<f32>,
        /// Numbers of a vector.
        width: usize,
    },
    /// A token at each position of each sample: the next one of a text.
    Tokens {
        /// [len, length], below `vocabulary`
        tokens: Vec<u32>,
        /// Positions of a sample.
        length: usize,
        /// Tokens that there are.
        vocabulary: usize,
    },
    /// The token after each of a window, which are among the tokens of [`Samples::Windows`](super::Samples::Windows).
    Next {
        /// Samples.
        windows: usize,
        /// Positions of a sample.
        length: usize,
        /// Tokens that there are.
        vocabulary: usize,
    },
}

impl From<Vec<u32>> for Targets {
    /// Classes, as many as the largest says.
    fn from(labels: Vec<u32>) -> Self {
        let classes = count_of_kinds(&labels);
        Self::Classes { labels, classes }
    }
}

impl Targets {
    /// Vectors of `width` numbers, one after the other.
    #[must_use]
    pub fn vectors(values: Vec<f32>, width: usize) -> Self {
        Self::Vectors { values, width }
    }

    /// `length` tokens of each sample, one after the other; the vocabulary is as large as the largest says.
    #[must_use]
    pub fn tokens(tokens: Vec<u32>, length: usize) -> Self {
        let vocabulary = count_of_kinds(&tokens);
        Self::Tokens { tokens, length, vocabulary }
    }

    /// Values of a sample: 1, the width, or the length.
    #[must_use]
    pub fn per_sample(&self) -> usize {
        match self {
            Self::Classes { .. } => 1,
            Self::Vectors { width, .. } => *width,
            Self::Tokens { length, .. } | Self::Next { length, .. } => *length,
        }
    }

    /// Classes to tell apart, or tokens of the vocabulary; the width of vectors: what a network has to have as outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classes { classes, .. } => *classes,
            Self::Vectors { width, .. } => *width,
            Self::Tokens { vocabulary, .. } | Self::Next { vocabulary, .. } => *vocabulary,
        }
    }

    /// Classes or tokens in their order; nothing of vectors, and of windows, whose samples hold them.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        match self {
            Self::Classes { labels, .. } => labels,
            Self::Tokens { tokens, .. } => tokens,
            Self::Vectors { .. } | Self::Next { .. } => &[],
        }
    }

    /// Values of all samples.
    #[must_use]
    pub fn values(&self) -> usize {
        match self {
            Self::Vectors { values, .. } => values.len(),
            Self::Next { windows, length, .. } => windows * length,
            Self::Classes { .. } | Self::Tokens { .. } => self.labels().len(),
        }
    }

    /// Samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values().checked_div(self.per_sample()).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them as they lie in memory, which is also how kernels read them: a word a value.
    #[must_use]
    pub fn as_words(&self) -> &[u32] {
        match self {
            Self::Vectors { values, .. } => bytemuck::cast_slice(values),
            Self::Classes { .. } | Self::Tokens { .. } | Self::Next { .. } => self.labels(),
        }
    }

    /// What sample `i` counts as where classes are kept in proportion: its class; others are all of one kind.
    pub(super) fn stratum(&self, i: usize) -> usize {
        match self {
            Self::Classes { labels, .. } => labels[i] as usize,
            Self::Vectors { .. } | Self::Tokens { .. } | Self::Next { .. } => 0,
        }
    }

    /// How many kinds [`Targets::stratum`] tells apart.
    pub(super) fn strata(&self) -> usize {
        match self {
            Self::Classes { classes, .. } => *classes,
            Self::Vectors { .. } | Self::Tokens { .. } | Self::Next { .. } => 1,
        }
    }

    /// Where the first number stands that is not finite.
    pub(super) fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::Vectors { values, .. } => first_not_finite(values),
            Self::Classes { .. } | Self::Tokens { .. } | Self::Next { .. } => None,
        }
    }

    /// Where the first class or token stands that is not below the number of them.
    pub(super) fn first_past_the_last(&self) -> Option<usize> {
        self.labels().iter().position(|label| *label as usize >= self.outputs())
    }

    /// None, of the same kind; those of windows would be tokens.
    pub(super) fn none_like(&self) -> Self {
        match *self {
            Self::Classes { classes, .. } => Self::Classes { labels: Vec::new(), classes },
            Self::Vectors { width, .. } => Self::Vectors { values: Vec::new(), width },
            Self::Tokens { length, vocabulary, .. } | Self::Next { length, vocabulary, .. } => {
                Self::Tokens { tokens: Vec::new(), length, vocabulary }
            }
        }
    }

    /// Appends those of sample `i` of others of the same kind; whether there are such.
    pub(crate) fn extend(&mut self, others: &Self, i: usize) -> bool {
        let range: Range<usize> = i * others.per_sample()..(i + 1) * others.per_sample();
        match (self, others) {
            (Self::Vectors { values: own, .. }, Self::Vectors { values: others, .. }) => append(own, others, range),
            (Self::Classes { labels: own, .. }, Self::Classes { labels: others, .. })
            | (Self::Tokens { tokens: own, .. }, Self::Tokens { tokens: others, .. }) => append(own, others, range),
            _ => false,
        }
    }
}
