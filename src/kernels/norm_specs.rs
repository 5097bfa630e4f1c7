//! The kernels of norms within a sample: `shaders/group_normalise*.wgsl`, `shaders/affine*.wgsl` and
//! `shaders/channel_normalise.wgsl`.

use crate::gpu::{Access, KernelSpec};

use super::norm_shape::NormShape;

macro_rules! norm_source {
    ($file:literal $(, $shared:literal)*) => {
        concat!(
            include_str!(concat!("../../shaders/", $file, ".wgsl")),
            $(include_str!(concat!("../../shaders/shared/", $shared, ".wgsl")),)*
            include_str!("../../shaders/shared/norm.wgsl"),
            include_str!("../../shaders/shared/index.wgsl"),
        )
    };
}

pub(super) static AFFINE: KernelSpec = KernelSpec {
    entry: "affine",
    source: norm_source!("affine"),
    bindings: &[("input", Access::Real), ("scale", Access::Real), ("shift", Access::Real), ("output", Access::Real)],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static AFFINE_GRADIENT: KernelSpec = KernelSpec {
    entry: "affine_gradient",
    source: norm_source!("affine_gradient", "part", "tree"),
    bindings: &[
        ("grad", Access::Real),
        ("input", Access::Real),
        ("grad_scale", Access::ReadWrite),
        ("grad_shift", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static CHANNEL_NORMALISE: KernelSpec = KernelSpec {
    entry: "channel_normalise",
    source: norm_source!("channel_normalise"),
    bindings: &[
        ("input", Access::ReadWrite),
        ("mean", Access::ReadWrite),
        ("variance", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static GROUP_NORMALISE: KernelSpec = KernelSpec {
    entry: "group_normalise",
    source: norm_source!("group_normalise", "tree"),
    bindings: &[("input", Access::Real), ("output", Access::Real), ("inv_std", Access::ReadWrite)],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static GROUP_NORMALISE_GRADIENT: KernelSpec = KernelSpec {
    entry: "group_normalise_gradient",
    source: norm_source!("group_normalise_gradient", "tree"),
    bindings: &[
        ("grad", Access::Real),
        ("xhat", Access::Real),
        ("inv_std", Access::ReadWrite),
        ("output", Access::Real),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static GROUP_NORMALISE_CURVATURE: KernelSpec = KernelSpec {
    entry: "group_normalise_curvature",
    source: norm_source!("group_normalise_curvature", "tree"),
    bindings: &[
        ("grad", Access::ReadWrite),
        ("xhat", Access::ReadWrite),
        ("x_tangent", Access::ReadWrite),
        ("xhat_tangent", Access::ReadWrite),
        ("inv_std", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};
