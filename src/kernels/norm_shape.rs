//! How norms see a value.

use crate::gpu::GpuError;

use super::index_u32;

/// How a norm sees a value [batch, pixels, stride]: the first `channels` of `stride` are in use.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct NormShape {
    pub(super) batch: u32,
    pub(super) pixels: u32,
    pub(super) channels: u32,
    pub(super) stride: u32,
    pub(super) groups: u32,
    pub(super) per_pixel: u32,
    pub(super) eps: f32,
    pub(super) parts: u32,
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
        })
    }

    /// Samples of the value.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch as usize
    }

    pub(super) fn words(&self) -> usize {
        self.batch as usize * self.pixels as usize * self.stride as usize
    }

    pub(super) fn params(&self) -> usize {
        self.channels as usize * if self.per_pixel == 1 { self.pixels as usize } else { 1 }
    }
}
