//! Which variant of a product or convolution for which adapter and shape: a table for each class of adapters, its first row
//! that fits being taken. `jostle bench --variants` times every variant and so tells whether a table suits an adapter.

use crate::gpu::{AdapterSummary, Element, Family, Gpu};

use super::{
    CoopTile,
    conv::ConvVariant,
    conv_shape::{ConvPass, ConvShape},
    matmul::{MatmulShape, MatmulVariant, SOFTWARE_LANES},
};

/// Adapters that want the same variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterClass {
    /// A GPU, and software adapters that no variant is written for, where the tiles are slow and right.
    Gpu,
    /// A software adapter with subgroups of 8 lanes: llvmpipe on AVX2.
    EightLanes,
}

impl AdapterClass {
    /// The class of an open device.
    #[must_use]
    pub fn of(gpu: &Gpu) -> Self {
        Self::new(gpu.family() == Family::Software, gpu.fixed_subgroup_size() == Some(SOFTWARE_LANES))
    }

    /// The class of an adapter that is not open.
    #[must_use]
    pub fn of_adapter(adapter: &AdapterSummary) -> Self {
        let eight = adapter.subgroup_sizes == [SOFTWARE_LANES; 2] && adapter.features.contains(&"subgroups");
        Self::new(adapter.kind == "software", eight)
    }

    fn new(is_software: bool, eight_lanes: bool) -> Self {
        if is_software && eight_lanes { Self::EightLanes } else { Self::Gpu }
    }

    /// The variant for a matrix product.
    #[must_use]
    pub fn matmul_variant(self, shape: MatmulShape) -> MatmulVariant {
        match self {
            Self::Gpu => first(MATMUL_GPU, &shape, MatmulVariant::Block64),
            Self::EightLanes => first(MATMUL_EIGHT_LANES, &shape, MatmulVariant::Software),
        }
    }

    /// The variant for a pass of a convolution.
    #[must_use]
    pub fn conv_variant(self, shape: &ConvShape, pass: ConvPass) -> ConvVariant {
        let case = ConvCase::new(shape, pass);
        match self {
            _ if shape.groups() > 1 => ConvVariant::Direct,
            Self::Gpu => first(CONV_GPU, &case, ConvVariant::Tile),
            Self::EightLanes => first(CONV_EIGHT_LANES, &case, ConvVariant::Software),
        }
    }
}

/// The variant for an adapter, the element of the operands and a shape.
#[must_use]
pub fn matmul_variant(gpu: &Gpu, element: Element, shape: MatmulShape) -> MatmulVariant {
    if let Some(tile) = CoopTile::choose(gpu, element, [shape.m, shape.n, shape.k].map(|side| side as usize)) {
        return MatmulVariant::Coop(tile);
    }
    AdapterClass::of(gpu).matmul_variant(shape)
}

/// The variant for a batch of products, `shape` being that of them all, one below the other: one that splits nothing.
#[must_use]
pub(super) fn batched_variant(gpu: &Gpu, shape: MatmulShape) -> MatmulVariant {
    match AdapterClass::of(gpu).matmul_variant(shape) {
        MatmulVariant::Split => MatmulVariant::Block64,
        variant => variant,
    }
}

/// The variant for an adapter, the element of the operands, a shape and a pass.
#[must_use]
pub fn conv_variant(gpu: &Gpu, element: Element, shape: &ConvShape, pass: ConvPass) -> ConvVariant {
    let [rows, quads, phases] = shape.product(pass);
    let depth = shape.flops() as usize / (8 * rows * quads * phases);
    let tile = CoopTile::choose(gpu, element, [rows * phases, 4 * quads, depth]);
    if let Some(tile) = tile.filter(|_| shape.groups() == 1) {
        return ConvVariant::Coop(tile);
    }
    AdapterClass::of(gpu).conv_variant(shape, pass)
}

/// A row of a table: which cases it takes. The reason stands above it.
struct Row<Case, Variant> {
    fits: fn(&Case) -> bool,
    variant: Variant,
}

