//! Which variant of a product or convolution for which adapter and shape: a table for each class of adapters, its first row
//! that fits being taken. `jostle bench --variants` times every variant and so tells whether a table suits an adapter.

use crate::gpu::{Element, Gpu, GpuError};

use super::{
    AdapterClass, BatchNormVariant,
    conv_shape::{ConvPass, ConvShape},
    conv_variant::ConvVariant,
    matmul::MatmulVariant,
    matmul_shape::MatmulShape,
    tree::SOFTWARE_ROUNDS,
};

impl AdapterClass {
    /// The variant for a batch of products, `shape` being that of them all, one below the other: one that splits nothing.
    #[must_use]
    pub(super) fn batched_variant(self, shape: MatmulShape) -> MatmulVariant {
        match self.plain_matmul_variant(shape) {
            MatmulVariant::Split => MatmulVariant::Block64,
            variant => variant,
        }
    }

    /// The variant for a matrix product of operands stored as `element`.
    #[must_use]
    pub fn matmul_variant(self, element: Element, shape: MatmulShape) -> MatmulVariant {
        let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
        let tile = self.coop().tile(element, [m, n, k], true);
        tile.map_or_else(|| self.plain_matmul_variant(shape), MatmulVariant::Coop)
    }

    /// The variant for a pass of a convolution of operands stored as `element`.
    #[must_use]
    pub fn conv_variant(self, element: Element, shape: &ConvShape, pass: ConvPass) -> ConvVariant {
        if shape.groups() > 1 {
            // Measured on llvmpipe: barriers make the shared sums twice as slow there.
            return if self == Self::EightLanes { ConvVariant::DirectSoftware } else { ConvVariant::Direct };
        }
        let [rows, quads, phases] = shape.product(pass);
        let sides = [rows * phases, 4 * quads, shape.terms(pass)];
        if let Some(tile) = self.coop().tile(element, sides, pass == ConvPass::WeightGradient) {
            return ConvVariant::Coop(tile);
        }
        let case = ConvCase::new(shape, pass);
        match self {
            Self::Gpu(_) => first(CONV_GPU, &case, ConvVariant::Tile),
            Self::EightLanes => first(CONV_EIGHT_LANES, &case, ConvVariant::Software),
        }
    }

    /// The variant for batch norms.
    #[must_use]
    pub fn batch_norm_variant(self) -> BatchNormVariant {
        match self {
            Self::Gpu(_) => BatchNormVariant::Tree,
            Self::EightLanes => BatchNormVariant::Chunks,
        }
    }

    fn plain_matmul_variant(self, shape: MatmulShape) -> MatmulVariant {
        match self {
            Self::Gpu(_) => first(MATMUL_GPU, &shape, MatmulVariant::Block64),
            Self::EightLanes => first(MATMUL_EIGHT_LANES, &shape, MatmulVariant::Software),
        }
    }
}

/// What `plan` makes of the variants of the device's class, or where the device is found to compute wrong by its cooperative
/// matrices, of those without.
///
/// # Errors
/// Those of `plan`.
pub fn with_variants<T>(gpu: &Gpu, plan: impl Fn(AdapterClass) -> Result<T, GpuError>) -> Result<T, GpuError> {
    let class = AdapterClass::for_device(gpu);
    match plan(class) {
        Err(GpuError::Refused { .. }) => plan(class.without_matrices()),
        planned => planned,
    }
}

/// The variant for an adapter, the element of the operands and a shape.
#[must_use]
pub fn matmul_variant(gpu: &Gpu, element: Element, shape: MatmulShape) -> MatmulVariant {
    AdapterClass::for_device(gpu).matmul_variant(element, shape)
}

/// The variant for an adapter, the element of the operands, a shape and a pass.
#[must_use]
pub fn conv_variant(gpu: &Gpu, element: Element, shape: &ConvShape, pass: ConvPass) -> ConvVariant {
    AdapterClass::for_device(gpu).conv_variant(element, shape, pass)
}

