//! A batch from the resident bytes, augmented and normalised: the host side of `shaders/gather.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View};

use super::{Target, flag, index_u32, padded_channels};

pub(super) static GATHER: KernelSpec = KernelSpec {
    entry: "gather",
    source: concat!(
        include_str!("../../shaders/gather.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
    ),
    bindings: &[
        ("samples", Access::Read),
        ("indices", Access::Index),
        ("ids", Access::Read),
        ("normalisation", Access::Read),
        ("output", Access::Real),
    ],
    immediate_bytes: size_of::<GatherValues>() as u32,
};

/// How the values of samples are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SampleElement {
    /// Bytes, four to a word.
    #[default]
    U8,
    /// f32
    F32,
    /// u32, which [`GatherTokens`](super::GatherTokens) takes
    U32,
}

impl SampleElement {
    /// Values to a word.
    const fn per_word(self) -> usize {
        match self {
            Self::U8 => 4,
            Self::F32 | Self::U32 => 1,
        }
    }
}

/// Random changes to training images; a pure function of (seed, epoch, sample).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Pixels around the image before a random crop of its own size; 0 for none.
    pub crop_padding: usize,
    /// Whether the padding mirrors the image instead of being black.
    pub reflect: bool,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
    /// Side of a square set to 0 after normalisation; 0 for none.
    pub cutout: usize,
    /// The seed.
    pub seed: u64,
}

impl Augmentation {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.crop_padding > 0 || self.flip || self.cutout > 0
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct GatherValues {
    first: u32,
    valid: u32,
    batch: u32,
    channels: u32,
    height: u32,
    width: u32,
    stride: u32,
    crop_padding: u32,
    flip: u32,
    cutout: u32,
    epoch: u32,
    seed_low: u32,
    seed_high: u32,
}

/// How values are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherForm {
    /// As what samples are stored.
    pub element: SampleElement,
    /// Whether the batch keeps the order of a sample's elements; else it becomes images, channel last.
    pub planar: bool,
}

/// What a gather reads and writes.
#[derive(Debug)]
pub struct GatherViews<'a> {
    /// [samples, channels, height, width], bytes four to a word, or f32
    pub samples: &'a View,
    /// `[positions]`, the place in `samples` of each position of the epoch
    pub indices: &'a View,
    /// `[positions]`, the number in the data set of each position
    pub ids: &'a View,
    /// [channels, 2]: input = value * scale + shift
    pub normalisation: &'a View,
    /// [batch, height, width, padded channels], or [batch, channels * height * width] where planar
    pub output: &'a View,
}

/// The planned gather of one batch size from one data set.
#[derive(Debug)]
pub struct Gather {
    dispatch: Dispatch,
    values: GatherValues,
}

impl Gather {
    /// Its dispatch.
    pub(crate) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// What the gather of a batch of samples of `pixels` pixels launches.
    pub(crate) fn launch(
        target: &Target,
        [batch, pixels]: [usize; 2],
        form: GatherForm,
        augment: Augmentation,
    ) -> Result<Launch, GpuError> {
        let constants = [
            flag("PLANAR", form.planar),
            flag("NUMBERS", form.element == SampleElement::F32),
            flag("AUGMENT", augment.is_active()),
            flag("REFLECT", augment.reflect),
        ];
        target.launch(&GATHER, &constants, batch * pixels)
    }

    /// Plans a gather of samples [channels, height, width].
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit, a reflection past the image among them, and for
    /// tokens.
    pub fn new(
        gpu: &Gpu,
        views: &GatherViews<'_>,
        batch: usize,
        sample: [usize; 3],
        form: GatherForm,
        augment: Augmentation,
    ) -> Result<Self, GpuError> {
        let kernel = GATHER.entry;
        if form.element == SampleElement::U32 {
            let (shape, reason) = (format!("{sample:?}"), "the samples are tokens, where the model takes numbers");
            return Err(GpuError::Shape { kernel, shape, reason });
        }
        let [channels, height, width] = sample;
        let stride = padded_channels(channels);
        let per_sample = height * width * if form.planar { channels } else { stride };
        views.output.expect_len(kernel, "output", batch * per_sample)?;
        views.normalisation.expect_len(kernel, "normalisation", 2 * channels)?;
        index_u32(kernel, &[views.samples.len(), form.element.per_word()])?;
        index_u32(kernel, &[batch, per_sample])?;
        if augment.crop_padding >= 1 << 15 || augment.reflect && augment.crop_padding >= height.min(width) {
            let shape = format!("{height} x {width} padded by {}", augment.crop_padding);
            return Err(GpuError::Shape { kernel, shape, reason: "the padding is larger than the image" });
        }
        let values = GatherValues {
            first: 0,
            valid: 0,
            batch: batch as u32,
            channels: channels as u32,
            height: height as u32,
            width: width as u32,
            stride: stride as u32,
            crop_padding: augment.crop_padding as u32,
            flip: u32::from(augment.flip),
            cutout: augment.cutout as u32,
            epoch: 0,
            seed_low: augment.seed as u32,
            seed_high: (augment.seed >> 32) as u32,
        };
        let launch = Self::launch(&Target::for_device(gpu), [batch, height * width], form, augment)?;
        let bound = [views.samples, views.indices, views.ids, views.normalisation, views.output];
        Ok(Self { dispatch: gpu.bind(&launch, &bound, &[])?, values })
    }

    /// Records the batch of `valid` samples from position `first` on, augmented as in `epoch`.
    pub fn record(&self, recorder: &mut Recorder<'_>, first: u32, valid: u32, epoch: u32) {
        let values = GatherValues { first, valid, epoch, ..self.values };
        recorder.run_with(&self.dispatch, bytemuck::bytes_of(&values));
    }
}
