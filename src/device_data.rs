//! A data set on the device: resident where it fits, else a batch at a time.

use crate::{
    data::{BatchOrder, DataError, Dataset, SampleType, Targets},
    gpu::{Buffer, Gpu, GpuError, Limits, WORD_BYTES},
    graph::{BatchInfo, DataViews, TargetKind},
    kernels::{Augmentation, SampleElement},
    noise::FreshLabels,
};

/// A data set that cannot be brought to the device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceDataError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// A data set with the buffers that kernels read it from.
#[derive(Debug)]
pub struct DeviceData {
    data: Dataset,
    views: DataViews,
    order: Vec<u32>,
    /// Whether the samples' buffer holds all of them, or a batch at a time.
    resident: bool,
    /// Labels drawn anew each epoch, where some are, and the epoch.
    fresh: Option<FreshLabels>,
    epoch: u64,
}

/// Bytes of a sample, and words of its targets.
#[derive(Clone, Copy, Debug)]
pub struct SampleSize {
    /// Of its values.
    pub bytes: usize,
    /// Of its targets: 1 for a class.
    pub target_words: usize,
    /// Whether the targets are among the values, as those of windows are, as long as all samples are held.
    pub shared: bool,
}

impl SampleSize {
    /// Those of a data set.
    #[must_use]
    pub fn new(data: &Dataset) -> Self {
        let shared = data.windows().is_some();
        Self { bytes: data.sample_bytes(), target_words: data.targets.per_sample(), shared }
    }

    /// Whether so many samples, and their targets, fit a binding each.
    fn is_resident(self, limits: Limits, samples: usize) -> bool {
        let largest = (self.bytes as u64).max(self.target_words as u64 * WORD_BYTES);
        (samples as u64).saturating_mul(largest) <= limits.binding_bytes
    }
}

impl DeviceData {
    /// Uploads a data set whole if its samples, and its targets, fit one binding, so that an epoch uploads only indices; otherwise each
    /// batch of `batch` samples is uploaded when its turn comes. `normalisation` is mean and standard deviation of the
    /// inputs in [0, 1], one pair for each channel or one for all.
    ///
    /// # Errors
    /// As [`Gpu::buffer`] and [`Dataset::check`].
    pub fn new(gpu: &Gpu, data: Dataset, batch: usize, normalisation: &[[f32; 2]]) -> Result<Self, DeviceDataError> {
        let resident = SampleSize::new(&data).is_resident(gpu.limits(), data.len());
        Self::with_residency(gpu, data, batch, normalisation, resident)
    }

    /// Bytes that [`DeviceData::new`] takes on a device of these limits for so many samples of a size: these, and targets, index
    /// and id of each sample.
    #[must_use]
    pub fn bytes(limits: Limits, samples: usize, size: SampleSize, batch: usize) -> u64 {
        let resident = size.is_resident(limits, samples);
        let (held, words) = if resident { (samples, 1) } else { (batch, 2) };
        let target_words = if resident && size.shared { 0 } else { size.target_words };
        (held * size.bytes) as u64 + (held * (words + target_words)) as u64 * WORD_BYTES
    }

    /// As [`DeviceData::new`], resident or not as told.
    ///
    /// # Errors
    /// As [`DeviceData::new`].
    pub fn with_residency(
        gpu: &Gpu,
        data: Dataset,
        batch: usize,
        normalisation: &[[f32; 2]],
        resident: bool,
    ) -> Result<Self, DeviceDataError> {
        data.check()?;
        let held = if resident { data.len() } else { batch };
        let order = data.places(BatchOrder::Sequential, 0, 0);
        let in_windows = resident && data.windows().is_some();
        let (samples, targets): (Buffer, Buffer) = if in_windows {
            let text = gpu.upload("text", &data.samples.to_words())?;
            (text.clone(), text)
        } else if resident {
            (gpu.upload("samples", &data.samples.to_words())?, gpu.upload("targets", data.targets.as_words())?)
        } else {
            let words = (held * data.sample_bytes()).div_ceil(4);
            let targets = held * data.targets.per_sample();
            (gpu.buffer("batch samples", words)?, gpu.buffer("batch targets", targets)?)
        };
        let positions: Vec<u32> = if resident { order.clone() } else { (0..held as u32).collect() };
        let indices = gpu.upload("indices", &positions)?.view();
        let ids = if resident { indices.clone() } else { gpu.upload("ids", &positions)?.view() };
        let mean_and_std = |channel: usize| normalisation.get(channel).or(normalisation.first()).unwrap_or(&[0.0, 1.0]);
        let affine: Vec<[f32; 2]> = (0..data.shape.channels)
            .map(|channel| {
                let [mean, std] = mean_and_std(channel);
                [1.0 / (data.full_scale * std), -mean / std]
            })
            .collect();
        let views = DataViews {
            samples: samples.view(),
            sample_element: match data.samples.kind() {
                SampleType::U8 => SampleElement::U8,
                SampleType::F32 => SampleElement::F32,
                SampleType::U32 => SampleElement::U32,
            },
            vocabulary: data.samples.vocabulary(),
            targets: targets.view(),
            target_kind: match data.targets {
                Targets::Classes { classes, .. } => TargetKind::Classes(classes),
                Targets::Vectors { width, .. } => TargetKind::Vectors(width),
                Targets::Next { length, vocabulary, .. } if in_windows => TargetKind::Next { length, vocabulary },
                Targets::Tokens { length, vocabulary, .. } | Targets::Next { length, vocabulary, .. } => {
                    TargetKind::Tokens { length, vocabulary }
                }
            },
            indices,
            ids,
            normalisation: gpu.upload("normalisation", &affine)?.view(),
            sample: [data.shape.channels, data.shape.height, data.shape.width],
            augment: Augmentation::default(),
        };
        Ok(Self { data, views, order, resident, fresh: None, epoch: 0 })
    }

