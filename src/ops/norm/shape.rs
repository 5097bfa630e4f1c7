//! How norms see a value.

use crate::{
    gpu::{GpuError, View},
    kernels::index_u32,
};

/// How a norm sees a value [batch, pixels, stride]: the first `channels` of `stride` are in use.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct NormShape {
    pub(in super::super) batch: u32,
    pub(in super::super) pixels: u32,
    pub(in super::super) channels: u32,
    pub(in super::super) stride: u32,
    pub(in super::super) groups: u32,
    pub(in super::super) per_pixel: u32,
    pub(in super::super) eps: f32,
    pub(in super::super) parts: u32,
    pub(in super::super) centred: u32,
}

impl NormShape {
    /// A value [batch, pixels, stride] in `groups` groups of channels; `per_pixel` says that affine parameters are
    /// [channels, pixels] and not `[channels]`.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for an empty side or groups that do not divide the channels.
    pub fn new(
        [batch, pixels, channels, stride]: [usize; 4],
        groups: usize,
        per_pixel: bool,
        eps: f32,
    ) -> Result<Self, GpuError> {
        let kernel = "affine";
        let wrong = |reason| {
            let shape = format!("{batch} x {pixels} x {channels} of {stride} in {groups} groups");
            Err(GpuError::Shape { kernel, shape, reason })
        };
        if batch == 0 || pixels == 0 || channels == 0 || groups == 0 || stride < channels {
            return wrong("a side is empty");
        }
        if !channels.is_multiple_of(groups) {
            return wrong("groups do not divide the channels");
        }
        index_u32(kernel, &[batch, pixels, stride])?;
        let [batch, pixels, channels, stride] = [batch, pixels, channels, stride].map(|side| side as u32);
        Ok(Self {
            batch,
            pixels,
            channels,
            stride,
            groups: groups as u32,
            per_pixel: u32::from(per_pixel),
            eps,
            parts: 1,
            centred: 1,
        })
    }

    /// The same for an RMS norm, which takes every group's mean for 0.
    #[must_use]
    pub fn about_zero(self) -> Self {
        Self { centred: 0, ..self }
    }

    /// Samples of the value.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch as usize
    }

    pub(in super::super) fn words(&self) -> usize {
        self.batch as usize * self.pixels as usize * self.stride as usize
    }

    pub(in super::super) fn params(&self) -> usize {
        self.channels as usize * if self.per_pixel == 1 { self.pixels as usize } else { 1 }
    }

    /// Groups of all samples: words of the standard deviations' inverses.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.batch as usize * self.groups as usize
    }

    /// Fails unless values and parameters are as long as the shape says.
    pub(in super::super) fn check(
        &self,
        kernel: &'static str,
        values: &[(&'static str, &View)],
        params: &[(&'static str, &View)],
    ) -> Result<(), GpuError> {
        values.iter().try_for_each(|(name, view)| view.expect_len(kernel, name, self.words()))?;
        params.iter().try_for_each(|(name, view)| view.expect_len(kernel, name, self.params()))
    }
}
