//! Softmax of attention's scores and its derivatives: the host side of `shaders/attention_softmax*.wgsl`.

use crate::{
    gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View},
    kernels::{AdapterClass, Target, Tree, flag},
};

use super::shape::AttentionShape;

/// `AttentionRows` of `shaders/shared/attention_row.wgsl`: rows, length.
const VALUES_BYTES: u32 = 8;

pub(super) static SOFTMAX: KernelSpec = KernelSpec {
    entry: "attention_softmax",
    source: concat!(
        include_str!("../../../shaders/attention_softmax.wgsl"),
        include_str!("../../../shaders/shared/attention_row.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[("scores", Access::ReadWrite), ("probabilities", Access::Real)],
    immediate_bytes: VALUES_BYTES,
};

pub(super) static SOFTMAX_GRADIENT: KernelSpec = KernelSpec {
    entry: "attention_softmax_gradient",
    source: concat!(
        include_str!("../../../shaders/attention_softmax_gradient.wgsl"),
        include_str!("../../../shaders/shared/attention_row.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("probabilities", Access::Real), ("upstream", Access::ReadWrite), ("output", Access::Real)],
    immediate_bytes: VALUES_BYTES,
};

pub(super) static SOFTMAX_CURVATURE: KernelSpec = KernelSpec {
    entry: "attention_softmax_curvature",
    source: concat!(
        include_str!("../../../shaders/attention_softmax_curvature.wgsl"),
        include_str!("../../../shaders/shared/attention_row.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("probabilities", Access::ReadWrite),
        ("upstream", Access::ReadWrite),
        ("probabilities_tangent", Access::ReadWrite),
        ("upstream_tangent", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: VALUES_BYTES,
};

/// What a kernel over the rows of `shape` launches.
fn launch(spec: &'static KernelSpec, target: &Target, shape: &AttentionShape) -> Result<Launch, GpuError> {
    shape.expect_scores(spec.entry)?;
    let tree = Tree::rows(target.class, shape.length);
    let constants = [flag("CAUSAL", shape.causal)];
    tree.launch(target, spec, &constants, tree.workgroups(shape.rows()), tree.chain(shape.length, 1))
}

/// What [`attention_softmax`] launches.
pub(super) fn softmax_launch(target: &Target, shape: &AttentionShape) -> Result<Launch, GpuError> {
    launch(&SOFTMAX, target, shape)
}

/// What [`attention_softmax_gradient`] launches.
pub(super) fn gradient_launch(target: &Target, shape: &AttentionShape) -> Result<Launch, GpuError> {
    launch(&SOFTMAX_GRADIENT, target, shape)
}

/// What [`attention_softmax_curvature`] launches.
pub(super) fn curvature_launch(target: &Target, shape: &AttentionShape) -> Result<Launch, GpuError> {
    launch(&SOFTMAX_CURVATURE, target, shape)
}

fn bind(gpu: &Gpu, launch: &Launch, shape: &AttentionShape, views: &[&View]) -> Result<Dispatch, GpuError> {
    for (view, (argument, _)) in views.iter().zip(launch.spec.bindings) {
        view.expect_len(launch.spec.entry, argument, shape.scores())?;
    }
    gpu.bind(launch, views, bytemuck::cast_slice(&[shape.rows() as u32, shape.length as u32]))
}

/// Plans `probabilities = softmax of the rows of scores`, 0 where they are masked. Shapes: [batch, heads, length, length].
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn attention_softmax(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &AttentionShape,
    [scores, probabilities]: [&View; 2],
) -> Result<Dispatch, GpuError> {
    bind(gpu, &softmax_launch(&Target::with_class(gpu, class), shape)?, shape, &[scores, probabilities])
}

/// Plans the derivative of [`attention_softmax`], which made `probabilities`, applied to `upstream`. Shapes as there.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn attention_softmax_gradient(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &AttentionShape,
    views: [&View; 3],
) -> Result<Dispatch, GpuError> {
    bind(gpu, &gradient_launch(&Target::with_class(gpu, class), shape)?, shape, &views)
}

/// Plans the tangent of [`attention_softmax_gradient`], along those of both that it reads: probabilities, upstream, their
/// tangents, output. Shapes as there.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn attention_softmax_curvature(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &AttentionShape,
    views: [&View; 5],
) -> Result<Dispatch, GpuError> {
    bind(gpu, &curvature_launch(&Target::with_class(gpu, class), shape)?, shape, &views)
}
