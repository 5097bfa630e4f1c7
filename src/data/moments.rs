//! Mean and standard deviation of the values.

use std::ops::Range;

use super::{Dataset, Samples};

impl Dataset {
    /// Mean and population standard deviation of all values, bytes scaled to 0 to 1; NaN where there are none. Tokens are not
    /// normalised: 0 and 1.
    #[must_use]
    pub fn mean_std(&self) -> (f32, f32) {
        self.moments(std::iter::once(0..self.samples.len()))
    }

    /// As [`mean_std`](Self::mean_std), for each channel.
    #[must_use]
    pub fn channel_mean_std(&self) -> Vec<(f32, f32)> {
        let plane = self.shape.height * self.shape.width;
        let (features, channels) = (self.features(), self.shape.channels);
        let planes = |channel| (0..self.len()).map(move |sample| sample * features + channel * plane);
        (0..channels).map(|channel| self.moments(planes(channel).map(|start| start..start + plane))).collect()
    }

    /// Of the values in these ranges, as far as they are there.
    fn moments(&self, ranges: impl Iterator<Item = Range<usize>> + Clone) -> (f32, f32) {
        let (mean, deviation) = match &self.samples {
            Samples::U8(values) => exact_moments(ranges.filter_map(|range| values.get(range)).flatten().copied()),
            Samples::U32(_) | Samples::Windows(_) => return (0.0, 1.0),
            Samples::F32(values) => {
                moments(ranges.filter_map(|range| values.get(range)).flatten().map(|value| f64::from(*value)))
            }
        };
        let scale = f64::from(self.full_scale);
        ((mean / scale) as f32, (deviation / scale) as f32)
    }
}

/// Mean and standard deviation. Integer sums are exact, so the result does not depend on the order of the samples.
fn exact_moments(bytes: impl Iterator<Item = u8>) -> (f64, f64) {
    let (count, sum, squares) = bytes.fold((0u64, 0u64, 0u64), |(count, sum, squares), byte| {
        let byte = u64::from(byte);
        (count + 1, sum + byte, squares + byte * byte)
    });
    let spread = u128::from(squares) * u128::from(count) - u128::from(sum) * u128::from(sum);
    let count = count as f64;
    (sum as f64 / count, (spread as f64).sqrt() / count)
}

/// Mean and standard deviation of numbers, in two passes in f64.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (count, sum) = values.clone().fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    let mean = sum / count;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / count).sqrt())
}
