//! The shape of a value, and how it lies in memory.

use std::fmt;

use crate::kernels::padded_channels;

/// What one sample of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueShape {
    /// A row of features: [batch, features].
    Features(usize),
    /// An image: [batch, height, width, channels], the channels padded to whole vec4s.
    Image {
        /// Channels in use.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A sequence of vectors: [batch, length, features].
    Sequence {
        /// Positions.
        length: usize,
        /// Features of each.
        features: usize,
    },
    /// A text as numbers in a vocabulary: [batch, length] of u32. What a model may begin with, and nothing else has.
    Tokens {
        /// Positions.
        length: usize,
        /// Tokens are below this.
        vocabulary: usize,
    },
}

impl ValueShape {
    /// Elements of a sample, padding left out.
    #[must_use]
    pub fn features(self) -> usize {
        match self {
            Self::Features(features) => features,
            Self::Image { channels, height, width } => channels * height * width,
            Self::Sequence { length, features } => length * features,
            Self::Tokens { length, .. } => length,
        }
    }

    /// Whether a side is 0.
    #[must_use]
    pub(super) fn is_empty(self) -> bool {
        match self {
            Self::Features(features) => features == 0,
            Self::Image { channels, height, width } => [channels, height, width].contains(&0),
            Self::Sequence { length, features: other } | Self::Tokens { length, vocabulary: other } => {
                length == 0 || other == 0
            }
        }
    }

    /// Whether a kernel's 32 bits can index a sample, padding included. A graph holds no other shapes, and so nothing
    /// below overflows.
    #[must_use]
    pub(super) fn is_indexable(self) -> bool {
        let sides = match self {
            Self::Features(features) => [Some(features), Some(1), Some(1)],
            Self::Image { channels, height, width } => {
                [channels.checked_next_multiple_of(4), Some(height), Some(width)]
            }
            Self::Sequence { length, features } => [Some(length), Some(features), Some(1)],
            // A token is a word, however many there are to choose from.
            Self::Tokens { length, vocabulary } => [Some(length), u32::try_from(vocabulary).ok().map(|_| 1), Some(1)],
        };
        let words = sides.into_iter().try_fold(1usize, |product, side| product.checked_mul(side?));
        words.is_some_and(|words| u32::try_from(words).is_ok())
    }

    /// Words of a sample in memory.
    #[must_use]
    pub fn words(self) -> usize {
        self.pixels() * self.stride()
    }

    /// Pixels of an image, vectors of a sequence, tokens of a text; 1 for a row of features.
    #[must_use]
    pub fn pixels(self) -> usize {
        match self {
            Self::Features(_) => 1,
            Self::Image { height, width, .. } => height * width,
            Self::Sequence { length, .. } | Self::Tokens { length, .. } => length,
        }
    }

    /// Channels of a pixel, features of a vector.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Tokens { .. } => 1,
            Self::Features(features) | Self::Sequence { features, .. } => features,
            Self::Image { channels, .. } => channels,
        }
    }

    /// Words from one pixel to the next.
    #[must_use]
    pub fn stride(self) -> usize {
        match self {
            Self::Image { channels, .. } => padded_channels(channels),
            Self::Features(_) | Self::Sequence { .. } | Self::Tokens { .. } => self.channels(),
        }
    }

    /// [channels, height, width] of a sample as data sets have it: one row of features or tokens, a row for each vector of a
    /// sequence.
    #[must_use]
    pub fn sample_sides(self) -> [usize; 3] {
        match self {
            Self::Features(width) | Self::Tokens { length: width, .. } => [1, 1, width],
            Self::Sequence { length, features } => [1, length, features],
            Self::Image { channels, height, width } => [channels, height, width],
        }
    }

    /// [height, width, channels] of an image.
    #[must_use]
    pub fn image(self) -> Option<[usize; 3]> {
        match self {
            Self::Image { channels, height, width } => Some([height, width, channels]),
            Self::Features(_) | Self::Sequence { .. } | Self::Tokens { .. } => None,
        }
    }
}

impl fmt::Display for ValueShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(features) => write!(f, "{features} features"),
            Self::Image { channels, height, width } => write!(f, "an image of {channels} x {height} x {width}"),
            Self::Sequence { length, features } => write!(f, "a sequence of {length} x {features}"),
            Self::Tokens { length, vocabulary } => write!(f, "{length} tokens below {vocabulary}"),
        }
    }
}
