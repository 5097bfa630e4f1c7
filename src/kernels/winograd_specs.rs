//! The kernels of Winograd's convolutions, each for either tile, and what they are told.

use crate::gpu::{Access, GpuError, KernelSpec};

use super::{conv_shape::ConvShape, index_u32, winograd_tile::WinogradTile};

/// A kernel by its tile: bindings and registers have one type each, so it takes two sources.
#[derive(Debug)]
pub(super) struct ByTile {
    pub(super) two: KernelSpec,
    pub(super) four: KernelSpec,
}

impl ByTile {
    pub(super) fn spec(&'static self, tile: WinogradTile) -> &'static KernelSpec {
        match tile {
            WinogradTile::F2 => &self.two,
            WinogradTile::F4 => &self.four,
        }
    }
}

/// A run of tiles, as `shaders/shared/winograd.wgsl` has it: of the convolution what the kernels read, in the 64 bytes of
/// immediates that WebGPU grants.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Tiles {
    input: [u32; 3],
    output: [u32; 3],
    padding: [u32; 2],
    first: u32,
    count: u32,
}

impl Tiles {
    pub(super) fn new(shape: &ConvShape, first: usize, count: usize) -> Result<Self, GpuError> {
        Ok(Self {
            input: shape.input,
            output: shape.output,
            padding: shape.padding,
            first: index_u32(WINOGRAD_INPUT.two.entry, &[first])?,
            count: index_u32(WINOGRAD_INPUT.two.entry, &[count])?,
        })
    }
}

/// What `winograd_weight_gradient` is told.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Sums {
    pub(super) in_channels: u32,
    pub(super) out_channels: u32,
    pub(super) whole_runs: u32,
    pub(super) parts: u32,
    pub(super) last_parts: u32,
}

/// A kernel's file with what all of them share, and what else it wants.
macro_rules! source {
    ($kernel:literal, $tile:literal $(, $part:literal)*) => {
        concat!(
            include_str!(concat!("../../shaders/", $kernel, ".wgsl")),
            include_str!(concat!("../../shaders/shared/winograd_", $tile, ".wgsl")),
            include_str!("../../shaders/shared/winograd.wgsl"),
            include_str!("../../shaders/shared/conv.wgsl"),
            include_str!("../../shaders/shared/index.wgsl"),
            $(include_str!(concat!("../../shaders/shared/", $part, ".wgsl")),)*
        )
    };
}

macro_rules! input {
    ($tile:literal) => {
        KernelSpec {
            entry: "winograd_input",
            source: source!("winograd_input", $tile, "winograd_put"),
            bindings: &[("input", Access::Real), ("output", Access::ReadWrite)],
            immediate_bytes: size_of::<Tiles>() as u32,
        }
    };
}

pub(super) static WINOGRAD_INPUT: ByTile = ByTile { two: input!("2"), four: input!("4") };

macro_rules! weight {
    ($tile:literal) => {
        KernelSpec {
            entry: "winograd_weight",
            source: source!("winograd_weight", $tile, "winograd_put"),
            bindings: &[("packed", Access::Real), ("output", Access::ReadWrite)],
            immediate_bytes: size_of::<ConvShape>() as u32,
        }
    };
}

pub(super) static WINOGRAD_WEIGHT: ByTile = ByTile { two: weight!("2"), four: weight!("4") };

macro_rules! output {
    ($tile:literal) => {
        KernelSpec {
            entry: "winograd_output",
            source: source!("winograd_output", $tile, "activation", "math"),
            bindings: &[("sums", Access::Read), ("aux", Access::Real), ("c", Access::Out), ("pre", Access::Real)],
            immediate_bytes: size_of::<Tiles>() as u32,
        }
    };
}

pub(super) static WINOGRAD_OUTPUT: ByTile = ByTile { two: output!("2"), four: output!("4") };

macro_rules! gradient {
    ($tile:literal) => {
        KernelSpec {
            entry: "winograd_gradient",
            source: source!("winograd_gradient", $tile, "winograd_put"),
            bindings: &[("gradient", Access::Real), ("output", Access::ReadWrite)],
            immediate_bytes: size_of::<Tiles>() as u32,
        }
    };
}

pub(super) static WINOGRAD_GRADIENT: ByTile = ByTile { two: gradient!("2"), four: gradient!("4") };

macro_rules! weight_gradient {
    ($tile:literal) => {
        KernelSpec {
            entry: "winograd_weight_gradient",
            source: source!("winograd_weight_gradient", $tile),
            bindings: &[("sums", Access::Read), ("c", Access::ReadWrite)],
            immediate_bytes: size_of::<Sums>() as u32,
        }
    };
}

pub(super) static WINOGRAD_WEIGHT_GRADIENT: ByTile = ByTile { two: weight_gradient!("2"), four: weight_gradient!("4") };
