//! Data sets: bytes in, host arrays out.
//!
//! [`DataSource`] names a data set and loads it as a [`Split`] of two [`Dataset`]s, [`epoch_order`] says in which order
//! an epoch visits the samples. Pixels stay the bytes of the file; [`Dataset::full_scale`] tells what a byte means, so
//! that the device can scale them where it needs them and the host holds a quarter of the memory. Data of one's own may be
//! numbers instead: [`Samples`].
//!
//! ```
//! use jostle::data::{BatchOrder, DataSource, epoch_order};
//!
//! let split = DataSource::Digits.load()?;
//! let train = split.train.subset(1000, 1)?;
//! for batch in epoch_order(train.len(), BatchOrder::Shuffled, 1, 0).chunks(100) {
//!     assert_eq!(batch.len(), 100);
//! }
//! # Ok::<(), jostle::data::DataError>(())
//! ```

mod bytes;
mod cifar;
mod digits;
mod error;
mod folder;
mod idx;
mod label_noise;
mod order;
mod samples;
mod source;
pub(crate) mod untrusted;

pub use error::DataError;
pub use label_noise::LabelNoise;
pub use order::{BatchOrder, epoch_order};
pub use samples::{SampleType, Samples};
pub use source::DataSource;

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

/// Labelled images in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The data set's name, as [`DataSource`] prints it.
    pub name: String,
    /// `[len, channels * height * width]`, row-major: raw values, bytes from 0 to `full_scale`.
    pub samples: Samples,
    /// `[len]`: the class of each sample, below `classes`.
    pub labels: Vec<u32>,
    /// The shape of one sample.
    pub shape: SampleShape,
    /// The number of classes.
    pub classes: usize,
    /// The raw value that means 1.0: 255 for images, 16 for the digits, 1 for numbers.
    pub full_scale: f32,
    /// Mean and standard deviation of each channel, scaled to 0 to 1, by which the literature normalises this data set;
    /// empty where there are none.
    pub published: &'static [[f32; 2]],
}

impl Dataset {
    /// Labelled samples in memory: `samples` [len, channels, height, width] of bytes, of which 255 means 1.0, or of f32, which
    /// stand as they are, and a class of each sample `[len]`; there are as many classes as the largest says. Rows of features
    /// are shapes of one row.
    ///
    /// ```
    /// use jostle::data::{Dataset, SampleShape};
    ///
    /// let shape = SampleShape { channels: 1, height: 1, width: 2 };
    /// let bytes = Dataset::from_arrays("mine", vec![0u8, 255, 255, 0, 10, 200], vec![1, 0, 1], shape)?;
    /// assert_eq!((bytes.len(), bytes.classes), (3, 2));
    /// let numbers = Dataset::from_arrays("mine", vec![0.5f32, -1.5, 20.0, 0.0], vec![1, 0], shape)?;
    /// assert_eq!(numbers.mean_std().0, 4.75);
    /// # Ok::<(), jostle::data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// [`DataError::PixelCount`] where samples and labels are not as many, or there are none; [`DataError::NotFinite`].
    pub fn from_arrays(
        name: &str,
        samples: impl Into<Samples>,
        labels: Vec<u32>,
        shape: SampleShape,
    ) -> Result<Self, DataError> {
        let classes = labels.iter().max().map_or(0, |label| *label as usize + 1);
        let (name, samples) = (name.to_owned(), samples.into());
        let full_scale = if samples.kind() == SampleType::U8 { 255.0 } else { 1.0 };
        let data = Self { name, samples, labels, shape, classes, full_scale, published: &[] };
        data.check()?;
        if data.samples.is_empty() {
            let (name, features) = (data.name, shape.features());
            return Err(DataError::PixelCount { name, samples: 0, features, found: 0 });
        }
        Ok(data)
    }

    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample. No reader of this crate gives such a data set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The values of one sample: channels x height x width.
    #[must_use]
    pub fn features(&self) -> usize {
        self.shape.features()
    }

    /// Bytes of one sample.
    #[must_use]
    pub fn sample_bytes(&self) -> usize {
        self.features() * self.samples.kind().bytes()
    }

    /// Holds the parts against each other: every sample has its values, all finite, every label is below
    /// [`classes`](Self::classes).
    /// Readers see to both; a data set put together by hand passes here before it reaches a device.
    ///
    /// # Errors
    ///
    /// [`DataError::PixelCount`], [`DataError::NotFinite`] or [`DataError::SampleLabel`].
    pub fn check(&self) -> Result<(), DataError> {
        let expected = self.features().checked_mul(self.len());
        if expected != Some(self.samples.len()) {
            let (name, samples, features) = (self.name.clone(), self.len(), self.features());
            return Err(DataError::PixelCount { name, samples, features, found: self.samples.len() });
        }
        if let Some(at) = self.samples.first_not_finite() {
            let (name, sample, value) = (self.name.clone(), at / self.features(), at % self.features());
            return Err(DataError::NotFinite { name, sample, value });
        }
        match self.labels.iter().position(|label| *label as usize >= self.classes) {
            Some(sample) => {
                let (name, classes, found) = (self.name.clone(), self.classes, self.labels[sample]);
                Err(DataError::SampleLabel { name, sample, classes, found })
            }
            None => Ok(()),
        }
    }

    /// Where the values of sample `i` stand among all.
    fn place(&self, i: usize) -> std::ops::Range<usize> {
        i * self.features()..(i + 1) * self.features()
    }

    /// The values of sample `i`, as bytes in memory, and its label, or `None` where there are not so many.
    #[must_use]
    pub fn sample(&self, i: usize) -> Option<(&[u8], u32)> {
        let label = *self.labels.get(i)?;
        let start = i.checked_mul(self.sample_bytes())?;
        let bytes = self.samples.as_bytes().get(start..start.checked_add(self.sample_bytes())?)?;
        Some((bytes, label))
    }

