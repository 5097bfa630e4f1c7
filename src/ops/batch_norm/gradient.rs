//! Batch norm's backward pass, planned.

use crate::{
    gpu::{Dispatch, Gpu, GpuError, Recorder, View},
    kernels::{Activation, Target},
};

use super::{
    shape::{BatchNormAdds, BatchNormShape, BatchNormVariant, moments_values},
    specs::BATCH_NORM_GRADIENT,
};

/// The tensors of the backward pass.
#[derive(Debug)]
pub struct BatchNormGradientViews<'a> {
    /// Gradient of y.
    pub grad: &'a View,
    /// What the activation saved: y; none without an activation.
    pub saved: Option<&'a View>,
    /// The forward pass' input.
    pub x: &'a View,
    /// The forward pass' table.
    pub table: &'a View,
    /// [`BatchNormShape::partial_words`]
    pub partials: &'a View,
    /// [`BatchNormShape::coefficient_words`]
    pub coefficients: &'a View,
    /// `[channels]`
    pub grad_weight: &'a View,
    /// `[channels]`
    pub grad_bias: &'a View,
    /// As x, and whether it adds to what is there.
    pub grad_x: (&'a View, bool),
    /// As x, and whether it adds to what is there.
    pub grad_residual: Option<(&'a View, bool)>,
}

impl BatchNormGradientViews<'_> {
    fn check(&self, kernel: &'static str, shape: BatchNormShape, activation: Activation) -> Result<(), GpuError> {
        for (name, view) in [
            ("grad", Some(self.grad)),
            ("saved", self.saved),
            ("x", Some(self.x)),
            ("grad_x", Some(self.grad_x.0)),
            ("grad_residual", self.grad_residual.map(|(view, _)| view)),
        ] {
            view.map_or(Ok(()), |view| view.expect_len(kernel, name, shape.words()))?;
        }
        self.table.expect_len(kernel, "table", shape.table_words())?;
        self.partials.expect_len(kernel, "partials", shape.partial_words())?;
        self.coefficients.expect_len(kernel, "coefficients", shape.coefficient_words())?;
        self.grad_weight.expect_len(kernel, "grad_weight", shape.channels)?;
        self.grad_bias.expect_len(kernel, "grad_bias", shape.channels)?;
        if activation != Activation::Identity && self.saved.is_none() {
            let expected = shape.words();
            return Err(GpuError::Length { kernel, argument: "saved", expected, found: 0 });
        }
        Ok(())
    }
}

/// Planned: backward of [`super::BatchNormDispatches`] by the batch's statistics.
#[derive(Debug)]
pub struct BatchNormGradientDispatches {
    shape: BatchNormShape,
    variant: BatchNormVariant,
    moments: Dispatch,
    finish: Dispatch,
    apply: Dispatch,
}

impl BatchNormGradientDispatches {
    /// Plans the backward pass; `accumulate` adds to the gradients of weight and bias. The activation has to be one
    /// whose derivative takes its output.
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
    pub fn new(
        gpu: &Gpu,
        variant: BatchNormVariant,
        shape: BatchNormShape,
        views: &BatchNormGradientViews<'_>,
        activation: Activation,
        accumulate: bool,
    ) -> Result<Self, GpuError> {
        shape.check(BATCH_NORM_GRADIENT.entry)?;
        views.check(BATCH_NORM_GRADIENT.entry, shape, activation)?;
        let adds = BatchNormAdds {
            input: views.grad_x.1,
            residual: views.grad_residual.map(|(_, adds)| adds),
            params: accumulate,
        };
        let [moments, finish, apply] = shape.gradient_launches(&Target::for_device(gpu), variant, activation, adds)?;
        let unused = [gpu.unused(0)?, gpu.unused(1)?];
        let saved = views.saved.unwrap_or(&unused[0]);
        let bound = [views.x, views.grad, saved, views.table, views.partials];
        let moments = gpu.bind(&moments, &bound, &[])?;
        let bound = [views.partials, views.table, views.grad_weight, views.grad_bias, views.coefficients];
        let finish = gpu.bind(&finish, &bound, &[])?;
        let grad_residual = views.grad_residual.map_or(&unused[1], |(view, _)| view);
        let bound = [views.grad, saved, views.x, views.table, views.coefficients, views.grad_x.0, grad_residual];
        let apply = gpu.bind(&apply, &bound, &[])?;
        Ok(Self { shape, variant, moments, finish, apply })
    }

    /// Its dispatches in their order.
    pub(super) fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        [&self.moments, &self.finish, &self.apply].into_iter()
    }

    /// Records the pass for a batch of which `valid` samples count.
    pub fn record(&self, recorder: &mut Recorder<'_>, valid: u32) {
        let values = moments_values(self.shape, self.variant, self.shape.valid_rows(valid));
        recorder.run_with(&self.moments, bytemuck::cast_slice(&values));
        let [rows, quads, rows_per_chunk, chunks] = values;
        let finish = [rows, quads, chunks, rows.div_ceil(rows_per_chunk), self.shape.channels as u32];
        recorder.run_with(&self.finish, bytemuck::cast_slice(&finish));
        recorder.run_with(&self.apply, bytemuck::cast_slice(&[self.shape.rows() as u32, quads, rows]));
    }
}
