//! Softmax and negative log likelihood over parts of the classes, where the logits are past a binding: the host side of
//! `shaders/nll_part.wgsl` and `shaders/nll_part_gradient.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View};

use crate::{
    graph::{BatchInfo, LossTerms, Record},
    kernels::{AdapterClass, Constant, Target, flag, index_u32},
};

use super::softmax_nll::{LossValues, PER_ROUND, loss_launch, positions_constant, windows_constant};

pub(super) static NLL_PART: KernelSpec = KernelSpec {
    entry: "nll_part",
    source: concat!(
        include_str!("../../../shaders/nll_part.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/loss_part.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
        include_str!("../../../shaders/shared/target.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[
        ("logits", Access::Real),
        ("tangent", Access::Real),
        ("labels", Access::Index),
        ("indices", Access::Index),
        ("so_far", Access::ReadWrite),
        ("row_stats", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<PartValues>() as u32,
};

pub(super) static NLL_PART_GRADIENT: KernelSpec = KernelSpec {
    entry: "nll_part_gradient",
    source: concat!(
        include_str!("../../../shaders/nll_part_gradient.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/loss_part.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
        include_str!("../../../shaders/shared/scaling.wgsl"),
        include_str!("../../../shaders/shared/target.wgsl"),
    ),
    bindings: &[
        ("logits", Access::Real),
        ("tangent", Access::Real),
        ("labels", Access::Index),
        ("indices", Access::Index),
        ("so_far", Access::ReadWrite),
        ("output", Access::Real),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<PartValues>() as u32,
};

/// Words that the kernels keep of each row from one part to the next.
pub(super) const ROW_WORDS: usize = 8;

/// Immediates: `LossPart` in `shaders/shared/loss_part.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct PartValues {
    loss: LossValues,
    first_class: u32,
    columns: u32,
}

/// A part of the classes of outputs [batch, positions, classes].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassPart {
    /// [batch, positions, classes]
    pub shape: [usize; 3],
    /// Its first class.
    pub first: usize,
    /// Its classes.
    pub columns: usize,
}

impl ClassPart {
    fn rows(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    fn constants(&self, tangent: bool) -> Vec<Constant> {
        vec![positions_constant(self.shape[1]), flag("TANGENT", tangent)]
    }

    /// What gathering it launches; `tangent` for the tangent of the gradient.
    pub(super) fn gather_launch(&self, target: &Target, tangent: bool) -> Result<Launch, GpuError> {
        loss_launch(target, &NLL_PART, &self.constants(tangent), [self.rows(), self.columns], PER_ROUND)
    }

    /// What its gradient launches.
    pub(super) fn gradient_launch(&self, target: &Target, form: PartForm) -> Result<Launch, GpuError> {
        let mut constants = self.constants(form.tangent);
        constants.extend([flag("SCALED", form.scaled), flag("IN_PLACE", form.in_place)]);
        loss_launch(target, &NLL_PART_GRADIENT, &constants, [self.rows(), self.columns], 1)
    }

    /// Binds a launch to views in the order of its kernel's bindings.
    fn bind(&self, gpu: &Gpu, launch: &Launch, views: &[&View]) -> Result<PartKernel, GpuError> {
        let (entry, [_, positions, classes]) = (launch.spec.entry, self.shape);
        index_u32(entry, &[self.rows(), self.columns])?;
        for ((argument, _), view) in launch.spec.bindings.iter().zip(views) {
            match *argument {
                "logits" => view.expect_len(entry, argument, self.rows() * self.columns)?,
                "so_far" => view.expect_len(entry, argument, self.rows() * ROW_WORDS)?,
                _ => {}
            }
        }
        let loss = LossValues {
            first: 0,
            valid: 0,
            rows: self.rows() as u32,
            width: classes as u32,
            gradient_scale: 0.0,
            smoothing: 0.0,
        };
        let values = PartValues { loss, first_class: self.first as u32, columns: self.columns as u32 };
        Ok(PartKernel { dispatch: gpu.bind(launch, views, &[])?, values, positions: positions as u32 })
    }
}

/// Which gradient of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartForm {
    /// Whether it is multiplied by the loss scale.
    pub scaled: bool,
    /// Whether it takes the place of the logits.
    pub in_place: bool,
    /// Whether it is the tangent of the gradient.
    pub tangent: bool,
}

/// What the kernels of a part read and write; rows are batch x positions.
#[derive(Debug)]
pub struct PartBuffers<'a> {
    /// [rows, columns]
    pub logits: &'a View,
    /// [rows, columns], the tangent of the logits, for that of the gradient.
    pub tangent: Option<&'a View>,
    /// As [`LossBuffers::labels`](super::LossBuffers::labels) and the indices after it; not for a tangent.
    pub targets: Option<[&'a View; 2]>,
    /// As [`LossBuffers::windows`](super::LossBuffers::windows).
    pub windows: bool,
    /// [rows, 8], what is gathered so far
    pub so_far: &'a View,
}

/// Plans the gathering of a part: after the last one [rows, 2] `row_stats` are there, if asked for.
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn nll_part(
    gpu: &Gpu,
    class: AdapterClass,
    buffers: &PartBuffers<'_>,
    row_stats: Option<&View>,
    part: ClassPart,
) -> Result<PartKernel, GpuError> {
    let mut launch = part.gather_launch(&Target::with_class(gpu, class), buffers.tangent.is_some())?;
    launch.constants.extend(windows_constant(buffers.windows));
    let unused = gpu.unused(0)?;
    let [labels, indices] = buffers.targets.unwrap_or([&unused; 2]);
    // What is bound for nothing has to lie in a buffer that is bound for the same access.
    let (tangent, stats) = (buffers.tangent.unwrap_or(buffers.logits), row_stats.unwrap_or(buffers.so_far));
    part.bind(gpu, &launch, &[buffers.logits, tangent, labels, indices, buffers.so_far, stats])
}

/// Plans the gradient of a part, or its tangent, once all parts are gathered; `output` [rows, columns] unless it goes in place.
///
/// # Errors
/// As [`nll_part`].
pub fn nll_part_gradient(
    gpu: &Gpu,
    class: AdapterClass,
    buffers: &PartBuffers<'_>,
    [output, scaling]: [Option<&View>; 2],
    part: ClassPart,
) -> Result<PartKernel, GpuError> {
    let form = PartForm { scaled: scaling.is_some(), in_place: output.is_none(), tangent: buffers.tangent.is_some() };
    let mut launch = part.gradient_launch(&Target::with_class(gpu, class), form)?;
    launch.constants.extend(windows_constant(buffers.windows));
    let unused = gpu.unused(0)?;
    let [labels, indices] = buffers.targets.unwrap_or([&unused; 2]);
    let (tangent, output) = (buffers.tangent.unwrap_or(buffers.logits), output.unwrap_or(buffers.logits));
    let scaling = scaling.unwrap_or(&unused);
    part.bind(gpu, &launch, &[buffers.logits, tangent, labels, indices, buffers.so_far, output, scaling])
}

/// A planned kernel of a part.
#[derive(Debug)]
pub struct PartKernel {
    dispatch: Dispatch,
    values: PartValues,
    positions: u32,
}

impl PartKernel {
    /// Records it for `valid` samples from position `first` on.
    pub fn run(&self, recorder: &mut Recorder<'_>, first: u32, valid: u32, terms: LossTerms) {
        let loss = self.values.loss.of_batch([first, valid, self.positions], terms, 1.0);
        recorder.run_with(&self.dispatch, bytemuck::bytes_of(&PartValues { loss, ..self.values }));
    }
}

impl Record for PartKernel {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![&self.dispatch]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        self.run(recorder, batch.first, batch.valid, batch.terms);
    }
}
