//! The kernels of products: `shaders/matmul_*.wgsl` with the shared parts that each is made of.

use crate::gpu::KernelSpec;

use super::{
    matmul_shape::MatmulShape,
    store::{BINDINGS, ByStore},
};

macro_rules! matmul_block {
    ($width:literal) => {
        KernelSpec {
            entry: "matmul_block",
            source: concat!(
                include_str!("../../shaders/matmul_block.wgsl"),
                include_str!("../../shaders/shared/block.wgsl"),
                include_str!("../../shaders/shared/part.wgsl"),
                include_str!(concat!("../../shaders/shared/store_", $width, ".wgsl")),
                include_str!(concat!("../../shaders/shared/pre_", $width, ".wgsl")),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<MatmulShape>() as u32,
        }
    };
}

pub(super) static MATMUL_BLOCK: ByStore = ByStore { vectors: matmul_block!("4"), elements: matmul_block!("1") };

macro_rules! matmul_software {
    ($width:literal) => {
        KernelSpec {
            entry: "matmul_software",
            source: concat!(
                include_str!("../../shaders/matmul_software.wgsl"),
                include_str!("../../shaders/shared/tile.wgsl"),
                include_str!(concat!("../../shaders/shared/store_", $width, ".wgsl")),
                include_str!(concat!("../../shaders/shared/pre_", $width, ".wgsl")),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<MatmulShape>() as u32,
        }
    };
}

pub(super) static MATMUL_SOFTWARE: ByStore =
    ByStore { vectors: matmul_software!("4"), elements: matmul_software!("1") };

macro_rules! matmul_coop {
    ($matrices:literal, $width:literal) => {
        KernelSpec {
            entry: "matmul_coop",
            source: concat!(
                include_str!("../../shaders/matmul_coop.wgsl"),
                include_str!($matrices),
                include_str!("../../shaders/shared/coop.wgsl"),
                include_str!("../../shaders/shared/part.wgsl"),
                include_str!(concat!("../../shaders/shared/store_", $width, ".wgsl")),
                include_str!(concat!("../../shaders/shared/pre_", $width, ".wgsl")),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<MatmulShape>() as u32,
        }
    };
}

pub(super) static MATMUL_COOP_8: ByStore = ByStore {
    vectors: matmul_coop!("../../shaders/shared/coop_8.wgsl", "4"),
    elements: matmul_coop!("../../shaders/shared/coop_8.wgsl", "1"),
};

pub(super) static MATMUL_COOP_16: ByStore = ByStore {
    vectors: matmul_coop!("../../shaders/shared/coop_16.wgsl", "4"),
    elements: matmul_coop!("../../shaders/shared/coop_16.wgsl", "1"),
};
