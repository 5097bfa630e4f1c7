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
}

impl ValueShape {
    /// Elements of a sample, padding left out.
    #[must_use]
    pub fn features(self) -> usize {
        match self {
            Self::Features(features) => features,
            Self::Image { channels, height, width } => channels * height * width,
        }
    }

    /// Whether a side is 0.
    #[must_use]
    pub(super) fn is_empty(self) -> bool {
        match self {
            Self::Features(features) => features == 0,
            Self::Image { channels, height, width } => [channels, height, width].contains(&0),
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
        };
        let words = sides.into_iter().try_fold(1usize, |product, side| product.checked_mul(side?));
        words.is_some_and(|words| u32::try_from(words).is_ok())
    }

    /// Words of a sample in memory.
    #[must_use]
    pub fn words(self) -> usize {
        self.pixels() * self.stride()
    }

    /// Pixels of a sample; 1 for a row of features.
    #[must_use]
    pub fn pixels(self) -> usize {
        match self {
            Self::Features(_) => 1,
            Self::Image { height, width, .. } => height * width,
        }
    }

    /// Channels of a pixel.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Features(features) => features,
            Self::Image { channels, .. } => channels,
        }
    }

    /// Words from one pixel to the next.
    #[must_use]
    pub fn stride(self) -> usize {
        match self {
            Self::Features(features) => features,
            Self::Image { channels, .. } => padded_channels(channels),
        }
    }

    /// [height, width, channels] of an image.
    #[must_use]
    pub fn image(self) -> Option<[usize; 3]> {
        match self {
            Self::Features(_) => None,
            Self::Image { channels, height, width } => Some([height, width, channels]),
        }
    }
}

impl fmt::Display for ValueShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(features) => write!(f, "{features} features"),
            Self::Image { channels, height, width } => write!(f, "an image of {channels} x {height} x {width}"),
        }
    }
}