/// The variant for an adapter's batch norms.
#[must_use]
pub fn batch_norm_variant(gpu: &Gpu) -> BatchNormVariant {
    AdapterClass::for_device(gpu).batch_norm_variant()
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

/// Tiles of `side` x `side` that a product of `rows` x `columns` has.
fn tiles([rows, columns]: [usize; 2], side: usize) -> usize {
    rows.div_ceil(side) * columns.div_ceil(side)
}

fn sides(shape: &MatmulShape) -> [usize; 2] {
    [shape.m as usize, shape.n as usize]
}

type MatmulRow = Row<MatmulShape, MatmulVariant>;

/// Not measured on any GPU yet: chosen by how many multiprocessors the tiles keep busy, 128 standing for a large GPU.
static MATMUL_GPU: &[MatmulRow] = &[
    // 8 x 8 sums an invocation read a quarter of a word of workgroup memory for each multiply-add, half of what 4 x 4 do;
    // it pays once there is a tile for every multiprocessor.
    Row { fits: |shape| tiles(sides(shape), 128) >= 128, variant: MatmulVariant::Block128 },
    // Fewer tiles than multiprocessors, and depth enough for two parts of 128: weight gradients of narrow layers.
    Row { fits: |shape| tiles(sides(shape), 64) < 128 && shape.k >= 256, variant: MatmulVariant::Split },
    Row { fits: |_| true, variant: MatmulVariant::Block64 },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores): `benches/RESULTS.md`.
static MATMUL_EIGHT_LANES: &[MatmulRow] = &[
    // More rounds of four terms than llvmpipe runs, which leaves the rest out without a word.
    Row { fits: |shape| shape.k as usize > 4 * SOFTWARE_ROUNDS, variant: MatmulVariant::Split },
    // 1.1 to 1.3 times as fast as 32 columns from 256^3 to 1024^3, because A is read half as often, and from there on more so;
    // with few tiles, cores would idle.
    Row {
        fits: |shape| shape.n > 32 && u64::from(shape.m.div_ceil(32)) * u64::from(shape.n.div_ceil(64)) >= 16,
        variant: MatmulVariant::SoftwareWide,
    },
    Row { fits: |_| true, variant: MatmulVariant::Software },
];

/// A pass of a convolution with one group, and what its tables go by.
struct ConvCase {
    pass: ConvPass,
    /// Rows of the result: pixels, or outputs in a weight gradient.
    rows: usize,
    /// Quads of the result's columns: channels, or [taps, channels] in a weight gradient.
    quads: usize,
    /// The smaller of the channels on both sides.
    channels: usize,
    winograd: bool,
}

impl ConvCase {
    fn new(shape: &ConvShape, pass: ConvPass) -> Self {
        let [rows, quads, phases] = shape.product(pass);
        let channels = shape.input()[2].min(shape.output()[2]);
        let winograd = ConvVariant::Winograd.covers(shape, pass);
        Self { pass, rows: rows * phases, quads, channels, winograd }
    }

    /// Tiles of `side` x `side`.
    fn tiles(&self, side: usize) -> usize {
        tiles([self.rows, 4 * self.quads], side)
    }
}

type ConvRow = Row<ConvCase, ConvVariant>;

/// Not measured on any GPU yet.
static CONV_GPU: &[ConvRow] = &[
    // Chosen by arithmetic: of a pixel and channel the transforms move 72 bytes through caches and memory where the products
    // save 10 multiply-adds for each channel of the other side; at 20 TFLOP/s and 2 TB/s they break even near 40 channels.
    Row { fits: |case| case.winograd && case.channels >= 128, variant: ConvVariant::Winograd },
    // Half the reads of workgroup memory for a multiply-add, as in MATMUL_GPU, where at most a quarter more is multiplied than
    // by small tiles, and where there is a tile for every multiprocessor or sums may be split.
    Row {
        fits: |case| {
            let enough = case.pass == ConvPass::WeightGradient || case.tiles(128) >= 128;
            enough && 16 * case.tiles(128) <= 5 * case.tiles(64)
        },
        variant: ConvVariant::Block128,
    },
    // Gathers whole quads where `Tile` gathers elements, but has 64 columns, half of them idle below 33.
    Row { fits: |case| case.quads > 8, variant: ConvVariant::Block64 },
    Row { fits: |_| true, variant: ConvVariant::Tile },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores): `benches/RESULTS.md`.
static CONV_EIGHT_LANES: &[ConvRow] = &[
    // 1.2 to 1.4 times as fast as the wide tile at 256 channels, 1.1 to 1.3 at 512, even at 128, slower below: the
    // transforms' loads and stores cost as much as two to three times as many multiply-adds.
    Row { fits: |case| case.winograd && case.channels >= 256, variant: ConvVariant::Winograd },
    // 1.4 times as fast as the 32 columns at 16 channels, 2.0 to 2.2 at 8: no lane is without columns.
    Row { fits: |case| case.quads <= 4 && case.pass != ConvPass::WeightGradient, variant: ConvVariant::SoftwareNarrow },
    // 1.1 to 1.3 times as fast as 32 columns: rows are read half as often. Second blocks without columns cost 1.7 times.
    Row { fits: |case| case.quads > 8, variant: ConvVariant::SoftwareWide },
    Row { fits: |_| true, variant: ConvVariant::Software },
];
