//! Samples and what is to be predicted of them, in host memory.

use super::{DataError, SampleShape, SampleType, Samples, Targets, Windows};

/// Samples with their targets in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The data set's name, as [`DataSource`](super::DataSource) prints it.
    pub name: String,
    /// `[len, channels * height * width]`, row-major: raw values, bytes from 0 to `full_scale`, or tokens.
    pub samples: Samples,
    /// What is to be predicted of each sample.
    pub targets: Targets,
    /// The shape of one sample.
    pub shape: SampleShape,
    /// The raw value that means 1.0: 255 for images, 16 for the digits, 1 for numbers and tokens.
    pub full_scale: f32,
    /// Mean and standard deviation of each channel, scaled to 0 to 1, by which the literature normalises this data set;
    /// empty where there are none.
    pub published: &'static [[f32; 2]],
}

impl Dataset {
    /// Samples in memory: `samples` [len, channels, height, width] of bytes, of which 255 means 1.0, of f32, which stand as they
    /// are, or of u32, which are tokens; and what is to be predicted of each, by default a class `[len]`, of which there are as
    /// many as the largest says. Rows of features and texts are shapes of one row, sequences of vectors shapes of one channel
    /// with a row for each vector.
    ///
    /// ```
    /// use jostle::data::{Dataset, SampleShape, Targets};
    ///
    /// let shape = SampleShape { channels: 1, height: 1, width: 2 };
    /// let bytes = Dataset::from_arrays("mine", vec![0u8, 255, 255, 0, 10, 200], vec![1, 0, 1], shape)?;
    /// assert_eq!((bytes.len(), bytes.targets.outputs()), (3, 2));
    /// let numbers = Dataset::from_arrays("mine", vec![0.5f32, -1.5, 20.0, 0.0], vec![1, 0], shape)?;
    /// assert_eq!(numbers.mean_std().0, 4.75);
    ///
    /// let regression = Targets::vectors(vec![0.25, 1.0, -2.0], 1);
    /// let curve = Dataset::from_arrays("mine", vec![0.5f32, -1.5, 20.0, 0.0, 1.0, 2.0], regression, shape)?;
    /// assert_eq!(curve.len(), 3);
    /// let next = Targets::tokens(vec![1, 2, 0, 3], 2);
    /// let text = Dataset::from_arrays("mine", vec![0u32, 1, 2, 0], next, shape)?;
    /// assert_eq!((text.samples.vocabulary(), text.targets.outputs()), (3, 4));
    /// # Ok::<(), jostle::data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::check`]; [`DataError::PixelCount`] where there is no sample.
    pub fn from_arrays(
        name: &str,
        samples: impl Into<Samples>,
        targets: impl Into<Targets>,
        shape: SampleShape,
    ) -> Result<Self, DataError> {
        let (name, samples) = (name.to_owned(), samples.into());
        let full_scale = if samples.kind() == SampleType::U8 { 255.0 } else { 1.0 };
        let data = Self { name, samples, targets: targets.into(), shape, full_scale, published: &[] };
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
        self.targets.len()
    }

    /// Whether there is no sample. No reader of this crate gives such a data set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
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

