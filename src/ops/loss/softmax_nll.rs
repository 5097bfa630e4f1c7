//! Softmax, negative log likelihood and their gradient: the host side of `shaders/softmax_nll.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View};

use crate::{
    graph::{GradientInPlace, LossTerms},
    kernels::{AdapterClass, Constant, Target, Tree, flag, index_u32},
};

pub(super) static SOFTMAX_NLL: KernelSpec = KernelSpec {
    entry: "softmax_nll",
    source: concat!(
        include_str!("../../../shaders/softmax_nll.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
        include_str!("../../../shaders/shared/scaling.wgsl"),
        include_str!("../../../shaders/shared/target.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[
        ("logits", Access::Real),
        ("labels", Access::Index),
        ("indices", Access::Index),
        ("grad_logits", Access::Real),
        ("row_stats", Access::ReadWrite),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<LossValues>() as u32,
};

/// Immediates of the loss kernels.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct LossValues {
    pub(super) first: u32,
    pub(super) valid: u32,
    pub(super) rows: u32,
    pub(super) width: u32,
    pub(super) gradient_scale: f32,
    pub(super) smoothing: f32,
}

impl LossValues {
    /// Those of a batch of `valid` samples of so many positions, from position `first` of the epoch on; `per_row` terms of the mean
    /// are of one row.
    pub(super) fn of_batch(self, [first, valid, positions]: [u32; 3], terms: LossTerms, per_row: f32) -> Self {
        let rows = terms.mean_over.max(1) as f32 * positions as f32;
        let (gradient_scale, smoothing) = (1.0 / (rows * per_row), terms.label_smoothing);
        Self { first, valid: valid * positions, gradient_scale, smoothing, ..self }
    }
}

/// What a loss reads and writes; rows are batch x positions.
#[derive(Debug)]
pub struct LossBuffers<'a> {
    /// [rows, width], the model's output
    pub logits: &'a View,
    /// [samples, positions], class indices; of mean squared error against numbers their bits, [samples, positions, width]; with
    /// `windows` the tokens of one text
    pub labels: &'a View,
    /// `[samples]`, the order of the epoch
    pub indices: &'a View,
    /// Whether indices are the tokens at which windows of the text begin, and the target of each position is the token after it.
    pub windows: bool,
    /// Of the shape of the logits.
    pub gradient: LossGradient<'a>,
    /// [rows, 2]: loss, correct
    pub row_stats: &'a View,
    /// One [`GradientScaling`](crate::kernels::GradientScaling), by whose loss scale the gradient is multiplied.
    pub scaling: Option<&'a View>,
}

/// Where the gradient of a loss goes.
#[derive(Clone, Copy, Debug)]
pub enum LossGradient<'a> {
    /// To a tensor of its own.
    Apart(&'a View),
    /// There is no such tensor.
    InPlace(GradientInPlace),
}

impl<'a> LossGradient<'a> {
    /// Its tensor, where it has one of its own.
    pub(super) fn apart(self) -> Option<&'a View> {
        if let Self::Apart(view) = self { Some(view) } else { None }
    }

    pub(super) fn in_place(self) -> Option<GradientInPlace> {
        if let Self::InPlace(place) = self { Some(place) } else { None }
    }
}

/// A planned loss of either kind.
#[derive(Debug)]
pub struct LossKernel {
    pub(super) dispatch: Dispatch,
    pub(super) values: LossValues,
    /// Rows of a sample.
    pub(super) positions: u32,
    /// Terms of the mean per row: 1, or the width for mean squared error.
    pub(super) terms: f32,
}

impl LossKernel {
    /// Its dispatch.
    pub(crate) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Records the loss of `valid` samples from position `first` on.
    pub fn record(&self, recorder: &mut Recorder<'_>, first: u32, valid: u32, terms: LossTerms) {
        let values = self.values.of_batch([first, valid, self.positions], terms, self.terms);
        recorder.run_with(&self.dispatch, bytemuck::bytes_of(&values));
    }
}

