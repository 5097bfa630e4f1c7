//! Batch norm's forward pass, planned.

use crate::{
    gpu::{Dispatch, Gpu, GpuError, Recorder, View},
    kernels::{Activation, Target},
};

use super::{
    shape::{BatchNormShape, BatchNormVariant, moments_values},
    specs::{BATCH_NORM_APPLY, Finish},
};

/// The tensors of the forward pass.
#[derive(Debug)]
pub struct BatchNormViews<'a> {
    /// [rows, padded channels]
    pub x: &'a View,
    /// As `x`, added before the activation.
    pub residual: Option<&'a View>,
    /// `[channels]`
    pub weight: &'a View,
    /// `[channels]`
    pub bias: &'a View,
    /// `[channels]`
    pub running_mean: &'a View,
    /// `[channels]`
    pub running_var: &'a View,
    /// [`BatchNormShape::partial_words`]; not used in evaluation.
    pub partials: Option<&'a View>,
    /// [`BatchNormShape::table_words`]
    pub table: &'a View,
    /// As `x`
    pub y: &'a View,
}

impl BatchNormViews<'_> {
    fn check(&self, kernel: &'static str, shape: BatchNormShape) -> Result<(), GpuError> {
        for (name, view) in [("x", Some(self.x)), ("residual", self.residual), ("y", Some(self.y))] {
            view.map_or(Ok(()), |view| view.expect_len(kernel, name, shape.words()))?;
        }
        for (name, view) in [
            ("weight", self.weight),
            ("bias", self.bias),
            ("running_mean", self.running_mean),
            ("running_var", self.running_var),
        ] {
            view.expect_len(kernel, name, shape.channels)?;
        }
        self.partials.map_or(Ok(()), |view| view.expect_len(kernel, "partials", shape.partial_words()))?;
        self.table.expect_len(kernel, "table", shape.table_words())
    }
}

/// Planned: y = activation(batch norm of x + residual), by the batch's statistics or the running ones.
#[derive(Debug)]
pub struct BatchNormDispatches {
    shape: BatchNormShape,
    variant: BatchNormVariant,
    moments: Option<Dispatch>,
    finish: Dispatch,
    apply: Dispatch,
    eps: f32,
}

impl BatchNormDispatches {
    /// Plans the forward pass; with `partials` it takes the batch's statistics and updates the running ones.
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
    pub fn new(
        gpu: &Gpu,
        variant: BatchNormVariant,
        shape: BatchNormShape,
        views: &BatchNormViews<'_>,
        activation: Activation,
        eps: f32,
    ) -> Result<Self, GpuError> {
        shape.check(BATCH_NORM_APPLY.entry)?;
        views.check(BATCH_NORM_APPLY.entry, shape)?;
        let by_batch = views.partials.map(|_| variant);
        let launches =
            shape.forward_launches(&Target::for_device(gpu), by_batch, activation, views.residual.is_some())?;
        let unused = [gpu.unused(0)?, gpu.unused(1)?, gpu.unused(2)?];
        let partials = views.partials.unwrap_or(&unused[0]);
        let bound = [views.x, &unused[0], &unused[1], &unused[2], partials];
        let moments = launches.moments.map(|moments| gpu.bind(&moments, &bound, &[])).transpose()?;
        let bound = [partials, views.weight, views.bias, views.running_mean, views.running_var, views.table];
        let finish = gpu.bind(&launches.finish, &bound, &[])?;
        let bound = [views.x, views.residual.unwrap_or(&unused[0]), views.table, views.y];
        let values = [shape.rows() as u32, shape.quads() as u32];
        let apply = gpu.bind(&launches.apply, &bound, bytemuck::cast_slice(&values))?;
        Ok(Self { shape, variant, moments, finish, apply, eps })
    }

    /// Its dispatches in their order.
    pub(super) fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.moments.iter().chain([&self.finish, &self.apply])
    }

    /// Records the pass for `valid` samples, the only ones that count; `momentum` is the batch's share of the running
    /// statistics.
    pub fn record(&self, recorder: &mut Recorder<'_>, valid: u32, momentum: f32) {
        let values = moments_values(self.shape, self.variant, self.shape.valid_rows(valid));
        if let Some(moments) = &self.moments {
            recorder.run_with(moments, bytemuck::cast_slice(&values));
        }
        let [rows, quads, rows_per_chunk, chunks] = values;
        let finish = Finish {
            rows,
            quads,
            rows_per_chunk,
            chunks,
            filled: rows.div_ceil(rows_per_chunk),
            channels: self.shape.channels as u32,
            momentum,
            eps: self.eps,
        };
        recorder.run_with(&self.finish, bytemuck::bytes_of(&finish));
        recorder.run(&self.apply);
    }
}
