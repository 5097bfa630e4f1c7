//! The kernels of convolutions: what `conv` chooses from.

use crate::gpu::{Access, KernelSpec};

use super::{
    conv_shape::ConvShape,
    store::{BINDINGS, ByStore},
};

macro_rules! conv_software {
    ($width:literal) => {
        KernelSpec {
            entry: "conv_software",
            source: concat!(
                include_str!("../../shaders/conv_software.wgsl"),
                include_str!("../../shaders/shared/window.wgsl"),
                include_str!("../../shaders/shared/tile.wgsl"),
                include_str!("../../shaders/shared/conv.wgsl"),
                include_str!("../../shaders/shared/conv_store.wgsl"),
                include_str!(concat!("../../shaders/shared/store_", $width, ".wgsl")),
                include_str!(concat!("../../shaders/shared/pre_", $width, ".wgsl")),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<ConvShape>() as u32,
        }
    };
}

pub(super) static CONV_SOFTWARE: ByStore = ByStore { vectors: conv_software!("4"), elements: conv_software!("1") };

pub(super) static CONV_NARROW: KernelSpec = KernelSpec {
    entry: "conv_narrow",
    source: concat!(
        include_str!("../../shaders/conv_narrow.wgsl"),
        include_str!("../../shaders/shared/window.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/conv_store.wgsl"),
        include_str!("../../shaders/shared/store_4.wgsl"),
        include_str!("../../shaders/shared/pre_4.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

macro_rules! conv_block {
    ($width:literal) => {
        KernelSpec {
            entry: "conv_block",
            source: concat!(
                include_str!("../../shaders/conv_block.wgsl"),
                include_str!("../../shaders/shared/block.wgsl"),
                include_str!("../../shaders/shared/part.wgsl"),
                include_str!("../../shaders/shared/conv.wgsl"),
                include_str!("../../shaders/shared/conv_gather.wgsl"),
                include_str!("../../shaders/shared/conv_store.wgsl"),
                include_str!(concat!("../../shaders/shared/store_", $width, ".wgsl")),
                include_str!(concat!("../../shaders/shared/pre_", $width, ".wgsl")),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<ConvShape>() as u32,
        }
    };
}

pub(super) static CONV_BLOCK: ByStore = ByStore { vectors: conv_block!("4"), elements: conv_block!("1") };

macro_rules! conv_tile {
    ($width:literal) => {
        KernelSpec {
            entry: "conv_tile",
            source: concat!(
                include_str!("../../shaders/conv_tile.wgsl"),
                include_str!("../../shaders/shared/part.wgsl"),
                include_str!("../../shaders/shared/conv.wgsl"),
                include_str!("../../shaders/shared/conv_gather.wgsl"),
                include_str!("../../shaders/shared/conv_store.wgsl"),
                include_str!(concat!("../../shaders/shared/store_", $width, ".wgsl")),
                include_str!(concat!("../../shaders/shared/pre_", $width, ".wgsl")),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<ConvShape>() as u32,
        }
    };
}

pub(super) static CONV_TILE: ByStore = ByStore { vectors: conv_tile!("4"), elements: conv_tile!("1") };

macro_rules! conv_coop {
    ($matrices:literal, $width:literal) => {
        KernelSpec {
            entry: "conv_coop",
            source: concat!(
                include_str!("../../shaders/conv_coop.wgsl"),
                include_str!($matrices),
                include_str!("../../shaders/shared/coop.wgsl"),
                include_str!("../../shaders/shared/part.wgsl"),
                include_str!("../../shaders/shared/conv.wgsl"),
                include_str!("../../shaders/shared/conv_gather.wgsl"),
                include_str!("../../shaders/shared/pixels.wgsl"),
                include_str!("../../shaders/shared/conv_store.wgsl"),
                include_str!(concat!("../../shaders/shared/store_", $width, ".wgsl")),
                include_str!(concat!("../../shaders/shared/pre_", $width, ".wgsl")),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<ConvShape>() as u32,
        }
    };
}

pub(super) static CONV_COOP_8: ByStore = ByStore {
    vectors: conv_coop!("../../shaders/shared/coop_8.wgsl", "4"),
    elements: conv_coop!("../../shaders/shared/coop_8.wgsl", "1"),
};

pub(super) static CONV_COOP_16: ByStore = ByStore {
    vectors: conv_coop!("../../shaders/shared/coop_16.wgsl", "4"),
    elements: conv_coop!("../../shaders/shared/coop_16.wgsl", "1"),
};

macro_rules! conv_coop_row {
    ($matrices:literal) => {
        KernelSpec {
            entry: "conv_coop_row",
            source: concat!(
                include_str!("../../shaders/conv_coop_row.wgsl"),
                include_str!($matrices),
                include_str!("../../shaders/shared/coop.wgsl"),
                include_str!("../../shaders/shared/part.wgsl"),
                include_str!("../../shaders/shared/conv.wgsl"),
                include_str!("../../shaders/shared/conv_store.wgsl"),
                include_str!("../../shaders/shared/store_1.wgsl"),
                include_str!("../../shaders/shared/pre_1.wgsl"),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<ConvShape>() as u32,
        }
    };
}

pub(super) static CONV_COOP_ROW_8: KernelSpec = conv_coop_row!("../../shaders/shared/coop_8.wgsl");

pub(super) static CONV_COOP_ROW_16: KernelSpec = conv_coop_row!("../../shaders/shared/coop_16.wgsl");

pub(super) static CONV_PACK: KernelSpec = KernelSpec {
    entry: "conv_pack",
    source: concat!(
        include_str!("../../shaders/conv_pack.wgsl"),
        include_str!("../../shaders/shared/jobs.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("table", Access::Read), ("weight", Access::Real), ("output", Access::Real)],
    immediate_bytes: 0,
};
