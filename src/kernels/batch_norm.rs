//! Batch norm, fused with a residual sum and an activation: the host side of `shaders/batch_norm_*.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Recorder, View};

use super::{Activation, WORKGROUP, WORKGROUP_SIZE, flag, index_u32, padded_channels};

pub(super) static BATCH_NORM_MOMENTS: KernelSpec = KernelSpec {
    entry: "batch_norm_moments",
    source: concat!(
        include_str!("../../shaders/batch_norm_moments.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("x", Access::Real),
        ("grad", Access::Real),
        ("saved", Access::Real),
        ("table", Access::ReadWrite),
        ("partials", Access::ReadWrite),
    ],
    immediate_bytes: 16,
};

pub(super) static BATCH_NORM_FINISH: KernelSpec = KernelSpec {
    entry: "batch_norm_finish",
    source: concat!(
        include_str!("../../shaders/batch_norm_finish.wgsl"),
        include_str!("../../shaders/shared/finite.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("partials", Access::ReadWrite),
        ("weight", Access::Real),
        ("bias", Access::Real),
        ("running_mean", Access::ReadWrite),
        ("running_var", Access::ReadWrite),
        ("table", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<Finish>() as u32,
};

pub(super) static BATCH_NORM_APPLY: KernelSpec = KernelSpec {
    entry: "batch_norm_apply",
    source: concat!(
        include_str!("../../shaders/batch_norm_apply.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[("x", Access::Real), ("residual", Access::Real), ("table", Access::ReadWrite), ("y", Access::Real)],
    immediate_bytes: 8,
};

pub(super) static BATCH_NORM_GRADIENT_FINISH: KernelSpec = KernelSpec {
    entry: "batch_norm_gradient_finish",
    source: concat!(
        include_str!("../../shaders/batch_norm_gradient_finish.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("partials", Access::ReadWrite),
        ("table", Access::ReadWrite),
        ("grad_weight", Access::ReadWrite),
        ("grad_bias", Access::ReadWrite),
        ("coefficients", Access::ReadWrite),
    ],
    immediate_bytes: 16,
};

pub(super) static BATCH_NORM_GRADIENT: KernelSpec = KernelSpec {
    entry: "batch_norm_gradient",
    source: concat!(
        include_str!("../../shaders/batch_norm_gradient.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("grad", Access::Real),
        ("saved", Access::Real),
        ("x", Access::Real),
        ("table", Access::ReadWrite),
        ("coefficients", Access::ReadWrite),
        ("grad_x", Access::Real),
        ("grad_residual", Access::Real),
    ],
    immediate_bytes: 12,
};

/// Rows that an invocation normalises: `BATCH_NORM_ROWS` in the shaders.
const ROWS: usize = 4;

/// Channels are few: small workgroups spread them.
const FINISH_WORKGROUP: usize = 8;

#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Finish {
    rows: u32,
    quads: u32,
    rows_per_chunk: u32,
    channels: u32,
    momentum: f32,
    eps: f32,
}

/// A value [samples, pixels, padded channels] as batch norm sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormShape {
    /// Samples of a batch.
    pub batch: usize,
    /// Pixels of a sample; 1 for rows of features.
    pub pixels: usize,
    /// Channels in use; the value holds [`padded_channels`] of them.
    pub channels: usize,
}

impl std::fmt::Display for BatchNormShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} pixels x {}", self.batch, self.pixels, self.channels)
    }
}

impl BatchNormShape {
    fn rows(&self) -> usize {
        self.batch * self.pixels
    }

    /// Rows of the first `valid` samples; of no more than there are, since the kernels do not check.
    fn valid_rows(&self, valid: u32) -> u32 {
        (self.batch.min(valid as usize) * self.pixels) as u32
    }

    fn quads(&self) -> usize {
        padded_channels(self.channels) / 4
    }

    /// Rows whose sums one invocation makes: about the root, so that neither the chunks nor their combination is long.
    fn rows_per_chunk(&self) -> usize {
        self.rows().isqrt().max(8)
    }

    fn chunks(&self) -> usize {
        self.rows().div_ceil(self.rows_per_chunk())
    }

    /// Words of the value.
    #[must_use]
    pub fn words(&self) -> usize {
        self.rows() * 4 * self.quads()
    }

    /// Words of the chunks' sums.
    #[must_use]
    pub fn partial_words(&self) -> usize {
        self.chunks() * 2 * 4 * self.quads()
    }

    /// Words of the table that forward leaves: mean, 1 / standard deviation, scale and shift of each channel.
    #[must_use]
    pub fn table_words(&self) -> usize {
        4 * 4 * self.quads()
    }

    /// Words of the coefficients within backward.
    #[must_use]
    pub fn coefficient_words(&self) -> usize {
        2 * 4 * self.quads()
    }

    fn check(&self, kernel: &'static str) -> Result<(), GpuError> {
        if self.words() == 0 {
            let shape = format!("{} x {} x {}", self.batch, self.pixels, self.channels);
            return Err(GpuError::Shape { kernel, shape, reason: "a side is empty" });
        }
        index_u32(kernel, &[self.words()]).map(|_| ())
    }

    fn sizes(&self) -> [u32; 4] {
        [self.rows(), self.quads(), self.rows_per_chunk(), self.chunks()].map(|size| size as u32)
    }
}

/// The tensors of the forward pass.
#[derive(Debug)]
pub struct BatchNormViews<'a> {
    /// [rows, padded channels]
    pub x: &'a View,
    /// As `x`, added before the activation.
    pub residual: Option<&'a View>,
    /// [channels]
    pub weight: &'a View,
    /// [channels]
    pub bias: &'a View,
    /// [channels]
    pub running_mean: &'a View,
    /// [channels]
    pub running_var: &'a View,
    /// [`BatchNormShape::partial_words`]; not used in evaluation.
    pub partials: Option<&'a View>,
    /// [`BatchNormShape::table_words`]
    pub table: &'a View,
    /// As `x`
    pub y: &'a View,
}

/// Planned: y = activation(batch norm of x + residual), by the batch's statistics or the running ones.
#[derive(Debug)]
pub struct BatchNorm {
    shape: BatchNormShape,
    moments: Option<Dispatch>,
    finish: Dispatch,
    apply: Dispatch,
    eps: f32,
}

impl BatchNorm {
    /// Plans the forward pass; with `partials` it takes the batch's statistics and updates the running ones.
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
    pub fn new(
        gpu: &Gpu,
        shape: BatchNormShape,
        views: &BatchNormViews<'_>,
        activation: Activation,
        eps: f32,
    ) -> Result<Self, GpuError> {
        let kernel = BATCH_NORM_APPLY.entry;
        shape.check(kernel)?;
        for (name, view) in [("x", Some(views.x)), ("residual", views.residual), ("y", Some(views.y))] {
            view.map_or(Ok(()), |view| view.expect_len(kernel, name, shape.words()))?;
        }
        for (name, view) in [
            ("weight", views.weight),
            ("bias", views.bias),
            ("running_mean", views.running_mean),
            ("running_var", views.running_var),
        ] {
            view.expect_len(kernel, name, shape.channels)?;
        }
        views.table.expect_len(kernel, "table", shape.table_words())?;
        let unused = [gpu.unused(0)?, gpu.unused(1)?];
        let moments = views.partials.map(|partials| {
            partials.expect_len(kernel, "partials", shape.partial_words())?;
            moments(gpu, shape, [views.x, &unused[0], &unused[0], &unused[1], partials], false, Activation::Identity)
        });
        let moments = moments.transpose()?;
        let partials = views.partials.unwrap_or(&unused[0]);
        let constants = [("WORKGROUP_SIZE", FINISH_WORKGROUP as f64), flag("EVALUATE", views.partials.is_none())];
        let grid = gpu.grid_1d(BATCH_NORM_FINISH.entry, shape.quads(), FINISH_WORKGROUP)?;
        let bound = [partials, views.weight, views.bias, views.running_mean, views.running_var, views.table];
        let finish = gpu.dispatch(&BATCH_NORM_FINISH, &constants, grid, &bound, &[])?;
        let constants =
            [WORKGROUP, flag("RESIDUAL", views.residual.is_some()), ("ACTIVATION", f64::from(activation.code()))];
        let bound = [views.x, views.residual.unwrap_or(&unused[0]), views.table, views.y];
        let immediates = [shape.rows() as u32, shape.quads() as u32];
        let grid = sweep_grid(gpu, kernel, shape)?;
        let apply = gpu.dispatch(&BATCH_NORM_APPLY, &constants, grid, &bound, bytemuck::cast_slice(&immediates))?;
        Ok(Self { shape, moments, finish, apply, eps })
    }

    /// Records the pass for `valid` samples, the only ones that count; `momentum` is the batch's share of the running
    /// statistics.
    pub fn record(&self, recorder: &mut Recorder<'_>, valid: u32, momentum: f32) {
        let [_, quads, rows_per_chunk, chunks] = self.shape.sizes();
        let rows = self.shape.valid_rows(valid);
        if let Some(moments) = &self.moments {
            recorder.run_with(moments, bytemuck::cast_slice(&[rows, quads, rows_per_chunk, chunks]));
        }
        let channels = self.shape.channels as u32;
        let finish = Finish { rows, quads, rows_per_chunk, channels, momentum, eps: self.eps };
        recorder.run_with(&self.finish, bytemuck::bytes_of(&finish));
        recorder.run(&self.apply);
    }
}

fn moments(
    gpu: &Gpu,
    shape: BatchNormShape,
    views: [&View; 5],
    gradient: bool,
    activation: Activation,
) -> Result<Dispatch, GpuError> {
    let constants = [WORKGROUP, flag("GRADIENT", gradient), ("ACTIVATION", f64::from(activation.code()))];
    let grid = gpu.grid_1d(BATCH_NORM_MOMENTS.entry, shape.chunks() * shape.quads(), WORKGROUP_SIZE)?;
    gpu.dispatch(&BATCH_NORM_MOMENTS, &constants, grid, &views, &[])
}

fn sweep_grid(gpu: &Gpu, kernel: &'static str, shape: BatchNormShape) -> Result<crate::gpu::Grid, GpuError> {
    gpu.grid_1d(kernel, shape.rows().div_ceil(ROWS) * shape.quads(), WORKGROUP_SIZE)
}

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
    /// [channels]
    pub grad_weight: &'a View,
    /// [channels]
    pub grad_bias: &'a View,
    /// As x, and whether it adds to what is there.
    pub grad_x: (&'a View, bool),
    /// As x, and whether it adds to what is there.
    pub grad_residual: Option<(&'a View, bool)>,
}

/// Planned: backward of [`BatchNorm`] by the batch's statistics.
#[derive(Debug)]
pub struct BatchNormGradient {
    shape: BatchNormShape,
    moments: Dispatch,
    finish: Dispatch,
    apply: Dispatch,
}

impl BatchNormGradient {
    /// Plans the backward pass; `accumulate` adds to the gradients of weight and bias. The activation has to be one
    /// whose derivative takes its output.
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
    pub fn new(
        gpu: &Gpu,
        shape: BatchNormShape,
        views: &BatchNormGradientViews<'_>,
        activation: Activation,
        accumulate: bool,
    ) -> Result<Self, GpuError> {
        let kernel = BATCH_NORM_GRADIENT.entry;
        shape.check(kernel)?;
        let residual = views.grad_residual.map(|(view, _)| view);
        for (name, view) in [
            ("grad", Some(views.grad)),
            ("saved", views.saved),
            ("x", Some(views.x)),
            ("grad_x", Some(views.grad_x.0)),
            ("grad_residual", residual),
        ] {
            view.map_or(Ok(()), |view| view.expect_len(kernel, name, shape.words()))?;
        }
        views.table.expect_len(kernel, "table", shape.table_words())?;
        views.partials.expect_len(kernel, "partials", shape.partial_words())?;
        views.coefficients.expect_len(kernel, "coefficients", shape.coefficient_words())?;
        views.grad_weight.expect_len(kernel, "grad_weight", shape.channels)?;
        views.grad_bias.expect_len(kernel, "grad_bias", shape.channels)?;
        if activation != Activation::Identity && views.saved.is_none() {
            let expected = shape.words();
            return Err(GpuError::Length { kernel, argument: "saved", expected, found: 0 });
        }
        let unused = gpu.unused(0)?;
        let saved = views.saved.unwrap_or(&unused);
        let bound = [views.x, views.grad, saved, views.table, views.partials];
        let moments = moments(gpu, shape, bound, true, activation)?;
        let constants = [("WORKGROUP_SIZE", FINISH_WORKGROUP as f64), flag("ACCUMULATE", accumulate)];
        let grid = gpu.grid_1d(BATCH_NORM_GRADIENT_FINISH.entry, shape.quads(), FINISH_WORKGROUP)?;
        let bound = [views.partials, views.table, views.grad_weight, views.grad_bias, views.coefficients];
        let finish = gpu.dispatch(&BATCH_NORM_GRADIENT_FINISH, &constants, grid, &bound, &[])?;
        let residual_code = views.grad_residual.map_or(0.0, |(_, accumulate)| if accumulate { 2.0 } else { 1.0 });
        let constants = [
            WORKGROUP,
            ("ACTIVATION", f64::from(activation.code())),
            ("RESIDUAL", residual_code),
            flag("ACCUMULATE", views.grad_x.1),
        ];
        let (grad_x, grad_residual) = (views.grad_x.0, residual.unwrap_or(&unused));
        let bound = [views.grad, saved, views.x, views.table, views.coefficients, grad_x, grad_residual];
        let grid = sweep_grid(gpu, kernel, shape)?;
        let apply = gpu.dispatch(&BATCH_NORM_GRADIENT, &constants, grid, &bound, &[])?;
        Ok(Self { shape, moments, finish, apply })
    }

    /// Records the pass for a batch of which `valid` samples count.
    pub fn record(&self, recorder: &mut Recorder<'_>, valid: u32) {
        let [all_rows, quads, rows_per_chunk, chunks] = self.shape.sizes();
        let rows = self.shape.valid_rows(valid);
        recorder.run_with(&self.moments, bytemuck::cast_slice(&[rows, quads, rows_per_chunk, chunks]));
        let finish = [rows, quads, rows_per_chunk, self.shape.channels as u32];
        recorder.run_with(&self.finish, bytemuck::cast_slice(&finish));
        recorder.run_with(&self.apply, bytemuck::cast_slice(&[all_rows, quads, rows]));
    }
}
