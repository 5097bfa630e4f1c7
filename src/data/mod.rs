//! Data sets: bytes in, host arrays out.
//!
//! [`DataSource`] names a data set and loads it as a [`Split`] of two [`Dataset`]s, [`epoch_order`] says in which order
//! an epoch visits the samples. Pixels stay the bytes of the file; [`Dataset::full_scale`] tells what a byte means, so
//! that the device can scale them where it needs them and the host holds a quarter of the memory.
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
mod source;
pub(crate) mod untrusted;

pub use error::DataError;
pub use label_noise::LabelNoise;
pub use order::{BatchOrder, epoch_order};
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
    /// `[len, channels * height * width]`, row-major: raw values from 0 to `full_scale`.
    pub pixels: Vec<u8>,
    /// `[len]`: the class of each sample, below `classes`.
    pub labels: Vec<u32>,
    /// The shape of one sample.
    pub shape: SampleShape,
    /// The number of classes.
    pub classes: usize,
    /// The raw value that means 1.0: 255 for images, 16 for the digits.
    pub full_scale: f32,
    /// Mean and standard deviation of each channel, scaled to 0 to 1, by which the literature normalises this data set;
    /// empty where there are none.
    pub published: &'static [[f32; 2]],
}

impl Dataset {
    /// Labelled samples in memory: `samples` [len, channels, height, width] of bytes, of which 255 means 1.0, and a class of
    /// each sample `[len]`; there are as many classes as the largest says. Rows of features are shapes of one row.
    ///
    /// ```
    /// use jostle::data::{Dataset, SampleShape};
    ///
    /// let shape = SampleShape { channels: 1, height: 1, width: 2 };
    /// let data = Dataset::from_arrays("mine", vec![0, 255, 255, 0, 10, 200], vec![1, 0, 1], shape)?;
    /// assert_eq!((data.len(), data.classes), (3, 2));
    /// # Ok::<(), jostle::data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// [`DataError::PixelCount`] where samples and labels are not as many, or there are none.
    pub fn from_arrays(name: &str, samples: Vec<u8>, labels: Vec<u32>, shape: SampleShape) -> Result<Self, DataError> {
        let classes = labels.iter().max().map_or(0, |label| *label as usize + 1);
        let (name, pixels) = (name.to_owned(), samples);
        let data = Self { name, pixels, labels, shape, classes, full_scale: 255.0, published: &[] };
        data.check()?;
        if data.pixels.is_empty() {
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

    /// Holds the parts against each other: every sample has its pixels, every label is below [`classes`](Self::classes).
    /// Readers see to both; a data set put together by hand passes here before it reaches a device.
    ///
    /// # Errors
    ///
    /// [`DataError::PixelCount`] or [`DataError::SampleLabel`].
    pub fn check(&self) -> Result<(), DataError> {
        let expected = self.features().checked_mul(self.len());
        if expected != Some(self.pixels.len()) {
            let (name, samples, features) = (self.name.clone(), self.len(), self.features());
            return Err(DataError::PixelCount { name, samples, features, found: self.pixels.len() });
        }
        match self.labels.iter().position(|label| *label as usize >= self.classes) {
            Some(sample) => {
                let (name, classes, found) = (self.name.clone(), self.classes, self.labels[sample]);
                Err(DataError::SampleLabel { name, sample, classes, found })
            }
            None => Ok(()),
        }
    }

    /// The pixels `[features]` and the label of sample `i`, or `None` where there are not so many.
    #[must_use]
    pub fn sample(&self, i: usize) -> Option<(&[u8], u32)> {
        let label = *self.labels.get(i)?;
        let start = i.checked_mul(self.features())?;
        let pixels = self.pixels.get(start..start.checked_add(self.features())?)?;
        Some((pixels, label))
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

    /// Mean and population standard deviation of all values, scaled to 0 to 1; NaN where there are none.
    #[must_use]
    pub fn mean_std(&self) -> (f32, f32) {
        self.moments(self.pixels.iter().copied())
    }

    /// As [`mean_std`](Self::mean_std), for each channel.
    #[must_use]
    pub fn channel_mean_std(&self) -> Vec<(f32, f32)> {
        let plane = self.shape.height * self.shape.width;
        let moments = |channel| {
            let planes = self.pixels.chunks_exact(plane).skip(channel).step_by(self.shape.channels);
            self.moments(planes.flatten().copied())
        };
        (0..self.shape.channels).map(moments).collect()
    }

    fn moments(&self, pixels: impl Iterator<Item = u8>) -> (f32, f32) {
        // Integer sums are exact, so the result does not depend on the order of the samples.
        let (count, sum, squares) = pixels.fold((0u64, 0u64, 0u64), |(count, sum, squares), pixel| {
            let pixel = u64::from(pixel);
            (count + 1, sum + pixel, squares + pixel * pixel)
        });
        let scale = f64::from(self.full_scale);
        let spread = u128::from(squares) * u128::from(count) - u128::from(sum) * u128::from(sum);
        let count = count as f64;
        ((sum as f64 / count / scale) as f32, ((spread as f64).sqrt() / count / scale) as f32)
    }

    /// The samples of these indices, in their order.
    fn select(&self, indices: impl Iterator<Item = usize>) -> Self {
        let mut selected = Self { pixels: Vec::new(), labels: Vec::new(), name: self.name.clone(), ..*self };
        for (pixels, label) in indices.filter_map(|i| self.sample(i)) {
            selected.pixels.extend_from_slice(pixels);
            selected.labels.push(label);
        }
        selected
    }
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
