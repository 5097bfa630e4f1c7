//! The kernels of batch norm: `shaders/batch_norm_*.wgsl` with the shared parts that each is made of.

use crate::gpu::{Access, KernelSpec};

/// Immediates of all of them: `Batch` in `shaders/shared/batch.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Batch {
    pub(super) rows: u32,
    pub(super) all_rows: u32,
    pub(super) quads: u32,
    pub(super) channels: u32,
    pub(super) rows_per_chunk: u32,
    pub(super) chunks: u32,
    pub(super) filled: u32,
    pub(super) rows_per_tile: u32,
    pub(super) momentum: f32,
    pub(super) eps: f32,
}

const BATCH_BYTES: u32 = size_of::<Batch>() as u32;

pub(super) static BATCH_NORM_MOMENTS: KernelSpec = KernelSpec {
    entry: "batch_norm_moments",
    source: concat!(
        include_str!("../../../shaders/batch_norm_moments.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/cut.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/partials.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("x", Access::Real),
        ("weight", Access::Real),
        ("bias", Access::Real),
        ("table", Access::ReadWrite),
        ("partials", Access::ReadWrite),
    ],
    immediate_bytes: BATCH_BYTES,
};

pub(super) static BATCH_NORM_GRADIENT_MOMENTS: KernelSpec = KernelSpec {
    entry: "batch_norm_gradient_moments",
    source: concat!(
        include_str!("../../../shaders/batch_norm_gradient_moments.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/cut.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/partials.wgsl"),
        include_str!("../../../shaders/shared/table.wgsl"),
        include_str!("../../../shaders/shared/upstream.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("grad", Access::Real),
        ("saved", Access::Real),
        ("x", Access::Real),
        ("table", Access::ReadWrite),
        ("partials", Access::ReadWrite),
        ("grad_residual", Access::Real),
    ],
    immediate_bytes: BATCH_BYTES,
};

pub(super) static BATCH_NORM_FINISH: KernelSpec = KernelSpec {
    entry: "batch_norm_finish",
    source: concat!(
        include_str!("../../../shaders/batch_norm_finish.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/partials.wgsl"),
        include_str!("../../../shaders/shared/running.wgsl"),
        include_str!("../../../shaders/shared/finite.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("partials", Access::ReadWrite),
        ("weight", Access::Real),
        ("bias", Access::Real),
        ("running_mean", Access::ReadWrite),
        ("running_var", Access::ReadWrite),
        ("table", Access::ReadWrite),
    ],
    immediate_bytes: BATCH_BYTES,
};

pub(super) static BATCH_NORM_APPLY: KernelSpec = KernelSpec {
    entry: "batch_norm_apply",
    source: concat!(
        include_str!("../../../shaders/batch_norm_apply.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/table.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("x", Access::Real),
        ("residual", Access::Real),
        ("weight", Access::Real),
        ("bias", Access::Real),
        ("running_mean", Access::ReadWrite),
        ("running_var", Access::ReadWrite),
        ("table", Access::ReadWrite),
        ("y", Access::Real),
    ],
    immediate_bytes: BATCH_BYTES,
};

pub(super) static BATCH_NORM_FINISH_APPLY: KernelSpec = KernelSpec {
    entry: "batch_norm_finish_apply",
    source: concat!(
        include_str!("../../../shaders/batch_norm_finish_apply.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/cut.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/partials.wgsl"),
        include_str!("../../../shaders/shared/table.wgsl"),
        include_str!("../../../shaders/shared/running.wgsl"),
        include_str!("../../../shaders/shared/finite.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("x", Access::Real),
        ("residual", Access::Real),
        ("partials", Access::ReadWrite),
        ("running_mean", Access::ReadWrite),
        ("running_var", Access::ReadWrite),
        ("table", Access::ReadWrite),
        ("y", Access::Real),
    ],
    immediate_bytes: BATCH_BYTES,
};

pub(super) static BATCH_NORM_GRADIENT_FINISH: KernelSpec = KernelSpec {
    entry: "batch_norm_gradient_finish",
    source: concat!(
        include_str!("../../../shaders/batch_norm_gradient_finish.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/partials.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("partials", Access::ReadWrite),
        ("table", Access::ReadWrite),
        ("grad_weight", Access::ReadWrite),
        ("grad_bias", Access::ReadWrite),
        ("coefficients", Access::ReadWrite),
    ],
    immediate_bytes: BATCH_BYTES,
};

pub(super) static BATCH_NORM_GRADIENT: KernelSpec = KernelSpec {
    entry: "batch_norm_gradient",
    source: concat!(
        include_str!("../../../shaders/batch_norm_gradient.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/table.wgsl"),
        include_str!("../../../shaders/shared/upstream.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
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
    immediate_bytes: BATCH_BYTES,
};

pub(super) static BATCH_NORM_FINISH_GRADIENT: KernelSpec = KernelSpec {
    entry: "batch_norm_finish_gradient",
    source: concat!(
        include_str!("../../../shaders/batch_norm_finish_gradient.wgsl"),
        include_str!("../../../shaders/shared/batch.wgsl"),
        include_str!("../../../shaders/shared/cut.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/partials.wgsl"),
        include_str!("../../../shaders/shared/table.wgsl"),
        include_str!("../../../shaders/shared/upstream.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("grad", Access::Real),
        ("saved", Access::Real),
        ("x", Access::Real),
        ("table", Access::ReadWrite),
        ("partials", Access::ReadWrite),
        ("grad_weight", Access::ReadWrite),
        ("grad_bias", Access::ReadWrite),
        ("grad_x", Access::Real),
    ],
    immediate_bytes: BATCH_BYTES,
};
