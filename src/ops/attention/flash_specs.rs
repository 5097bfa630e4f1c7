//! The kernels of attention in memory linear in the length, `shaders/flash*.wgsl`.

use crate::gpu::{Access, KernelSpec};

/// What all kernels are told: `FlashShape` in `shaders/shared/flash_shape.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct FlashValues {
    pub(super) sequences: u32,
    pub(super) length: u32,
    pub(super) heads: u32,
    pub(super) head_dim: u32,
    pub(super) causal: u32,
    pub(super) scale: f32,
    pub(super) layer: u32,
    pub(super) threshold: u32,
    pub(super) kept_scale: f32,
    pub(super) step: u32,
    pub(super) seed_low: u32,
    pub(super) seed_high: u32,
}

/// A kernel's file, then what those over tiles share.
macro_rules! tiles {
    ($file:literal) => {
        concat!(
            include_str!(concat!("../../../shaders/", $file)),
            include_str!("../../../shaders/shared/flash.wgsl"),
            include_str!("../../../shaders/shared/flash_shape.wgsl"),
            include_str!("../../../shaders/shared/index.wgsl"),
            include_str!("../../../shaders/shared/math.wgsl"),
        )
    };
}

/// As `tiles`, with dropout's mask.
macro_rules! masked_tiles {
    ($file:literal) => {
        concat!(
            tiles!($file),
            include_str!("../../../shaders/shared/kept.wgsl"),
            include_str!("../../../shaders/shared/noise.wgsl"),
            include_str!("../../../shaders/shared/philox.wgsl"),
        )
    };
}

const IMMEDIATE_BYTES: u32 = size_of::<FlashValues>() as u32;

pub(super) static FLASH: KernelSpec = KernelSpec {
    entry: "flash",
    source: masked_tiles!("flash.wgsl"),
    bindings: &[("qkv", Access::Real), ("output", Access::Real), ("lse", Access::ReadWrite)],
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static FLASH_ROWS: KernelSpec = KernelSpec {
    entry: "flash_rows",
    source: concat!(
        include_str!("../../../shaders/flash_rows.wgsl"),
        include_str!("../../../shaders/shared/flash_shape.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[
        ("output", Access::Real),
        ("grad", Access::Real),
        ("lse", Access::ReadWrite),
        ("output_tangent", Access::ReadWrite),
        ("grad_tangent", Access::ReadWrite),
        ("mu", Access::ReadWrite),
        ("rows", Access::ReadWrite),
    ],
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static FLASH_GRADIENT: KernelSpec = KernelSpec {
    entry: "flash_gradient",
    source: masked_tiles!("flash_gradient.wgsl"),
    bindings: &[("qkv", Access::Real), ("grad", Access::Real), ("rows", Access::ReadWrite), ("grad_qkv", Access::Real)],
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static FLASH_TANGENT: KernelSpec = KernelSpec {
    entry: "flash_tangent",
    source: tiles!("flash_tangent.wgsl"),
    bindings: &[
        ("qkv", Access::ReadWrite),
        ("qkv_tangent", Access::ReadWrite),
        ("lse", Access::ReadWrite),
        ("output", Access::ReadWrite),
        ("output_tangent", Access::ReadWrite),
        ("mu", Access::ReadWrite),
    ],
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static FLASH_GRADIENT_TANGENT: KernelSpec = KernelSpec {
    entry: "flash_gradient_tangent",
    source: tiles!("flash_gradient_tangent.wgsl"),
    bindings: &[
        ("qkv", Access::ReadWrite),
        ("grad", Access::ReadWrite),
        ("qkv_tangent", Access::ReadWrite),
        ("grad_tangent", Access::ReadWrite),
        ("rows", Access::ReadWrite),
        ("result", Access::ReadWrite),
    ],
    immediate_bytes: IMMEDIATE_BYTES,
};