/// The first row that fits.
fn first<Case, Variant: Copy>(table: &[Row<Case, Variant>], case: &Case, otherwise: Variant) -> Variant {
    table.iter().find(|row| (row.fits)(case)).map_or(otherwise, |row| row.variant)
}

/// Tiles of `side` x `side`.
fn tiles(MatmulShape { m, n, .. }: MatmulShape, side: u32) -> u64 {
    u64::from(m.div_ceil(side)) * u64::from(n.div_ceil(side))
}

type MatmulRow = Row<MatmulShape, MatmulVariant>;

/// Not measured on any GPU yet: chosen by how many multiprocessors the tiles keep busy, 128 standing for a large GPU.
static MATMUL_GPU: &[MatmulRow] = &[
    // 8 x 8 sums an invocation read a quarter of a word of workgroup memory for each multiply-add, half of what 4 x 4 do;
    // it pays once there is a tile for every multiprocessor.
    Row { fits: |of| tiles(*of, 128) >= 128, variant: MatmulVariant::Block128 },
    // Fewer tiles than multiprocessors, and depth enough for two parts of 128: weight gradients of narrow layers.
    Row { fits: |of| tiles(*of, 64) < 128 && of.k >= 256, variant: MatmulVariant::Split },
    Row { fits: |_| true, variant: MatmulVariant::Block64 },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores): `benches/RESULTS.md`.
static MATMUL_EIGHT_LANES: &[MatmulRow] = &[
    // 1.1 to 1.3 times as fast as 32 columns from 256^3 to 1024^3, because A is read half as often, and from there on more so;
    // with few tiles, cores would idle.
    Row {
        fits: |of| of.n > 32 && u64::from(of.m.div_ceil(32)) * u64::from(of.n.div_ceil(64)) >= 16,
        variant: MatmulVariant::SoftwareWide,
    },
    Row { fits: |_| true, variant: MatmulVariant::Software },
];

/// A pass of a convolution with one group, and what its tables go by.
struct ConvCase {
    pass: ConvPass,
    /// Quads of the result's columns: channels, or [taps, channels] in a weight gradient.
    quads: usize,
    /// The smaller of the channels on both sides.
    channels: usize,
    winograd: bool,
}

impl ConvCase {
    fn new(shape: &ConvShape, pass: ConvPass) -> Self {
        let [_, quads, _] = shape.product(pass);
        let channels = shape.input()[2].min(shape.output()[2]);
        Self { pass, quads, channels, winograd: ConvVariant::Winograd.covers(shape, pass) }
    }
}

type ConvRow = Row<ConvCase, ConvVariant>;

/// Not measured on any GPU yet.
static CONV_GPU: &[ConvRow] = &[
    // Chosen by arithmetic: of a pixel and channel the transforms move 72 bytes through caches and memory where the products
    // save 10 multiply-adds for each channel of the other side; at 20 TFLOP/s and 2 TB/s they break even near 40 channels.
    Row { fits: |of| of.winograd && of.channels >= 128, variant: ConvVariant::Winograd },
    Row { fits: |_| true, variant: ConvVariant::Tile },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores): `benches/RESULTS.md`.
static CONV_EIGHT_LANES: &[ConvRow] = &[
    // 1.2 to 1.4 times as fast as the wide tile at 256 channels, 1.1 to 1.3 at 512, even at 128, slower below: the
    // transforms' loads and stores cost as much as two to three times as many multiply-adds.
    Row { fits: |of| of.winograd && of.channels >= 256, variant: ConvVariant::Winograd },
    // 1.4 times as fast as the 32 columns at 16 channels, 2.0 to 2.2 at 8: no lane is without columns.
    Row { fits: |of| of.quads <= 4 && of.pass != ConvPass::WeightGradient, variant: ConvVariant::SoftwareNarrow },
    // 1.1 to 1.3 times as fast as 32 columns: rows are read half as often. Second blocks without columns cost 1.7 times.
    Row { fits: |of| of.quads > 8, variant: ConvVariant::SoftwareWide },
    Row { fits: |_| true, variant: ConvVariant::Software },
];
