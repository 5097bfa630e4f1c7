//! Batch norm, fused with a residual sum and an activation: the host side of `shaders/batch_norm_*.wgsl`.

mod forward;
mod gradient;
mod shape;

pub use forward::{BatchNorm, BatchNormViews};
pub use gradient::{BatchNormGradient, BatchNormGradientViews};
pub use shape::{BatchNormAdds, BatchNormGeometry, BatchNormShape, BatchNormVariant, ForwardLaunches};

pub(super) use forward::{BATCH_NORM_APPLY, BATCH_NORM_FINISH};
pub(super) use gradient::{BATCH_NORM_GRADIENT, BATCH_NORM_GRADIENT_FINISH};

use crate::gpu::{Access, KernelSpec};

pub(super) static BATCH_NORM_MOMENTS: KernelSpec = KernelSpec {
    entry: "batch_norm_moments",
    source: concat!(
        include_str!("../../../shaders/batch_norm_moments.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
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

/// The first step's immediates.
fn moments_values(shape: BatchNormShape, variant: BatchNormVariant, rows: usize) -> [u32; 4] {
    let cut = shape.geometry(variant);
    [rows, shape.quads(), cut.rows_per_chunk(), cut.chunks].map(|size| size as u32)
}
