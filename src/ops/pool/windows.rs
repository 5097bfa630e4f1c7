//! Windows of 2-d pools.

use crate::kernels::ConvOptions;

/// A pool; pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// The largest of each window; padding never is.
    Max {
        /// Rows and columns of a window.
        kernel: [usize; 2],
        /// Pixels from one window to the next.
        stride: [usize; 2],
        /// At most half a window.
        padding: [usize; 2],
    },
    /// The mean of each window.
    Average {
        /// Rows and columns of a window.
        kernel: [usize; 2],
        /// Pixels from one window to the next.
        stride: [usize; 2],
        /// At most half a window.
        padding: [usize; 2],
        /// Whether padding counts as zeros (PyTorch's default) or not at all.
        count_padding: bool,
    },
    /// Means over windows that share the input out evenly; [1, 1] is a global average.
    AdaptiveAverage {
        /// Rows and columns of the output.
        output: [usize; 2],
    },
}

impl Pool {
    /// A max pool of square windows side by side.
    #[must_use]
    pub fn max(side: usize) -> Self {
        Self::Max { kernel: [side; 2], stride: [side; 2], padding: [0; 2] }
    }

    /// An average pool of square windows side by side.
    #[must_use]
    pub fn average(side: usize) -> Self {
        Self::Average { kernel: [side; 2], stride: [side; 2], padding: [0; 2], count_padding: true }
    }

    /// A mean over each channel.
    #[must_use]
    pub fn global() -> Self {
        Self::AdaptiveAverage { output: [1; 2] }
    }

    /// Height and width of the output for an input of `size`; `None` if a window does not fit, or its padding is more
    /// than half of it.
    #[must_use]
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        match *self {
            Self::AdaptiveAverage { output } => (!output.contains(&0) && !size.contains(&0)).then_some(output),
            Self::Max { kernel, stride, padding } | Self::Average { kernel, stride, padding, .. } => {
                let fits = padding.iter().zip(kernel).all(|(padding, kernel)| *padding <= kernel / 2 && kernel > 0);
                let window = ConvOptions { kernel, stride, padding, dilation: [1; 2], groups: 1 };
                if fits { window.output_size(size) } else { None }
            }
        }
    }

    /// Whether forward keeps what it chose.
    #[must_use]
    pub fn chooses(&self) -> bool {
        matches!(self, Self::Max { .. })
    }
}