    /// Checks the parts against each other: every sample has its values and its targets, all finite, classes and tokens of
    /// targets below their number. Readers see to that; a data set put together by hand passes here before it reaches a device.
    ///
    /// # Errors
    ///
    /// [`DataError::PixelCount`], [`DataError::TargetCount`], [`DataError::NotFinite`] or [`DataError::SampleLabel`].
    pub fn check(&self) -> Result<(), DataError> {
        let per_sample = self.targets.per_sample();
        if self.targets.values() != self.len() * per_sample {
            let (name, found) = (self.name.clone(), self.targets.values());
            return Err(DataError::TargetCount { name, per_sample, found });
        }
        let expected = match self.windows() {
            // They overlap by what the next one's targets need.
            Some(windows) if windows.count() == self.len() => Some(windows.tokens().len()),
            _ => self.features().checked_mul(self.len()),
        };
        if expected != Some(self.samples.len()) {
            let (name, samples, features) = (self.name.clone(), self.len(), self.features());
            return Err(DataError::PixelCount { name, samples, features, found: self.samples.len() });
        }
        if let Some(at) = self.samples.first_not_finite() {
            let (name, sample, value) = (self.name.clone(), at / self.features(), at % self.features());
            return Err(DataError::NotFinite { name, what: "value", sample, value });
        }
        if let Some(at) = self.targets.first_not_finite() {
            let (name, sample, value) = (self.name.clone(), at / per_sample, at % per_sample);
            return Err(DataError::NotFinite { name, what: "target", sample, value });
        }
        let vocabulary = self.targets.outputs();
        let next = self.windows().map_or(&[][..], Windows::tokens);
        if let Some(at) = next.iter().position(|token| *token as usize >= vocabulary) {
            let (name, sample) = (self.name.clone(), at / self.features().max(1));
            return Err(DataError::SampleLabel { name, sample, classes: vocabulary, found: next[at] });
        }
        match self.targets.first_past_the_last() {
            Some(at) => {
                let (name, classes, found) = (self.name.clone(), self.targets.outputs(), self.targets.labels()[at]);
                Err(DataError::SampleLabel { name, sample: at / per_sample, classes, found })
            }
            None => Ok(()),
        }
    }

    /// Where the values of sample `i` stand among all.
    fn place(&self, i: usize) -> std::ops::Range<usize> {
        i * self.features()..(i + 1) * self.features()
    }

    /// The values of sample `i`, as bytes in memory, and its class, or `None` where there are not so many samples, or no classes.
    #[must_use]
    pub fn sample(&self, i: usize) -> Option<(&[u8], u32)> {
        let Targets::Classes { labels, .. } = &self.targets else { return None };
        let label = *labels.get(i)?;
        let start = i.checked_mul(self.sample_bytes())?;
        let bytes = self.samples.as_bytes().get(start..start.checked_add(self.sample_bytes())?)?;
        Some((bytes, label))
    }

    /// The values of the samples at these [`places`](Self::places), one after the other, and their targets; samples that there are
    /// not are left out.
    pub(crate) fn gathered(&self, indices: impl Iterator<Item = usize>) -> (Samples, Targets) {
        if let Some(windows) = self.windows() {
            return Self::gathered_windows(windows, indices);
        }
        let (mut samples, mut targets) = (self.samples.none_like(), self.targets.none_like());
        for i in indices.filter(|i| *i < self.len()) {
            if samples.extend(&self.samples, self.place(i)) {
                targets.extend(&self.targets, i);
            }
        }
        (samples, targets)
    }

    /// The classes or tokens to be predicted at these [`places`](Self::places), [places, positions]; nothing of vectors.
    pub(crate) fn labels_at(&self, places: &[u32]) -> Vec<u32> {
        let places = places.iter().map(|place| *place as usize);
        if let Some(windows) = self.windows() {
            return places.filter_map(|place| windows.window(place)).flat_map(|[_, next]| next).copied().collect();
        }
        let (labels, per_sample) = (self.targets.labels(), self.targets.per_sample());
        places.filter_map(|i| labels.get(i * per_sample..(i + 1) * per_sample)).flatten().copied().collect()
    }

    /// Samples of each class; of targets that are no classes the number of all.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.targets.strata()];
        for i in 0..self.len() {
            counts[self.targets.stratum(i)] += 1;
        }
        counts
    }

    /// The samples of these indices, in their order.
    pub(super) fn select(&self, indices: impl Iterator<Item = usize>) -> Self {
        if let Some(windows) = self.windows() {
            return self.select_windows(windows, indices);
        }
        let (samples, targets) = self.gathered(indices);
        Self { samples, targets, name: self.name.clone(), ..*self }
    }
}
