//! Tiles of a product by cooperative matrices: the host side of `shaders/shared/coop.wgsl`, and the choice between them.

use crate::gpu::{CooperativeMatrix, Element, Gpu, GpuError, KernelSpec, ProductTile, Scalar, View};

use super::{
    Constant,
    conv_shape::{ConvPass, ConvShape, padded_channels},
    flag,
    split::Waves,
};

/// A tile that the subgroups of a workgroup compute together, 2 x 2 shares of cooperative matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoopTile {
    matrix: CooperativeMatrix,
    /// Invocations of a workgroup.
    threads: u32,
    /// Matrices in a row, and in a column, of a share.
    share: u32,
}

/// Shares of the large tile and of the small one; of matrices of 16 x 16 they make tiles of 128 x 128 and of 64 x 64. On an H200
/// tiles of 128 x 64 were no faster than the better of these in any product of resnet18 but two, by 8 %.
const SHARES: [u32; 2] = [4, 2];

/// Rows and columns of shares in a tile; `COOP_ROWS` and `COOP_COLUMNS` in `shaders/shared/coop.wgsl`.
const SHARES_ALONG: u32 = 2;

/// What tiles want of their parts. On an H200 a multiprocessor with one workgroup of the large tile, or with two of the small
/// one, is as fast as with more: 64, 128 and 256 large tiles took 86, 48 and 54 us, 256 and 512 small ones 67 and 70. Sums are
/// multiplied three times as fast as by register-blocked tiles, so that a part's way through memory takes as many more terms; not
/// measured.
fn waves(share: u32) -> Waves {
    if share > 2 { Waves { busy: 1, most: 4, own: 192 } } else { Waves { busy: 2, most: 16, own: 192 } }
}

/// A side of a product (rows, columns, terms) below which most of a tile would be multiplied for nothing. On an H200, products
/// with a side of 10 took 1.1 to 1.3 times as long as by ordinary kernels.
const LEAST_SIDE: usize = 16;

/// Terms that a tile holds; `COOP_DEPTH` in `shaders/shared/coop.wgsl`.
pub(super) const COOP_DEPTH: u32 = 32;

/// Elements that the kernels read at once.
pub(super) const COOP_OCTET: u32 = 8;

/// Invocations of a workgroup that WebGPU grants everywhere.
const INVOCATIONS: u32 = 256;

/// What the kernels want invocations to be a multiple of: octets of a line of the largest tile, so that each invocation brings
/// the same octet of several lines.
const OCTETS_OF_A_LINE: u32 = 16;

/// The size that subgroups are expected to have where the driver may choose it: what Apple's GPUs have and RDNA prefers.
const USUAL_LANES: u32 = 32;

/// The cooperative matrices of a device that products are to run on, by what their operands are stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoopMatrices {
    word: Option<CooperativeMatrix>,
    half: Option<CooperativeMatrix>,
    /// Invocations of the smallest and of the largest subgroup.
    subgroup_sizes: [u32; 2],
}

impl CoopMatrices {
    /// None of them.
    pub const NONE: Self = Self { word: None, half: None, subgroup_sizes: [1, 1] };

    /// The first for each type of operands of those that there are kernels for, `matrices`, in order of preference.
    #[must_use]
    pub fn preferred(matrices: &[CooperativeMatrix], subgroup_sizes: [u32; 2]) -> Self {
        let first = |element| matrices.iter().find(|matrix| matrix.operands == operands_of(element)).copied();
        Self { word: first(Element::Word), half: first(Element::Half), subgroup_sizes }
    }

    /// The tile for a product of `rows` x `columns` sums of `depth` terms, which may be split or not; `None` where there are no
    /// such matrices, and for products that are too small in one direction.
    ///
    /// Of resnet18 at batch 128 on an H200 (`benches/gpu/h200-0a5e397-variants.md`), ms of the large tile and of the small one:
    /// 0.054 and 0.075 at 128 channels of 16 x 16, 0.048 and 0.070 at 256 of 8 x 8, with 128 tiles; 0.086 and 0.067 at 512 of
    /// 4 x 4, with 64; 0.125 and 0.084 at 64 of 32 x 32, half of whose tiles is padding.
    pub(super) fn tile(self, element: Element, [rows, columns, depth]: [usize; 3], splits: bool) -> Option<CoopTile> {
        let tiles = self.tiles(element, [rows, columns, depth])?;
        let whole = |tile: &CoopTile| {
            let [tile_rows, tile_columns] = tile.sides();
            rows.next_multiple_of(tile_rows) * columns.next_multiple_of(tile_columns)
        };
        let small = tiles.last()?;
        let fits = |tile: &&CoopTile| {
            let count = whole(tile) / tile.sides().iter().product::<usize>();
            let workgroups = if splits { count * tile.parts(count, depth) } else { count };
            // A quarter is about what the large tile gains by reading its operands less often.
            waves(tile.share).filled_by(workgroups) && 4 * whole(tile) <= 5 * whole(small)
        };
        tiles.iter().find(fits).or(Some(small)).copied()
    }

    /// The tile for a convolution's weight gradient, as [`CoopMatrices::tile`]: the small one, which took 0.6 to 0.8 of the
    /// large one's time on an H200 at 64 and 128 channels and 1.0 at 256 and 512; both operands are gathered along the terms,
    /// and the more workgroups there are, the more of that is hidden.
    pub(super) fn weight_gradient_tile(self, element: Element, sides: [usize; 3]) -> Option<CoopTile> {
        self.tiles(element, sides)?.last().copied()
    }