    /// The same data, its samples changed at random.
    #[must_use]
    pub fn augmented(mut self, augment: Augmentation) -> Self {
        self.views.augment = augment;
        self
    }

    /// The same data, labels of which are drawn anew each epoch, if any; targets that are no classes stay as they are.
    #[must_use]
    pub fn relabelled(self, fresh: Option<FreshLabels>) -> Self {
        Self { fresh, ..self }
    }

    /// The data as they are in host memory.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.data
    }

    /// What kernels are bound to.
    #[must_use]
    pub fn views(&self) -> &DataViews {
        &self.views
    }

    /// Most samples that [`DeviceData::stage`] makes ready at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.views.indices.len()
    }

    /// Samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Sets the order in which batches take samples, by [`Dataset::places`]: a permutation of all samples, or as many windows of a
    /// text as it has one after the other.
    ///
    /// # Errors
    /// As [`Gpu::write`]; [`GpuError::Length`] or [`GpuError::Value`] for an order of other samples than there are.
    pub fn set_order(&mut self, gpu: &Gpu, order: Vec<u32>) -> Result<(), GpuError> {
        let (found, expected, limit) = (order.len(), self.len(), self.data.places_end());
        if found != expected {
            return Err(GpuError::Length { kernel: "gather", argument: "order", expected, found });
        }
        if let Some(at) = order.iter().position(|sample| *sample as usize >= limit) {
            return Err(GpuError::Value { what: "the order of samples", at, limit, found: order[at] });
        }
        if self.resident {
            gpu.write(&self.views.indices, &order)?;
        }
        self.order = order;
        Ok(())
    }

    /// Begins an epoch: draws the labels that it has anew, and sets the order of its samples as [`DeviceData::set_order`] does.
    ///
    /// # Errors
    /// As [`DeviceData::set_order`].
    pub fn begin_epoch(&mut self, gpu: &Gpu, epoch: u64, order: Vec<u32>) -> Result<(), GpuError> {
        self.epoch = epoch;
        if self.resident && self.fresh.is_some() {
            let targets = self.visited(self.data.targets.clone(), 0..self.len() as u32);
            gpu.write(&self.views.targets, targets.as_words())?;
        }
        self.set_order(gpu, order)
    }

    /// The targets of these samples as the epoch has them.
    fn visited(&self, mut targets: Targets, samples: impl Iterator<Item = u32>) -> Targets {
        if let (Some(fresh), Targets::Classes { labels, classes }) = (&self.fresh, &mut targets) {
            fresh.replace(self.epoch, samples, labels, *classes);
        }
        targets
    }

    /// The classes or tokens to be predicted of so many samples from position `first` on, in their order: [valid, positions].
    pub(crate) fn labels(&self, first: usize, valid: usize) -> Vec<u32> {
        self.order.get(first..first + valid).map_or(Vec::new(), |places| self.data.labels_at(places))
    }

    /// All samples in their order, in batches of `size`, the last with what is left: each is made ready when its turn comes,
    /// and has its number as its slot.
    ///
    /// # Errors
    /// As [`DeviceData::stage`].
    pub fn batches<'a>(
        &'a self,
        gpu: &'a Gpu,
        size: usize,
    ) -> impl Iterator<Item = Result<BatchInfo, GpuError>> + use<'a> {
        (0..self.len()).step_by(size).enumerate().map(move |(index, first)| {
            let valid = size.min(self.len() - first);
            Ok(BatchInfo::new(self.stage(gpu, first, valid)?, valid as u32, index as u32))
        })
    }

    /// Makes the batch of `valid` samples from position `first` ready; returns the position that kernels start from.
    ///
    /// # Errors
    /// As [`Gpu::write`]; [`GpuError::Shape`] for a batch that ends past the data or is larger than was made room for.
    pub fn stage(&self, gpu: &Gpu, first: usize, valid: usize) -> Result<u32, GpuError> {
        if first > self.len() || valid > self.capacity().min(self.len() - first) {
            let shape = format!("{valid} samples from {first} on, of {}", self.len());
            let reason = "the batch ends past the data, or is larger than there is room for";
            return Err(GpuError::Shape { kernel: "gather", shape, reason });
        }
        if self.resident {
            return Ok(first as u32);
        }
        let order = &self.order[first..first + valid];
        let (samples, targets) = self.data.gathered(order.iter().map(|index| *index as usize));
        gpu.write(&self.views.samples, &samples.to_words())?;
        let targets = self.visited(targets, order.iter().copied());
        gpu.write(&self.views.targets, targets.as_words())?;
        gpu.write(&self.views.ids, order)?;
        Ok(0)
    }
}
