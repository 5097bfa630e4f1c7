//! Tiles of a product by cooperative matrices: the host side of `shaders/shared/coop.wgsl`, and the choice between them.

use crate::gpu::{CooperativeMatrix, Element, Gpu, GpuError, KernelSpec, Scalar, View};

use super::{
    Constant, flag,
    split::{SPLIT_WORKGROUPS, parts},
};

/// A tile that the subgroups of a workgroup compute together, a share of 4 x 2 cooperative matrices each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoopTile {
    matrix: CooperativeMatrix,
    /// Invocations of a workgroup.
    threads: u32,
    /// 2 x 4 shares rather than 1 x 2.
    large: bool,
}

/// Tiles of a product that keep a GPU busy: with fewer, processors would idle. An estimate, 128 standing for a large GPU.
const ENOUGH_TILES: usize = 128;

/// Terms that a part of a sum has at least: so many that a tile reads twice as many bytes as its sums take. Not measured.
const LEAST_TERMS: usize = 256;

/// Terms that a tile holds; `COOP_DEPTH` in `shaders/shared/coop.wgsl`.
pub(super) const COOP_DEPTH: u32 = 32;

/// Invocations of a workgroup that WebGPU grants everywhere.
const INVOCATIONS: u32 = 256;

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
    pub(super) fn preferred(matrices: &[CooperativeMatrix], subgroup_sizes: [u32; 2]) -> Self {
        let first = |element| matrices.iter().find(|matrix| matrix.operands == operands_of(element)).copied();
        Self { word: first(Element::Word), half: first(Element::Half), subgroup_sizes }
    }

    /// The tile for a product of `rows` x `columns`, `splits` being the number of terms of each sum where sums may be split;
    /// `None` where there are no such matrices.
    pub(super) fn tile(self, element: Element, [rows, columns]: [usize; 2], splits: Option<usize>) -> Option<CoopTile> {
        let matrix = if element == Element::Half { self.half } else { self.word }?;
        let tiles = CoopTile::both(matrix, self.subgroup_sizes);
        let whole = |tile: &CoopTile| {
            let [tile_rows, tile_columns] = tile.sides();
            rows.next_multiple_of(tile_rows) * columns.next_multiple_of(tile_columns)
        };
        let small = whole(tiles.first()?);
        let fits = |tile: &CoopTile| {
            let [tile_rows, tile_columns] = tile.sides();
            let count = whole(tile) / (tile_rows * tile_columns);
            let workgroups = count * splits.map_or(1, |depth| CoopTile::parts(count, depth));
            // A quarter is about what the large tile is estimated to gain by reading its operands half as often.
            !tile.large || (workgroups >= ENOUGH_TILES && 4 * whole(tile) <= 5 * small)
        };
        tiles.iter().rfind(|tile| fits(tile)).copied()
    }
}

/// The type of a matrix' operands that are stored as `element`.
fn operands_of(element: Element) -> Scalar {
    if element == Element::Half { Scalar::F16 } else { Scalar::F32 }
}

/// Rows and columns of a tile's shares.
fn shares(large: bool) -> [u32; 2] {
    if large { [2, 4] } else { [1, 2] }
}

impl CoopTile {
    /// Every tile that this device computes from operands stored as `element`, none where it has no such matrices.
    #[must_use]
    pub fn available(gpu: &Gpu, element: Element) -> Vec<Self> {
        let operands = operands_of(element);
        let matrices = gpu.cooperative_matrices().iter().filter(|matrix| matrix.operands == operands);
        matrices.flat_map(|matrix| Self::both(*matrix, gpu.subgroup_sizes())).collect()
    }

    /// The small tile and the large one, as far as they make workgroups that are granted.
    ///
    /// A workgroup has a subgroup for each share if subgroups have the usual size, and a multiple of the largest size of
    /// invocations, as Vulkan asks; the kernels are right whatever the size turns out to be.
    fn both(matrix: CooperativeMatrix, [least, most]: [u32; 2]) -> Vec<Self> {
        let lanes = USUAL_LANES.max(least).min(most);
        let tile = |large: bool| {
            let shares: u32 = shares(large).iter().product();
            let threads = (shares * lanes).checked_next_multiple_of(most)?;
            (threads <= INVOCATIONS).then_some(Self { matrix, threads, large })
        };
        [false, true].into_iter().filter_map(tile).collect()
    }

    /// Into how many parts sums of `depth` terms are cut where there are `tiles` of them.
    pub(super) fn parts(tiles: usize, depth: usize) -> usize {
        if tiles < ENOUGH_TILES { parts(tiles, depth, SPLIT_WORKGROUPS, LEAST_TERMS) } else { 1 }
    }

    /// Rows and columns of the tile.
    pub(super) fn sides(self) -> [usize; 2] {
        let [rows, columns] = shares(self.large);
        [4 * rows, 2 * columns].map(|fragments| (fragments * self.matrix.sides[0]) as usize)
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
        let [rows, columns] = shares(self.large);
        vec![
            ("COOP_THREADS", f64::from(self.threads)),
            ("COOP_ROWS", f64::from(rows)),
            ("COOP_COLUMNS", f64::from(columns)),
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
