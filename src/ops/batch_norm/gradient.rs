//! Batch norm's backward pass, planned.

use crate::{
    gpu::{Dispatch, Gpu, GpuError, Launch, Recorder, View},
    kernels::Target,
};

use super::{
    launches::{BatchNormAdds, BatchNormLaunches, Undone},
    shape::{BatchNormShape, BatchNormVariant},
    specs::BATCH_NORM_GRADIENT,
};

/// The tensors of the backward pass.
#[derive(Debug)]
pub struct BatchNormGradientViews<'a> {
    /// Gradient of y.
    pub grad: &'a View,
    /// y; none where [`Undone::by_output`] is not.
    pub saved: Option<&'a View>,
    /// The forward pass' input.
    pub x: &'a View,
    /// The forward pass' table.
    pub table: &'a View,
    /// [`BatchNormShape::partial_words`]
    pub partials: &'a View,
    /// [`BatchNormShape::coefficient_words`], of which a sweep that combines the chunks has no need.
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
    fn check(&self, kernel: &'static str, shape: BatchNormShape, undone: Undone) -> Result<(), GpuError> {
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
        if undone.by_output && self.saved.is_none() {
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
    moments: Option<Dispatch>,
    finish: Option<Dispatch>,
    sweep: Dispatch,
}

impl BatchNormGradientDispatches {
    /// Plans the backward pass; `accumulate` adds to the gradients of weight and bias.
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
    pub fn new(
        gpu: &Gpu,
        variant: BatchNormVariant,
        shape: BatchNormShape,
        views: &BatchNormGradientViews<'_>,
        undone: Undone,
        accumulate: bool,
    ) -> Result<Self, GpuError> {
        shape.check(BATCH_NORM_GRADIENT.entry)?;
        views.check(BATCH_NORM_GRADIENT.entry, shape, undone)?;
        let adds = BatchNormAdds {
            input: views.grad_x.1,
            residual: views.grad_residual.map(|(_, adds)| adds),
            params: accumulate,
        };
        let BatchNormLaunches { moments, finish, sweep } =
            shape.gradient_launches(&Target::for_device(gpu), variant, undone, adds)?;
        let BatchNormGradientViews { grad, x, table, partials, coefficients, grad_weight, grad_bias, .. } = *views;
        let unused = [gpu.unused(0)?, gpu.unused(1)?];
        let saved = views.saved.unwrap_or(&unused[0]);
        let grad_residual = views.grad_residual.map_or(&unused[1], |(view, _)| view);
        let grad_x = views.grad_x.0;
        let bind = |launch: &Launch, views: &[&View]| gpu.bind(launch, views, &[]);
        let bound = [grad, saved, x, table, partials, grad_residual];
        let moments = moments.map(|moments| bind(&moments, &bound)).transpose()?;
        let sweep = match finish {
            Some(_) => bind(&sweep, &[grad, saved, x, table, coefficients, grad_x, grad_residual])?,
            None => {
                let (grad, saved) =
                    if undone.is_in_residual(adds.residual) { (grad_residual, &unused[0]) } else { (grad, saved) };
                bind(&sweep, &[grad, saved, x, table, partials, grad_weight, grad_bias, grad_x])?
            }
        };
        let bound = [partials, table, grad_weight, grad_bias, coefficients];
        let finish = finish.map(|finish| bind(&finish, &bound)).transpose()?;
        Ok(Self { shape, variant, moments, finish, sweep })
    }

    /// Its dispatches in their order.
    pub(super) fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.moments.iter().chain(&self.finish).chain([&self.sweep])
    }

    /// Records the pass for a batch of which `valid` samples count.
    pub fn record(&self, recorder: &mut Recorder<'_>, valid: u32) {
        // Neither running statistics nor a variance are made here.
        let values = self.shape.values(self.variant, valid, 0.0, 0.0);
        self.dispatches().for_each(|dispatch| recorder.run_with(dispatch, bytemuck::bytes_of(&values)));
    }
}