    /// The tiles for a product of these rows, columns and terms from the large one to the small one.
    fn tiles(self, element: Element, sides: [usize; 3]) -> Option<Vec<CoopTile>> {
        let matrix = if element == Element::Half { self.half } else { self.word }?;
        let is_worth_it = sides.iter().all(|side| *side >= LEAST_SIDE);
        is_worth_it.then(|| CoopTile::all(matrix, self.subgroup_sizes))
    }
}

/// The type of a matrix' operands that are stored as `element`.
fn operands_of(element: Element) -> Scalar {
    if element == Element::Half { Scalar::F16 } else { Scalar::F32 }
}

impl CoopTile {
    /// Every tile that this device computes from operands stored as `element`, none where it has no such matrices.
    #[must_use]
    pub fn available(gpu: &Gpu, element: Element) -> Vec<Self> {
        let operands = operands_of(element);
        let matrices = gpu.cooperative_matrices().iter().filter(|matrix| matrix.operands == operands);
        matrices.flat_map(|matrix| Self::all(*matrix, gpu.subgroup_sizes())).collect()
    }

    /// The tiles from the large one to the small one, none where their workgroups are not granted.
    ///
    /// A workgroup has a subgroup for each share if subgroups have the usual size, and a multiple of the largest size of
    /// invocations, as Vulkan asks; the kernels are right whatever the size turns out to be.
    fn all(matrix: CooperativeMatrix, [least, most]: [u32; 2]) -> Vec<Self> {
        let lanes = USUAL_LANES.max(least).min(most);
        let threads = SHARES_ALONG.pow(2) * lanes;
        let threads = threads.checked_next_multiple_of(most.max(OCTETS_OF_A_LINE));
        let Some(threads) = threads.filter(|threads| *threads <= INVOCATIONS) else { return Vec::new() };
        SHARES.map(|share| Self { matrix, threads, share }).to_vec()
    }

    /// Into how many parts sums of `depth` terms are cut where there are `tiles` of them.
    pub(super) fn parts(self, tiles: usize, depth: usize) -> usize {
        waves(self.share).parts(tiles, depth)
    }

    /// As [`CoopTile::parts`] of tiles that serve a row of taps, whose sums are three times as many and nearly the large one's.
    pub(super) fn row_parts(self, tiles: usize, depth: usize) -> usize {
        waves(SHARES[0]).parts(tiles, depth)
    }

    /// Whether its shares are small enough for a row of taps' sums.
    pub(super) fn takes_rows(self) -> bool {
        self.share == SHARES[1]
    }

    /// Whether octets of a convolution's operands line up and each tile of terms has one tap: `WHOLE` in
    /// `shaders/conv_coop.wgsl`.
    pub(super) fn is_whole(shape: &ConvShape, pass: ConvPass) -> bool {
        let [[.., inputs], [.., outputs]] = [shape.input(), shape.output()];
        let whole = |channels, unit: u32| padded_channels(channels).is_multiple_of(unit as usize);
        match pass {
            ConvPass::Forward => whole(inputs, COOP_DEPTH) && whole(outputs, COOP_OCTET),
            ConvPass::DataGradient => whole(outputs, COOP_DEPTH),
            ConvPass::WeightGradient => whole(inputs, COOP_OCTET) && whole(outputs, COOP_OCTET),
        }
    }

    /// Rows and columns of the tile.
    pub(super) fn sides(self) -> [usize; 2] {
        [(SHARES_ALONG * self.share * self.matrix.sides[0]) as usize; 2]
    }

    /// The tile of a workgroup.
    pub(super) fn product_tile(self) -> ProductTile {
        let sides = self.sides().map(|side| side as u32);
        ProductTile {
            sides,
            staged: sides.iter().sum(),
            share: [self.share * self.matrix.sides[0]; 2],
            depth: COOP_DEPTH,
            element_bytes: if self.matrix.operands == Scalar::F16 { 2 } else { 4 },
            by_matrices: true,
        }
    }

    /// Invocations of a workgroup.
    pub(super) fn threads(self) -> usize {
        self.threads as usize
    }

    /// The kernel of a family for these matrices.
    pub(super) fn spec(self, eight: &'static KernelSpec, sixteen: &'static KernelSpec) -> &'static KernelSpec {
        if self.matrix.sides[0] == 8 { eight } else { sixteen }
    }

    /// The overrides of `shared/coop.wgsl`; "across" says that an operand's lines run along the tile's side.
    pub(super) fn constants(self, a_across: bool, b_across: bool) -> Vec<Constant> {
        vec![
            ("COOP_THREADS", f64::from(self.threads)),
            ("COOP_SHARE", f64::from(self.share)),
            flag("COOP_A_ACROSS", a_across),
            flag("COOP_B_ACROSS", b_across),
        ]
    }

    /// Fails unless `operand` is stored as these matrices take it and the device has them.
    pub(super) fn expect(self, gpu: &Gpu, spec: &KernelSpec, operand: &View) -> Result<(), GpuError> {
        if !gpu.cooperative_matrices().contains(&self.matrix) {
            let feature = "the cooperative matrices of the variant asked for";
            return Err(GpuError::MissingFeature { adapter: gpu.adapter_name().to_owned(), feature });
        }
        let expected = if self.matrix.operands == Scalar::F16 { Element::Half } else { Element::Word };
        let found = operand.element();
        if found == expected {
            return Ok(());
        }
        Err(GpuError::Element { kernel: spec.entry, binding: "a", expected, found })
    }
}