    /// The values of these samples, one after the other, and their labels; samples that there are not are left out.
    pub(crate) fn gathered(&self, indices: impl Iterator<Item = usize>) -> (Samples, Vec<u32>) {
        let (mut samples, mut labels) = (self.samples.none_like(), Vec::new());
        for i in indices {
            if let Some(label) = self.labels.get(i)
                && samples.extend(&self.samples, self.place(i))
            {
                labels.push(*label);
            }
        }
        (samples, labels)
    }

    /// `n` random samples, none twice, in the order they have here, with the same name and number of classes.
    ///
    /// The choice depends on [`len`](Self::len), `n` and `seed` alone, and the samples of a smaller subset are among
    /// those of a larger one by the same seed. Classes are not balanced.
    ///
    /// # Errors
    ///
    /// [`DataError::SubsetSize`] where `n` is 0 or above `len()`.
    pub fn subset(&self, n: usize, seed: u64) -> Result<Self, DataError> {
        if n == 0 || n > self.len() {
            return Err(DataError::SubsetSize { name: self.name.clone(), n, len: self.len() });
        }
        let indices = order::subset_indices(self.len(), n, seed);
        Ok(self.select(indices.iter().map(|&i| i as usize)))
    }

    /// As [`subset`](Self::subset), each class in proportion to its samples here, up to rounding: what is left of `n`
    /// after rounding down goes to the classes that lost most, the lower label first.
    ///
    /// # Errors
    ///
    /// [`DataError::SubsetSize`] where `n` is 0 or above `len()`.
    pub fn stratified_subset(&self, n: usize, seed: u64) -> Result<Self, DataError> {
        let chosen =
            self.stratified_indices(n, &|len, quota, class| order::class_subset_indices(len, quota, seed, class))?;
        Ok(self.select(chosen.into_iter()))
    }

    /// Keeps `n` random samples apart, each class in proportion as in [`stratified_subset`](Self::stratified_subset), by a
    /// draw of its own; both parts have their samples in the order they have here.
    ///
    /// # Errors
    ///
    /// [`DataError::SubsetSize`] where `n` is 0 or above `len()`.
    pub fn set_apart(&self, n: usize, seed: u64) -> Result<Parts, DataError> {
        let draw = |len, quota, class| order::class_validation_indices(len, quota, seed, class);
        let apart = self.stratified_indices(n, &draw)?;
        let rest = (0..self.len()).filter(|index| apart.binary_search(index).is_err());
        Ok(Parts { rest: self.select(rest), apart: self.select(apart.iter().copied()) })
    }

    /// Samples of each class.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for label in &self.labels {
            counts[*label as usize] += 1;
        }
        counts
    }

    /// Ascending indices of `n` samples, each class in proportion; `draw` takes so many (the second) of so many (the first)
    /// members of a class.
    fn stratified_indices(
        &self,
        n: usize,
        draw: &dyn Fn(usize, usize, u64) -> Vec<u32>,
    ) -> Result<Vec<usize>, DataError> {
        if n == 0 || n > self.len() {
            return Err(DataError::SubsetSize { name: self.name.clone(), n, len: self.len() });
        }
        let mut members = vec![Vec::new(); self.classes];
        for (index, label) in self.labels.iter().enumerate() {
            members[*label as usize].push(index);
        }
        let quotas = proportional(n, &members.iter().map(Vec::len).collect::<Vec<_>>());
        let mut chosen = Vec::with_capacity(n);
        for (class, (members, quota)) in members.iter().zip(quotas).enumerate() {
            let drawn = draw(members.len(), quota, class as u64);
            chosen.extend(drawn.into_iter().map(|i| members[i as usize]));
        }
        chosen.sort_unstable();
        Ok(chosen)
    }

    /// Mean and population standard deviation of all values, bytes scaled to 0 to 1; NaN where there are none.
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
    fn moments(&self, ranges: impl Iterator<Item = std::ops::Range<usize>> + Clone) -> (f32, f32) {
        let (mean, deviation) = match &self.samples {
            Samples::U8(values) => exact_moments(ranges.filter_map(|range| values.get(range)).flatten().copied()),
            Samples::F32(values) => {
                moments(ranges.filter_map(|range| values.get(range)).flatten().map(|value| f64::from(*value)))
            }
        };
        let scale = f64::from(self.full_scale);
        ((mean / scale) as f32, (deviation / scale) as f32)
    }

    /// The samples of these indices, in their order.
    fn select(&self, indices: impl Iterator<Item = usize>) -> Self {
        let (samples, labels) = self.gathered(indices);
        Self { samples, labels, name: self.name.clone(), ..*self }
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

/// `n` shared out in proportion to `counts`, by the largest remainders; never more than a count.
fn proportional(n: usize, counts: &[usize]) -> Vec<usize> {
    let total = counts.iter().sum::<usize>().max(1) as u128;
    let exact = |count: usize| count as u128 * n as u128;
    let mut quotas: Vec<usize> = counts.iter().map(|&count| (exact(count) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(exact(counts[class]) % total));
    let left = n - quotas.iter().sum::<usize>();
    for class in by_remainder.into_iter().take(left) {
        quotas[class] += 1;
    }
    quotas
}

/// A data set in two.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// The samples that stay.
    pub rest: Dataset,
    /// Those kept apart.
    pub apart: Dataset,
}

/// A data set's training and test part: same shape, same classes, same scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The samples to train on.
    pub train: Dataset,
    /// The samples to measure generalisation on.
    pub test: Dataset,
}
