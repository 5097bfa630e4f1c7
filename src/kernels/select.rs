//! Which variant of a product or convolution for which adapter and shape: a table for each class of adapters, its first row
//! that fits being taken. `jostle bench --variants` times every variant and so tells whether a table suits an adapter.

use crate::gpu::{Element, Gpu, GpuError};

use super::{
    AdapterClass, Lanes,
    conv_shape::{ConvPass, ConvShape},
    conv_variant::ConvVariant,
    matmul::{MatmulVariant, SPLIT128_TERMS},
    matmul_shape::MatmulShape,
    split::{MULTIPROCESSORS, waves},
    tree::SOFTWARE_ROUNDS,
    winograd_gradient,
};

impl AdapterClass {
    /// The variant for `batch` products of one shape: one that splits nothing.
    ///
    /// # Errors
    /// As [`MatmulShape::new`].
    pub(super) fn batched_variant(self, shape: MatmulShape, batch: usize) -> Result<MatmulVariant, GpuError> {
        let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
        Ok(match self {
            Self::Gpu(_) if fills_128([m, n]) && batch * tiles([m, n], 128) >= MULTIPROCESSORS => {
                MatmulVariant::Block128
            }
            Self::Gpu(_) => MatmulVariant::Block64,
            Self::Software(_) => match self.plain_matmul_variant(MatmulShape::new(batch * m, n, k)?) {
                MatmulVariant::Split64 | MatmulVariant::Split128 => MatmulVariant::Block64,
                variant => variant,
            },
        })
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
            return if self.is_software() { ConvVariant::DirectSoftware } else { ConvVariant::Direct };
        }
        let [rows, quads, phases] = shape.product(pass);
        let sides = [rows * phases, 4 * quads, shape.terms(pass)];
        let tile = match pass {
            ConvPass::WeightGradient => self.coop().weight_gradient_tile(element, sides),
            _ => self.coop().tile(element, sides, false),
        };
        if let Some(tile) = tile {
            return ConvVariant::Coop(tile);
        }
        let case = ConvCase::new(self, shape, pass);
        match self {
            Self::Gpu(_) | Self::Software(Lanes::Unknown) => first(CONV_GPU, &case, ConvVariant::Tile),
            Self::Software(_) => first(CONV_SOFTWARE, &case, ConvVariant::Software),
        }
    }

    fn plain_matmul_variant(self, shape: MatmulShape) -> MatmulVariant {
        match self {
            Self::Gpu(_) | Self::Software(Lanes::Unknown) => first(MATMUL_GPU, &shape, MatmulVariant::Block64),
            Self::Software(lanes) => first(MATMUL_SOFTWARE, &(lanes, shape), MatmulVariant::Software),
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

/// Whether tiles of 128 multiply at most a quarter more than those of 64, which is about what they gain by reading workgroup
/// memory half as often for a multiply-add.
fn fills_128(sides: [usize; 2]) -> bool {
    16 * tiles(sides, 128) <= 5 * tiles(sides, 64)
}

/// Whether so many workgroups keep most multiprocessors busy to the end: the last of a few waves may be nearly empty.
fn fills_waves(workgroups: usize) -> bool {
    4 * workgroups >= 3 * MULTIPROCESSORS * waves(workgroups)
}

/// Measured on an H200 (132 multiprocessors; driver 580.159.04, 2026-11-26).
static MATMUL_GPU: &[MatmulRow] = &[
    // 128 x 5000, 5000 terms: 0.21 ms where whole sums take 0.6 by either tile, and parts of 64 x 64 tiles 0.33. Below so many
    // terms and tiles there would be too few parts.
    Row {
        fits: |shape| {
            let count = tiles(sides(shape), 128);
            let parts = shape.k as usize / SPLIT128_TERMS;
            fills_128(sides(shape))
                && parts >= 2
                && count < 2 * MULTIPROCESSORS
                && 4 * count * parts >= 3 * MULTIPROCESSORS
        },
        variant: MatmulVariant::Split128,
    },
    // 4096^3: 3.9 ms where 64 x 64 tiles take 4.9. 5000 x 784, 128 terms, where 280 tiles are two waves and a few: 0.103 and
    // 0.093, some 0.05 of it the submit.
    Row {
        fits: |shape| fills_128(sides(shape)) && fills_waves(tiles(sides(shape), 128)),
        variant: MatmulVariant::Block128,
    },
    // Fewer tiles than multiprocessors, and depth enough for parts: 128 x 10, 5000 terms: 0.085 ms for 0.342.
    Row { fits: |shape| tiles(sides(shape), 64) < 128 && shape.k >= 256, variant: MatmulVariant::Split64 },
    Row { fits: |_| true, variant: MatmulVariant::Block64 },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores) with 8 lanes: `benches/RESULTS.md`. With 4 and with 16 lanes, whose tiles are as
/// many times smaller or larger, that the wide ones are faster was measured at 1024^3 alone.
static MATMUL_SOFTWARE: &[Row<(Lanes, MatmulShape), MatmulVariant>] = &[
    // More rounds of four terms than llvmpipe runs, which leaves the rest out without a word.
    Row { fits: |(_, shape)| shape.k as usize > 4 * SOFTWARE_ROUNDS, variant: MatmulVariant::Split64 },
    // 1.1 to 1.3 times as fast as 32 columns from 256^3 to 1024^3, because A is read half as often, and from there on more so;
    // with few tiles, cores would idle.
    Row {
        fits: |(lanes, shape)| {
            let [m, n] = sides(shape);
            let [one_block, two_blocks] = [1, 2].map(|blocks| 4 * lanes.quads(blocks));
            n > one_block && m.div_ceil(lanes.rows()) * n.div_ceil(two_blocks) >= 16
        },
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
    /// Of which each has taps of its own: a data gradient's with strides, whose tiles take unequal times.
    phases: usize,
    winograd: bool,
    lanes: Lanes,
}

impl ConvCase {
    fn new(class: AdapterClass, shape: &ConvShape, pass: ConvPass) -> Self {
        let [rows, quads, phases] = shape.product(pass);
        let channels = shape.input()[2].min(shape.output()[2]);
        let winograd =
            ConvVariant::Winograd.covers(class.lanes(), shape, pass) && winograd_gradient::fits(class, shape, pass);
        Self { pass, rows: rows * phases, quads, channels, phases, winograd, lanes: class.lanes() }
    }

    fn sides(&self) -> [usize; 2] {
        [self.rows, 4 * self.quads]
    }
}

type ConvRow = Row<ConvCase, ConvVariant>;

/// Measured on an H200 (132 multiprocessors; driver 580.159.04, 2026-11-26), batch 128.
static CONV_GPU: &[ConvRow] = &[
    // Milliseconds of a forward pass and those of the next best: 0.34 for 0.40 at 128 channels of 16 x 16, 0.32 for 0.41 at 256
    // of 8 x 8, 0.32 for 0.49 at 512 of 4 x 4; but 0.60 for 0.46 at 64 of 32 x 32.
    Row { fits: |case| case.winograd && case.channels >= 128, variant: ConvVariant::Winograd },
    // Both operands of a weight gradient are transformed once for all taps, and no tile of its products has idle columns.
    Row {
        fits: |case| case.winograd && case.pass == ConvPass::WeightGradient && case.channels >= 64,
        variant: ConvVariant::Winograd,
    },
    // 0.26 ms for 0.29 where layers go from 64 to 128 or from 128 to 256 channels, 0.40 for 0.30 from 256 to 512, with 64 tiles.
    // Strided data gradients want tiles enough for the long ones to be spread: 0.36 for 0.39 with 256, 0.42 for 0.39 with 128.
    // Weight gradients, whose parts fill waves with either tile, take the same time by either, and small tiles pad less.
    Row {
        fits: |case| {
            let count = tiles(case.sides(), 128);
            let spread = case.phases == 1 || count > MULTIPROCESSORS;
            case.pass != ConvPass::WeightGradient && fills_128(case.sides()) && fills_waves(count) && spread
        },
        variant: ConvVariant::Block128,
    },
    // Gathers whole quads where `Tile` gathers elements, but has 64 columns, half of them idle below 33.
    Row { fits: |case| case.quads > 8, variant: ConvVariant::Block64 },
    Row { fits: |_| true, variant: ConvVariant::Tile },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores) with 8 lanes: `benches/RESULTS.md`; with other lanes not.
static CONV_SOFTWARE: &[ConvRow] = &[
    // 1.2 to 1.4 times as fast as the wide tile at 256 channels, 1.1 to 1.3 at 512, even at 128, slower below: the
    // transforms' loads and stores cost as much as two to three times as many multiply-adds. Weight gradients not measured.
    Row {
        fits: |case| case.winograd && case.pass != ConvPass::WeightGradient && case.channels >= 256,
        variant: ConvVariant::Winograd,
    },
    // 1.4 times as fast as the 32 columns at 16 channels, 2.0 to 2.2 at 8: no lane is without columns.
    Row {
        fits: |case| case.quads <= case.lanes.narrow_quads() && case.pass != ConvPass::WeightGradient,
        variant: ConvVariant::SoftwareNarrow,
    },
    // 1.1 to 1.3 times as fast as 32 columns: rows are read half as often. Second blocks without columns cost 1.7 times.
    Row { fits: |case| case.quads > case.lanes.quads(1), variant: ConvVariant::SoftwareWide },
    Row { fits: |_| true, variant: ConvVariant::Software },
];
