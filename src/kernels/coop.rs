//! Tiles of a product by cooperative matrices: the host side of `shaders/shared/coop.wgsl`, and the choice between them.

use crate::gpu::{CooperativeMatrix, Element, Family, Gpu, GpuError, KernelSpec, Scalar, View};

use super::{Constant, flag};

/// A tile that the subgroups of a workgroup compute together, each 4 x 2 cooperative matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoopTile {
    matrix: CooperativeMatrix,
    /// Invocations of a subgroup.
    lanes: u32,
    /// 2 x 4 subgroups rather than 1 x 2.
    large: bool,
}

/// Tiles of a product that keep a GPU busy: with fewer, most of its processors would idle. An estimate from the numbers of
/// processors (tens to somewhat over a hundred), not measured.
const ENOUGH_TILES: usize = 64;

/// Terms from which on too few tiles are too slow, because every one of them is summed by one workgroup. Not measured.
const LONG_SUM: usize = 2048;

/// Invocations of a workgroup that WebGPU grants everywhere.
const INVOCATIONS: u32 = 256;

impl CoopTile {
    /// Every tile that this device computes from operands stored as `element`, none where it has no such matrices.
    #[must_use]
    pub fn available(gpu: &Gpu, element: Element) -> Vec<Self> {
        let operands = if element == Element::Half { Scalar::F16 } else { Scalar::F32 };
        let lanes = gpu.fixed_subgroup_size().unwrap_or(INVOCATIONS);
        let of = |matrix: &CooperativeMatrix| [false, true].map(|large| Self { matrix: *matrix, lanes, large });
        let matrices = gpu.cooperative_matrices().iter().filter(|matrix| matrix.operands == operands);
        matrices.flat_map(of).filter(|tile| tile.subgroups().iter().product::<u32>() * lanes <= INVOCATIONS).collect()
    }

    /// The tile for a product of `rows` x `columns` with sums of `depth` terms; `None` on software adapters, whose own
    /// variants are faster, where there are no such matrices, and for few long sums, which other variants split.
    pub(super) fn choose(gpu: &Gpu, element: Element, [rows, columns, depth]: [usize; 3]) -> Option<Self> {
        if gpu.family() == Family::Software {
            return None;
        }
        let tiles = Self::available(gpu, element);
        let count = |tile: &Self| {
            let [tile_rows, tile_columns] = tile.sides();
            rows.div_ceil(tile_rows) * columns.div_ceil(tile_columns)
        };
        if count(tiles.first()?) < ENOUGH_TILES && depth >= LONG_SUM {
            return None;
        }
        let fits = |tile: &&Self| !tile.large || count(tile) >= ENOUGH_TILES;
        // The matrices come in order of preference, of each the small tile first.
        let first = tiles.first()?.matrix;
        tiles.iter().filter(|tile| tile.matrix == first).rfind(fits).copied()
    }

    /// Rows and columns of subgroups.
    fn subgroups(self) -> [u32; 2] {
        if self.large { [2, 4] } else { [1, 2] }
    }

    /// Rows and columns of the tile.
    pub(super) fn sides(self) -> [usize; 2] {
        let [rows, columns] = self.subgroups();
        [4 * rows, 2 * columns].map(|fragments| (fragments * self.matrix.sides[0]) as usize)
    }

    /// The kernel of a family for these matrices.
    pub(super) fn of(self, eight: &'static KernelSpec, sixteen: &'static KernelSpec) -> &'static KernelSpec {
        if self.matrix.sides[0] == 8 { eight } else { sixteen }
    }

    /// The overrides of `shared/coop.wgsl`; "across" says that an operand's lines run along the tile's side.
    pub(super) fn constants(self, a_across: bool, b_across: bool) -> Vec<Constant> {
        let [rows, columns] = self.subgroups();
        vec![
            ("COOP_LANES", f64::from(self.lanes)),
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
