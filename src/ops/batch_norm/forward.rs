//! Batch norm's forward pass, planned.

use crate::{
    gpu::{Dispatch, Gpu, GpuError, Launch, Recorder, View},
    kernels::{Activation, Target},
};

use super::{
    launches::BatchNormLaunches,
    shape::{BatchNormShape, BatchNormVariant},
    specs::BATCH_NORM_APPLY,
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
    finish: Option<Dispatch>,
    sweep: Dispatch,
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
        let (by_batch, has_residual) = (views.partials.is_some(), views.residual.is_some());
        let BatchNormLaunches { moments, finish, sweep } =
            shape.forward_launches(&Target::for_device(gpu), variant, by_batch, activation, has_residual)?;
        let BatchNormViews { x, weight, bias, running_mean, running_var, table, y, .. } = *views;
        let unused = [gpu.unused(0)?, gpu.unused(1)?];
        let (partials, residual) = (views.partials.unwrap_or(&unused[0]), views.residual.unwrap_or(&unused[1]));
        let bind = |launch: &Launch, views: &[&View]| gpu.bind(launch, views, &[]);
        let moments = moments.map(|moments| bind(&moments, &[x, weight, bias, table, partials])).transpose()?;
        let bound = [partials, weight, bias, running_mean, running_var, table];
        let finish = finish.map(|finish| bind(&finish, &bound)).transpose()?;
        let sweep = if by_batch && finish.is_none() {
            bind(&sweep, &[x, residual, partials, running_mean, running_var, table, y])?
        } else {
            bind(&sweep, &[x, residual, weight, bias, running_mean, running_var, table, y])?
        };
        Ok(Self { shape, variant, moments, finish, sweep, eps })
    }

    /// Its dispatches in their order.
    pub(super) fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.moments.iter().chain(&self.finish).chain([&self.sweep])
    }

    /// Records the pass for `valid` samples, the only ones that count; `momentum` is the batch's share of the running
    /// statistics.
    pub fn record(&self, recorder: &mut Recorder<'_>, valid: u32, momentum: f32) {
        let values = self.shape.values(self.variant, valid, momentum, self.eps);
        self.dispatches().for_each(|dispatch| recorder.run_with(dispatch, bytemuck::bytes_of(&values)));
    }
}
