//! Which variant of a product or convolution for which adapter and shape: a table for each class of adapters, its first row
//! that fits being taken. `jostle bench --variants` times every variant and so tells whether a table suits an adapter.

use crate::gpu::{Element, Gpu, GpuError};

use super::{
    AdapterClass, BlockTile, Lanes,
    conv_shape::{ConvPass, ConvShape},
    conv_variant::ConvVariant,
    matmul::MatmulVariant,
    matmul_shape::MatmulShape,
    split::{MULTIPROCESSORS, PART_TERMS},
    tree::SOFTWARE_ROUNDS,
    winograd_gradient,
    winograd_tile::WinogradTile,
};

impl AdapterClass {
    /// The variant for `batch` products of one shape: one that splits nothing.
    ///
    /// # Errors
    /// As [`MatmulShape::new`].
    pub(super) fn batched_variant(self, shape: MatmulShape, batch: usize) -> Result<MatmulVariant, GpuError> {
        let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
        let fits = |tile: &BlockTile| tile.fills([m, n]) && tile.waves().filled_by(batch * tile.count([m, n]));
        let small = MatmulVariant::Block(BlockTile::SMALL);
        Ok(match self {
            Self::Gpu(_) => BlockTile::ALL.into_iter().find(fits).map_or(small, MatmulVariant::Block),
            Self::Software(_) => match self.plain_matmul_variant(MatmulShape::new(batch * m, n, k)?) {
                MatmulVariant::Split(_) => small,
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
        let [rows, quads, _] = shape.product(pass);
        // Tiles of phases that no tap reaches keep nobody busy.
        let sides = [rows * shape.phases_reached(pass), 4 * quads, shape.terms(pass)];
        let tile = match pass {
            ConvPass::WeightGradient => self.coop().weight_gradient_tile(element, sides),
            _ => self.coop().tile(element, sides, shape.may_split(pass)),
        };
        if let Some(tile) = tile {
            let row = ConvVariant::CoopRow(tile);
            // By arithmetic, not measured: 1.7 times as fast, because tiles are brought once for three taps. An AMD compiler
            // says the same of the cycles a sum (`benches/RESULTS.md`).
            return if row.covers(self.lanes(), shape, pass) { row } else { ConvVariant::Coop(tile) };
        }
        let case = ConvCase::new(self, shape, pass);
        match self {
            Self::Gpu(_) | Self::Software(Lanes::Unknown) => first(CONV_GPU, &case, ConvVariant::Tile),
            Self::Software(_) => first(CONV_SOFTWARE, &case, ConvVariant::Software),
        }
    }

    /// The tile that Winograd's products of a pass cost least with, where they can be taken; on software adapters the smaller one.
    fn winograd_tile(self, shape: &ConvShape, pass: ConvPass) -> Option<WinogradTile> {
        let tiles = if self.is_software() { &[WinogradTile::F2][..] } else { &WinogradTile::ALL };
        let there = |tile: &WinogradTile| {
            ConvVariant::Winograd(*tile).covers(self.lanes(), shape, pass)
                && winograd_gradient::fits(self, *tile, shape, pass)
        };
        tiles.iter().copied().filter(there).min_by_key(|tile| tile.cost(shape, pass))
    }

    fn plain_matmul_variant(self, shape: MatmulShape) -> MatmulVariant {
        match self {
            Self::Gpu(_) | Self::Software(Lanes::Unknown) => {
                first(MATMUL_GPU, &shape, MatmulVariant::Block(BlockTile::SMALL))
            }
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

fn sides(shape: &MatmulShape) -> [usize; 2] {
    [shape.m as usize, shape.n as usize]
}

type MatmulRow = Row<MatmulShape, MatmulVariant>;

/// Whether the tiles of a product are many enough, without parts.
fn is_whole(shape: &MatmulShape, tile: BlockTile) -> bool {
    tile.fills(sides(shape)) && tile.waves().filled_by(tile.count(sides(shape)))
}

/// Whether they are few, and the sums long enough for parts.
fn is_split(shape: &MatmulShape, tile: BlockTile) -> bool {
    let count = tile.count(sides(shape));
    let parts = shape.k as usize / PART_TERMS;
    tile.fills(sides(shape))
        && parts >= 2
        && count < 2 * MULTIPROCESSORS
        && 4 * count * parts >= 3 * MULTIPROCESSORS * tile.waves().busy
}

/// Measured on an H200 (132 multiprocessors; driver 580.159.04, 2026-11-26), but for the tall and the wide tile.
static MATMUL_GPU: &[MatmulRow] = &[
    // 128 x 5000, 5000 terms: 0.21 ms where whole sums take 0.6 by either tile, and parts of 64 x 64 tiles 0.33. Below so many
    // terms and tiles there would be too few parts.
    Row { fits: |shape| is_split(shape, BlockTile::LARGE), variant: MatmulVariant::Split(BlockTile::LARGE) },
    // 4096^3: 3.9 ms where 64 x 64 tiles take 4.9. 5000 x 784, 128 terms, where 280 tiles are two waves and a few: 0.103 and
    // 0.093, some 0.05 of it the submit.
    Row { fits: |shape| is_whole(shape, BlockTile::LARGE), variant: MatmulVariant::Block(BlockTile::LARGE) },
    // Not measured: sides of 64 or 192, and large tiles that leave a wave half empty. Of 5000 x 784, 128 terms, 520 tall tiles
    // are four waves to the last: 0.9 of the time of small ones by the words of workgroup memory for a multiply-add, a rule by
    // which large ones take 1.2 as measured.
    Row { fits: |shape| is_split(shape, BlockTile::TALL), variant: MatmulVariant::Split(BlockTile::TALL) },
    Row { fits: |shape| is_whole(shape, BlockTile::TALL), variant: MatmulVariant::Block(BlockTile::TALL) },
    Row { fits: |shape| is_split(shape, BlockTile::WIDE), variant: MatmulVariant::Split(BlockTile::WIDE) },
    Row { fits: |shape| is_whole(shape, BlockTile::WIDE), variant: MatmulVariant::Block(BlockTile::WIDE) },
    // Fewer tiles than multiprocessors, and depth enough for parts: 128 x 10, 5000 terms: 0.085 ms for 0.342.
    Row {
        fits: |shape| BlockTile::SMALL.count(sides(shape)) < 128 && shape.k >= 256,
        variant: MatmulVariant::Split(BlockTile::SMALL),
    },
    Row { fits: |_| true, variant: MatmulVariant::Block(BlockTile::SMALL) },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores) with 8 lanes: `benches/RESULTS.md`. With 4 and with 16 lanes, whose tiles are as
/// many times smaller or larger, that the wide ones are faster was measured at 1024^3 alone.
static MATMUL_SOFTWARE: &[Row<(Lanes, MatmulShape), MatmulVariant>] = &[
    // More rounds of four terms than llvmpipe runs, which leaves the rest out without a word.
    Row { fits: |(_, shape)| shape.k as usize > 4 * SOFTWARE_ROUNDS, variant: MatmulVariant::Split(BlockTile::SMALL) },
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
    /// Rows of the result that anything is summed for: pixels, or outputs in a weight gradient.
    rows: usize,
    /// Quads of the result's columns: channels, or [taps, channels] in a weight gradient.
    quads: usize,
    /// The smaller of the channels on both sides.
    channels: usize,
    /// Of rows, of which each has taps of its own: a data gradient's with strides, whose tiles take unequal times.
    phases: usize,
    /// Of each sum.
    terms: usize,
    /// Whether they may be cut.
    may_split: bool,
    /// The tile that Winograd's products cost least with, where they can be taken.
    winograd: Option<WinogradTile>,
    lanes: Lanes,
}

impl ConvCase {
    fn new(class: AdapterClass, shape: &ConvShape, pass: ConvPass) -> Self {
        let [rows, quads, _] = shape.product(pass);
        let phases = shape.phases_reached(pass);
        let channels = shape.input()[2].min(shape.output()[2]);
        let winograd = class.winograd_tile(shape, pass);
        let (terms, may_split) = (shape.terms(pass), shape.may_split(pass));
        Self { pass, rows: rows * phases, quads, channels, phases, terms, may_split, winograd, lanes: class.lanes() }
    }

    fn sides(&self) -> [usize; 2] {
        [self.rows, 4 * self.quads]
    }

    /// Whether the tiles, or the parts of weight gradients by them, are many enough. Strided data gradients want so many that the
    /// long ones are spread: 0.36 ms for 0.39 with 256 tiles, 0.42 for 0.39 with 128.
    fn is_filled_by(&self, tile: BlockTile) -> bool {
        let (count, waves) = (tile.count(self.sides()), tile.waves());
        let is_spread = self.phases == 1 || count > MULTIPROCESSORS;
        let parts = if self.may_split { waves.parts(count, self.terms) } else { 1 };
        tile.fills(self.sides()) && is_spread && waves.filled_by(count * parts)
    }

    /// Whether columns of 64 are more than half filled, and the large tile is of no use. Of weight gradients, whose parts fill
    /// waves with either, the large one and the small one take the same time where both fit, and so does what is between.
    fn is_between(&self) -> bool {
        self.quads > 8 && !(self.pass == ConvPass::WeightGradient && BlockTile::LARGE.fills(self.sides()))
    }
}

type ConvRow = Row<ConvCase, ConvVariant>;

/// Measured on an H200 (132 multiprocessors; driver 580.159.04, 2026-11-26), batch 128, but for the tall and the wide tile.
static CONV_GPU: &[ConvRow] = &[
    // By arithmetic, not measured: 9/16 of the operations of F(2 x 2) and of the bytes that its transforms move, where tiles of
    // 4 x 4 fill the images. By WinogradTile::cost a pass takes 0.11 ms at 64 channels of 32 x 32, where F(2 x 2) takes 0.20
    // (measured: 0.29) and 64 x 64 tiles were measured to take 0.30, and 0.09, 0.08 and 0.09 at 128, 256 and 512 channels.
    Row {
        fits: |case| case.winograd == Some(WinogradTile::F4) && case.channels >= 64,
        variant: ConvVariant::Winograd(WinogradTile::F4),
    },
    // Milliseconds of a forward pass and those of the next best: 0.34 for 0.40 at 128 channels of 16 x 16, 0.32 for 0.41 at 256
    // of 8 x 8, 0.32 for 0.49 at 512 of 4 x 4; but 0.60 for 0.46 at 64 of 32 x 32.
    Row {
        fits: |case| case.winograd == Some(WinogradTile::F2) && case.channels >= 128,
        variant: ConvVariant::Winograd(WinogradTile::F2),
    },
    // Both operands of a weight gradient are transformed once for all taps, and no tile of its products has idle columns.
    Row {
        fits: |case| {
            let small = case.winograd == Some(WinogradTile::F2);
            small && case.pass == ConvPass::WeightGradient && case.channels >= 64
        },
        variant: ConvVariant::Winograd(WinogradTile::F2),
    },
    // 0.26 ms for 0.29 where layers go from 64 to 128 or from 128 to 256 channels, 0.40 for 0.30 from 256 to 512, with 64 tiles.
    // Weight gradients, whose parts fill waves with either tile, take the same time by either, and small tiles pad less.
    Row {
        fits: |case| case.pass != ConvPass::WeightGradient && case.is_filled_by(BlockTile::LARGE),
        variant: ConvVariant::Block(BlockTile::LARGE),
    },
    // Not measured: 64 channels of 32 x 32, where small tiles take 0.30 to 0.46 ms and read workgroup memory 4 times for 3 of
    // these.
    Row {
        fits: |case| case.is_between() && case.is_filled_by(BlockTile::TALL),
        variant: ConvVariant::Block(BlockTile::TALL),
    },
    Row {
        fits: |case| case.is_between() && case.is_filled_by(BlockTile::WIDE),
        variant: ConvVariant::Block(BlockTile::WIDE),
    },
    // Gathers whole quads where `Tile` gathers elements, but has 64 columns, half of them idle below 33.
    Row { fits: |case| case.quads > 8, variant: ConvVariant::Block(BlockTile::SMALL) },
    Row { fits: |_| true, variant: ConvVariant::Tile },
];

/// Measured on llvmpipe (Mesa 22.3.6, two cores) with 8 lanes: `benches/RESULTS.md`; with other lanes not.
static CONV_SOFTWARE: &[ConvRow] = &[
    // 1.2 to 1.4 times as fast as the wide tile at 256 channels, 1.1 to 1.3 at 512, even at 128, slower below: the
    // transforms' loads and stores cost as much as two to three times as many multiply-adds. Of many tiles F(4 x 4) is faster, in
    // both gradients too, and less exact: not taken.
    Row {
        fits: |case| case.winograd.is_some() && case.pass != ConvPass::WeightGradient && case.channels >= 256,
        variant: ConvVariant::Winograd(WinogradTile::F2),
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
