//! 2-d convolutions as implicit matrix products: the host side of `shaders/conv_*.wgsl`.

use crate::gpu::{Access, Dispatch, Element, Gpu, GpuError, Grid, KernelSpec, View};

use super::{
    Constant, CoopTile, WORKGROUP, WORKGROUP_SIZE,
    conv_direct::{self, CONV_DIRECT},
    conv_shape::{ConvPass, ConvShape},
    flag, index_u32,
    matmul::{Epilogue, SOFTWARE_LANES, SPLIT_WORKGROUPS, epilogue_constants, row_lanes},
    split_sum::{SplitSum, parts},
    winograd::{self, WINOGRAD_OUTPUT},
};

/// Workgroups that a weight gradient aims at on a software adapter, whose cores take one at a time: with fewer, some idle.
const SOFTWARE_WORKGROUPS: usize = 16;

/// Quads of channels that `SoftwareNarrow` takes at most.
const NARROW_QUADS: usize = 4;

pub(super) const CONV_BINDINGS: &[(&str, Access)] =
    &[("a", Access::Real), ("b", Access::Real), ("aux", Access::Real), ("c", Access::Out), ("pre", Access::Real)];

pub(super) static CONV_SOFTWARE: KernelSpec = KernelSpec {
    entry: "conv_software",
    source: concat!(
        include_str!("../../shaders/conv_software.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/tile.wgsl"),
        include_str!("../../shaders/shared/conv_store.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: CONV_BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

pub(super) static CONV_BLOCK: KernelSpec = KernelSpec {
    entry: "conv_block",
    source: concat!(
        include_str!("../../shaders/conv_block.wgsl"),
        include_str!("../../shaders/shared/block.wgsl"),
        include_str!("../../shaders/shared/part.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/conv_gather.wgsl"),
        include_str!("../../shaders/shared/conv_store.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: CONV_BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

pub(super) static CONV_TILE: KernelSpec = KernelSpec {
    entry: "conv_tile",
    source: concat!(
        include_str!("../../shaders/conv_tile.wgsl"),
        include_str!("../../shaders/shared/part.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/conv_gather.wgsl"),
        include_str!("../../shaders/shared/conv_store.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: CONV_BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

macro_rules! conv_coop {
    ($matrices:literal) => {
        KernelSpec {
            entry: "conv_coop",
            source: concat!(
                include_str!("../../shaders/conv_coop.wgsl"),
                include_str!($matrices),
                include_str!("../../shaders/shared/coop.wgsl"),
                include_str!("../../shaders/shared/part.wgsl"),
                include_str!("../../shaders/shared/conv.wgsl"),
                include_str!("../../shaders/shared/conv_gather.wgsl"),
                include_str!("../../shaders/shared/conv_store.wgsl"),
                include_str!("../../shaders/shared/activation.wgsl"),
                include_str!("../../shaders/shared/math.wgsl"),
            ),
            bindings: CONV_BINDINGS,
            immediate_bytes: size_of::<ConvShape>() as u32,
        }
    };
}

pub(super) static CONV_COOP_8: KernelSpec = conv_coop!("../../shaders/shared/coop_8.wgsl");
pub(super) static CONV_COOP_16: KernelSpec = conv_coop!("../../shaders/shared/coop_16.wgsl");

pub(super) static CONV_PACK: KernelSpec = KernelSpec {
    entry: "conv_pack",
    source: concat!(
        include_str!("../../shaders/conv_pack.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("weight", Access::Real), ("output", Access::Real)],
    immediate_bytes: size_of::<ConvShape>() as u32,
};

/// The tensors of a pass; those without a use in the epilogue are `None`. Images are
/// [batch, height, width, padded channels].
#[derive(Clone, Copy, Debug)]
pub struct ConvOperands<'a> {
    /// Input, or gradient of the output.
    pub a: &'a View,
    /// Weight ([`conv_pack`]'s, or PyTorch's where it [`ConvVariant::is_direct`]); input for the weight gradient.
    pub b: &'a View,
    /// Bias [out], or saved, shaped as the input.
    pub aux: Option<&'a View>,
    /// Output, gradient of the input, or gradient of the weight [out, in / groups, kernel height, kernel width].
    pub c: &'a View,
    /// Shaped as the output.
    pub pre: Option<&'a View>,
    /// Of [`ConvVariant::scratch_words`] words, f32 whatever the operands are.
    pub scratch: Option<&'a View>,
}

/// The kernels that compute a convolution; all pass the same test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvVariant {
    /// 128 x 128 tiles through workgroup memory, 8 x 8 an invocation, for GPUs. One group.
    Block128,
    /// 64 x 64 tiles through workgroup memory, 4 x 4 an invocation, for GPUs. One group.
    Block64,
    /// Tiles of up to 64 columns through workgroup memory, as few as 16 with more rows instead, for GPUs. One group.
    Tile,
    /// 32 x 32 tiles in registers, for software adapters with subgroups of 8. One group.
    Software,
    /// 32 x 64 tiles in registers, for the same adapters. One group.
    SoftwareWide,
    /// 32 pixels by up to 16 channels of a result in registers, for the same adapters. One group; no weight gradients.
    SoftwareNarrow,
    /// 3 x 3 without strides, forward and data gradient, with 4 multiplications for 9, as products of the adapter's kind.
    Winograd,
    /// An element at a time: grouped and depthwise convolutions. Takes the weights as they are. A weight gradient's sums are
    /// shared by a workgroup's invocations, for GPUs.
    Direct,
    /// The same with an invocation for each sum, for software adapters.
    DirectSoftware,
    /// Cooperative matrices, where the adapter lists them. One group.
    Coop(CoopTile),
}

impl ConvVariant {
    /// Every variant that can run a pass of this shape on this adapter for operands stored as `element`.
    #[must_use]
    pub fn available(gpu: &Gpu, element: Element, shape: &ConvShape, pass: ConvPass) -> Vec<Self> {
        let mut variants =
            vec![Self::Direct, Self::DirectSoftware, Self::Winograd, Self::Tile, Self::Block64, Self::Block128];
        if gpu.fixed_subgroup_size() == Some(SOFTWARE_LANES) {
            variants.extend([Self::Software, Self::SoftwareWide, Self::SoftwareNarrow]);
        }
        variants.extend(CoopTile::available(gpu, element).into_iter().map(Self::Coop));
        variants.retain(|variant| variant.covers(shape, pass));
        variants
    }

    /// Whether it reads weights as [`conv_pack`] leaves them.
    #[must_use]
    pub fn wants_packed(self) -> bool {
        !self.is_direct()
    }

    /// Whether it goes by elements, not by tiles of a product, and so takes groups.
    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::DirectSoftware)
    }

    /// Words that a pass keeps for itself: [`ConvOperands::scratch`].
    #[must_use]
    pub fn scratch_words(self, shape: &ConvShape, pass: ConvPass) -> usize {
        if self == Self::Winograd {
            return winograd::scratch_words(shape, pass);
        }
        let parts = self.parts(shape, pass);
        if parts > 1 { parts * shape.weight_words() } else { 0 }
    }

    /// Whether it computes a pass of this shape, whatever the adapter.
    pub(super) fn covers(self, shape: &ConvShape, pass: ConvPass) -> bool {
        match self {
            Self::Direct | Self::DirectSoftware => true,
            Self::Block128 | Self::Block64 | Self::Tile | Self::Software | Self::SoftwareWide | Self::Coop(_) => {
                shape.groups == 1
            }
            Self::SoftwareNarrow => {
                let [_, quads, _] = shape.product(pass);
                shape.groups == 1 && pass != ConvPass::WeightGradient && quads <= NARROW_QUADS
            }
            Self::Winograd => winograd::fits(shape, pass),
        }
    }

    /// Rows and quads of columns of a workgroup's tile.
    fn tile(self, shape: &ConvShape, pass: ConvPass) -> [usize; 2] {
        match self {
            Self::Block128 => [128, 32],
            Self::Block64 => [64, 16],
            Self::Software => [32, 8],
            Self::SoftwareWide => [32, 16],
            Self::SoftwareNarrow => [32, NARROW_QUADS],
            Self::Coop(tile) => {
                let [rows, columns] = tile.sides();
                [rows, columns / 4]
            }
            Self::Tile | Self::Winograd | Self::Direct | Self::DirectSoftware => {
                let [_, quads, _] = shape.product(pass);
                let columns = quads.next_power_of_two().clamp(4, 16);
                [1024 / columns, columns]
            }
        }
    }

    /// Into how many parts the weight gradient's sums over pixels are cut.
    fn parts(self, shape: &ConvShape, pass: ConvPass) -> usize {
        if pass != ConvPass::WeightGradient {
            return 1;
        }
        let [rows, quads, _] = shape.product(pass);
        let [rows_per_tile, quads_per_tile] = self.tile(shape, pass);
        let tiles = rows.div_ceil(rows_per_tile) * quads.div_ceil(quads_per_tile);
        let workgroups = match self {
            Self::Block128 | Self::Block64 | Self::Tile => SPLIT_WORKGROUPS,
            Self::Software | Self::SoftwareWide => SOFTWARE_WORKGROUPS,
            Self::SoftwareNarrow | Self::Winograd => 1,
            Self::Direct | Self::DirectSoftware => return conv_direct::parts(self, shape),
            Self::Coop(_) => return CoopTile::parts(tiles, shape.out_pixels()),
        };
        parts(tiles, shape.out_pixels(), workgroups, 256)
    }

    fn spec(self) -> &'static KernelSpec {
        match self {
            Self::Block128 | Self::Block64 => &CONV_BLOCK,
            Self::Tile => &CONV_TILE,
            Self::Software | Self::SoftwareWide | Self::SoftwareNarrow => &CONV_SOFTWARE,
            Self::Winograd => &WINOGRAD_OUTPUT,
            Self::Direct | Self::DirectSoftware => &CONV_DIRECT,
            Self::Coop(tile) => tile.of(&CONV_COOP_8, &CONV_COOP_16),
        }
    }

    /// Overrides that follow from variant, shape and pass.
    fn constants(self, shape: &ConvShape, pass: ConvPass) -> Vec<Constant> {
        let [rows, quads, _] = shape.product(pass);
        match self {
            Self::Block128 => vec![("BLOCK_HALVES", 2.0)],
            Self::Block64 => vec![("BLOCK_HALVES", 1.0)],
            Self::Tile => vec![("COLUMN_QUADS", self.tile(shape, pass)[1] as f64)],
            Self::Software => vec![("COLUMN_BLOCKS", 1.0), ("ROW_LANES", row_lanes(rows))],
            Self::SoftwareWide => vec![("COLUMN_BLOCKS", 2.0), ("ROW_LANES", row_lanes(rows))],
            Self::SoftwareNarrow => vec![("NARROW_QUADS", quads as f64)],
            Self::Direct | Self::DirectSoftware => conv_direct::constants(self, shape, pass).to_vec(),
            Self::Coop(tile) => tile.constants(pass == ConvPass::WeightGradient, pass != ConvPass::DataGradient),
            Self::Winograd => Vec::new(),
        }
    }

    fn grid(self, gpu: &Gpu, shape: &ConvShape, pass: ConvPass) -> Result<Grid, GpuError> {
        let entry = self.spec().entry;
        if self.is_direct() {
            return conv_direct::grid(gpu, self, shape, pass);
        }
        let [rows, quads, phases] = shape.product(pass);
        let [rows_per_tile, quads_per_tile] = self.tile(shape, pass);
        let limit = gpu.limits().workgroups as usize;
        let tiles = rows.div_ceil(rows_per_tile);
        let fold = tiles.div_ceil(limit);
        let z = if pass == ConvPass::WeightGradient { self.parts(shape, pass) } else { phases * fold };
        let grid = [tiles.div_ceil(fold), quads.div_ceil(quads_per_tile), z];
        if grid.iter().any(|side| *side > limit) {
            let groups = grid.iter().map(|side| *side as u64).product();
            return Err(GpuError::Grid { kernel: entry, groups, limit: (limit as u64).pow(3) });
        }
        Ok(Grid(grid.map(|side| side as u32)))
    }
}

fn check(
    spec: &KernelSpec,
    variant: ConvVariant,
    pass: ConvPass,
    shape: &ConvShape,
    epilogue: Epilogue,
    of: &ConvOperands<'_>,
) -> Result<(), GpuError> {
    let (input, output) = (shape.image_words(shape.input), shape.image_words(shape.output));
    let weight = if variant.wants_packed() { shape.packed_words() } else { shape.weight_words() };
    let (a, b, c) = match pass {
        ConvPass::Forward => (input, weight, output),
        ConvPass::DataGradient => (output, weight, input),
        ConvPass::WeightGradient => (output, input, shape.weight_words()),
    };
    of.a.expect_len(spec.entry, "a", a)?;
    of.b.expect_len(spec.entry, "b", b)?;
    of.c.expect_len(spec.entry, "c", c)?;
    epilogue.check(spec, [of.aux, of.pre], [shape.out_channels(), output, input])?;
    if shape.groups > 1 && !variant.is_direct() {
        let (kernel, shape) = (spec.entry, format!("{} groups", shape.groups));
        return Err(GpuError::Shape { kernel, shape, reason: "takes one group only" });
    }
    if !variant.covers(shape, pass) {
        let (kernel, shape) = (spec.entry, format!("{shape}, {pass:?}"));
        return Err(GpuError::Shape { kernel, shape, reason: "the variant chosen does not compute this" });
    }
    Ok(())
}

/// Plans a pass of a convolution with the variant given, as one dispatch or a few; with `accumulate` it adds to what `c`
/// holds.
///
/// Shapes: see [`ConvOperands`]. Padding channels of an image result hold finite values without meaning.
///
/// # Errors
/// [`GpuError::Length`] naming the operand that does not fit, [`GpuError::Grid`] past the adapter's grid,
/// [`GpuError::Shape`] for groups that the variant does not take.
pub fn conv(
    gpu: &Gpu,
    variant: ConvVariant,
    pass: ConvPass,
    shape: &ConvShape,
    epilogue: Epilogue,
    accumulate: bool,
    of: &ConvOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let spec = variant.spec();
    check(spec, variant, pass, shape, epilogue, of)?;
    if variant == ConvVariant::Winograd {
        return winograd::plan(gpu, (pass, shape), (epilogue, accumulate), of);
    }
    let count = index_u32(spec.entry, &[shape.weight_words()])?;
    let sum = SplitSum { parts: variant.parts(shape, pass) as u32, count, n: count };
    sum.plan(
        gpu,
        spec.entry,
        (epilogue, accumulate),
        [of.a, of.b, of.c],
        [of.aux, of.pre, of.scratch],
        |ending, views| tiles(gpu, variant, (pass, shape), ending, views),
    )
}

/// One dispatch of the variant's kernel.
fn tiles(
    gpu: &Gpu,
    variant: ConvVariant,
    (pass, shape): (ConvPass, &ConvShape),
    (epilogue, accumulate): (Epilogue, bool),
    views: [&View; 5],
) -> Result<Dispatch, GpuError> {
    let code = match pass {
        ConvPass::Forward => 0.0,
        ConvPass::DataGradient => 1.0,
        ConvPass::WeightGradient => 2.0,
    };
    let mut constants: Vec<Constant> = vec![("PASS", code), flag("ACCUMULATE", accumulate)];
    constants.extend(epilogue_constants(epilogue));
    constants.extend(variant.constants(shape, pass));
    if let ConvVariant::Coop(tile) = variant {
        tile.expect(gpu, variant.spec(), views[0])?;
    }
    if variant.spec().entry == CONV_SOFTWARE.entry {
        let in_order = pass == ConvPass::Forward || (pass == ConvPass::DataGradient && shape.stride == [1, 1]);
        constants.push(flag("DIRECT", epilogue == Epilogue::Plain && !accumulate && in_order));
    }
    gpu.dispatch(variant.spec(), &constants, variant.grid(gpu, shape, pass)?, &views, bytemuck::bytes_of(shape))
}

/// Plans the packing of a weight [out, in, kernel height, kernel width] for [`conv`].
///
/// Shapes: `output` [taps, padded in, padded out].
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] for more than one group.
pub fn conv_pack(gpu: &Gpu, shape: &ConvShape, weight: &View, output: &View) -> Result<Dispatch, GpuError> {
    let kernel = CONV_PACK.entry;
    if shape.groups > 1 {
        let shape = format!("{} groups", shape.groups);
        return Err(GpuError::Shape { kernel, shape, reason: "takes one group only" });
    }
    weight.expect_len(kernel, "weight", shape.weight_words())?;
    output.expect_len(kernel, "output", shape.packed_words())?;
    let grid = gpu.grid_1d(kernel, shape.packed_words() / 4, WORKGROUP_SIZE)?;
    gpu.dispatch(&CONV_PACK, &[WORKGROUP], grid, &[weight, output], bytemuck::bytes_of(shape))
}