/// The checks and values that both losses share; the targets of a sample are so many words.
pub(super) fn loss_values(
    kernel: &'static str,
    buffers: &LossBuffers<'_>,
    [batch, positions, width]: [usize; 3],
    targets_of_sample: usize,
) -> Result<LossValues, GpuError> {
    index_u32(kernel, &[batch, positions, width])?;
    let rows = batch * positions;
    let found = buffers.labels.len();
    // A text has a window with its targets at least, other labels are those of whole samples.
    let fits = if buffers.windows { found > positions } else { found.is_multiple_of(targets_of_sample.max(1)) };
    if found == 0 || !fits {
        let whole = found.max(1).next_multiple_of(targets_of_sample.max(1));
        let expected = if buffers.windows { positions + 1 } else { whole };
        return Err(GpuError::Length { kernel, argument: "labels", expected, found });
    }
    buffers.logits.expect_len(kernel, "logits", rows * width)?;
    if let Some(gradient) = buffers.gradient.apart() {
        gradient.expect_len(kernel, "grad_logits", rows * width)?;
    }
    buffers.row_stats.expect_len(kernel, "row_stats", rows * 2)?;
    Ok(LossValues { first: 0, valid: 0, rows: rows as u32, width: width as u32, gradient_scale: 0.0, smoothing: 0.0 })
}

/// How many rows of a sample the kernels of losses take as given.
pub(super) fn positions_constant(positions: usize) -> Constant {
    ("POSITIONS", positions as f64)
}

/// What tells the kernels of losses that labels are one text; nothing where they are not.
pub(super) fn windows_constant(windows: bool) -> Option<Constant> {
    windows.then_some(flag("TARGET_WINDOWS", true))
}

/// What a loss kernel launches whose invocations take `per_round` elements of a row a round.
pub(super) fn loss_launch(
    target: &Target,
    spec: &'static KernelSpec,
    constants: &[Constant],
    [rows, width]: [usize; 2],
    per_round: usize,
) -> Result<Launch, GpuError> {
    let tree = Tree::rows(target.class, width.div_ceil(per_round));
    tree.launch(target, spec, constants, tree.workgroups(rows), tree.chain(width, per_round))
}

/// Classes that an invocation of the kernel takes a round.
pub(super) const PER_ROUND: usize = 4;

/// What [`softmax_nll`] launches, for outputs [batch, positions, width].
///
/// # Errors
/// [`GpuError::Grid`] past the target's grid.
pub fn softmax_nll_launch(
    target: &Target,
    [batch, positions, width]: [usize; 3],
    scaled: bool,
    in_place: Option<GradientInPlace>,
) -> Result<Launch, GpuError> {
    let mut constants = vec![flag("SCALED", scaled), positions_constant(positions)];
    constants.extend(in_place.map(|gradient| match gradient {
        GradientInPlace::Outputs => flag("IN_PLACE", true),
        GradientInPlace::LeftOut => flag("GRADIENT", false),
    }));
    loss_launch(target, &SOFTMAX_NLL, &constants, [batch * positions, width], PER_ROUND)
}

/// Plans `mean(-sum_c t[c] log softmax(logits)[c])`, where t is the target or what label smoothing makes of it, and its
/// gradient.
///
/// Shapes: outputs [batch, positions, width], see [`LossBuffers`]. Labels must be below `width`, which [`Dataset::check`](crate::data::Dataset::check)
/// sees to; a label or an index that is not gives a loss of no meaning, and touches nothing outside the bindings.
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn softmax_nll(
    gpu: &Gpu,
    class: AdapterClass,
    buffers: &LossBuffers<'_>,
    shape: [usize; 3],
) -> Result<LossKernel, GpuError> {
    let values = loss_values(SOFTMAX_NLL.entry, buffers, shape, shape[1])?;
    let (target, in_place) = (Target::with_class(gpu, class), buffers.gradient.in_place());
    let mut launch = softmax_nll_launch(&target, shape, buffers.scaling.is_some(), in_place)?;
    launch.constants.extend(windows_constant(buffers.windows));
    let unused = gpu.unused(0)?;
    // What is bound for nothing has to lie in a buffer that is bound for the same access.
    let gradient = buffers.gradient.apart().unwrap_or(buffers.logits);
    let scaling = buffers.scaling.unwrap_or(&unused);
    let views = [buffers.logits, buffers.labels, buffers.indices, gradient, buffers.row_stats, scaling];
    Ok(LossKernel { dispatch: gpu.bind(&launch, &views, &[])?, values, positions: shape[1] as u32, terms: 1.0 })
}
