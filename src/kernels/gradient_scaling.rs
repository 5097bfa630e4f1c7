//! How gradients are scaled between the loss and the update.

use serde::{Deserialize, Serialize};

use crate::gpu::Element;

/// How gradients are scaled from the loss to the update, as it lies on the device.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GradientScaling {
    /// The gradient of the loss is multiplied by it.
    pub loss_scale: f32,
    /// The update multiplies gradients by it; 0 leaves the update out.
    pub factor: f32,
    /// Steps since the loss scale was last lowered.
    pub good_steps: u32,
    /// Updates left out because a gradient had overflowed.
    pub skipped_steps: u32,
    /// Updates that were not: Adam's corrections and SGD's first velocity go by them once one was left out.
    /// Files do not have it, since it follows from the steps: [`GradientScaling::after`].
    #[serde(skip)]
    pub applied_steps: u32,
}

/// As in `shaders/gradient_factor.wgsl`.
const SMALLEST_SCALE: f32 = 1.0;

impl GradientScaling {
    /// At the start of training: `torch.amp.GradScaler`'s 2^16 for f16, else 1.
    #[must_use]
    pub fn initial(element: Element) -> Self {
        let loss_scale = if element == Element::Half { 65_536.0 } else { 1.0 };
        Self { loss_scale, factor: 1.0 / loss_scale, good_steps: 0, skipped_steps: 0, applied_steps: 0 }
    }

    /// As it is after so many steps, each of which made an update or left it out.
    #[must_use]
    pub fn after(self, steps: u64) -> Self {
        Self { applied_steps: steps.saturating_sub(u64::from(self.skipped_steps)) as u32, ..self }
    }

    /// Whether the loss scale is as low as it goes, so that gradients that overflow are not the scale's doing.
    #[must_use]
    pub fn is_lowest(&self) -> bool {
        self.loss_scale <= SMALLEST_SCALE
    }
}
