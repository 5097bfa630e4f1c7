//! Attention in memory linear in the length: nothing of the size of the scores is kept, nor made.

use std::sync::Arc;

use crate::graph::{Backward, Forward, GraphError, Saved};

use super::{
    flash::Flash,
    flash_calls::{FlashForward, FlashGradient},
};

impl Flash {
    /// Pushes the forward pass, which leaves the logarithm of each row's sum of exponentials for backward.
    pub(super) fn forward(&self, pass: &mut Forward<'_>) -> Saved {
        let lse = pass.words("attention lse", self.shape.rows());
        let operands = [pass.input(0), pass.output(), lse];
        pass.push("attention", Arc::new(FlashForward(*self)), operands);
        Saved::tensors([lse])
    }

    /// Pushes the backward pass.
    pub(super) fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let Some(result) = pass.input_gradient(0) else { return Ok(()) };
        let operands = [pass.input(0), pass.output(), pass.saved(0)?, pass.gradient(), result];
        pass.push("attention backward", Arc::new(FlashGradient(*self)), operands);
        Ok(())
    }
}
