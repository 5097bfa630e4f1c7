//! Matrix products with an epilogue: the host side of `shaders/matmul_*.wgsl`, the choice between them being that of `select`.

use crate::gpu::{Dispatch, Element, Gpu, GpuError, Grid, KernelSpec, Launch, ProductTile, View, WORD_BYTES, Work};

use super::{
    AdapterClass, BlockTile, Constant, CoopTile, Target,
    admission::{Extents, Pipeline, matmul_trial},
    block::BLOCK_THREADS,
    coop::COOP_OCTET,
    epilogue::{Ending, Epilogue},
    flag, index_u32,
    matmul_shape::{MatmulLayout, MatmulProblem, MatmulShape},
    matmul_specs::{MATMUL_BLOCK, MATMUL_COOP_8, MATMUL_COOP_16, MATMUL_SOFTWARE},
    product_operands::ProductOperands,
    software::{Lanes, software_tile},
    split::{SPLIT_WORKGROUPS, parts},
    split_sum::SplitSum,
};

/// The kernels that compute a product; all pass the same test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatmulVariant {
    /// Tiles through workgroup memory, for GPUs.
    Block(BlockTile),
    /// The same, parts of each sum taken by workgroups of their own and added up by a second dispatch.
    Split(BlockTile),
    /// Tiles in registers, 32 x 32 with 8 lanes, for software adapters.
    Software,
    /// Tiles of twice as many columns, for the same adapters and products that overflow their caches.
    SoftwareWide,
    /// Cooperative matrices, where the adapter lists them; splits long sums as `Split` does.
    Coop(CoopTile),
}

impl MatmulVariant {
    /// Every variant that can run on this adapter for operands stored as `element`.
    #[must_use]
    pub fn available(gpu: &Gpu, element: Element) -> Vec<Self> {
        let mut variants = [BlockTile::ALL.map(Self::Block), BlockTile::ALL.map(Self::Split)].concat();
        if AdapterClass::for_device(gpu).lanes() != Lanes::Unknown {
            variants.extend([Self::Software, Self::SoftwareWide]);
        }
        variants.extend(CoopTile::available(gpu, element).into_iter().map(Self::Coop));
        variants
    }

    /// Words that partial sums take: [`ProductOperands::scratch`].
    #[must_use]
    pub fn scratch_words(self, shape: MatmulShape) -> usize {
        let parts = self.parts(shape);
        if parts > 1 { parts * shape.m as usize * shape.n as usize } else { 0 }
    }

    /// Into how many parts the depth is cut.
    fn parts(self, shape: MatmulShape) -> usize {
        let [x, y] = self.workgroups(Lanes::Unknown, shape); // no tile that depends on lanes is split
        let (tiles, depth) = (x as usize * y as usize, shape.k as usize);
        match self {
            // 64 terms are four tiles' depths: below that a part spends more on its own start and on its sums' way through
            // memory than on terms.
            Self::Split(BlockTile::SMALL) => parts(tiles, depth, SPLIT_WORKGROUPS, 64),
            Self::Split(tile) => tile.waves().parts(tiles, depth),
            Self::Coop(tile) => tile.parts(tiles, depth),
            _ => 1,
        }
    }

    fn spec(self, shape: MatmulShape) -> &'static KernelSpec {
        let whole = shape.n.is_multiple_of(4);
        match self {
            Self::Block(_) | Self::Split(_) => MATMUL_BLOCK.spec(whole),
            Self::Software | Self::SoftwareWide => MATMUL_SOFTWARE.spec(whole),
            Self::Coop(tile) => tile.spec(MATMUL_COOP_8.spec(whole), MATMUL_COOP_16.spec(whole)),
        }
    }

    /// Workgroups in x and y.
    fn workgroups(self, lanes: Lanes, MatmulShape { m, n, .. }: MatmulShape) -> [u32; 2] {
        let [rows, columns] = match self {
            Self::Block(tile) | Self::Split(tile) => tile.sides(),
            Self::Coop(tile) => tile.sides(),
            Self::Software | Self::SoftwareWide => {
                let [rows, columns] = self.software_sides(lanes);
                return [m.div_ceil(rows), n.div_ceil(columns)];
            }
        };
        [n.div_ceil(columns as u32), m.div_ceil(rows as u32)]
    }

    /// Overrides that follow from variant, layout and shape.
    fn constants(self, target: &Target, layout: MatmulLayout, MatmulShape { m, n, k }: MatmulShape) -> Vec<Constant> {
        let (a_transposed, b_transposed) = (layout == MatmulLayout::WeightGradient, layout == MatmulLayout::Forward);
        let [a_aligned, b_aligned] = self.aligned(layout, MatmulShape { m, n, k });
        let aligned = [flag("A_ALIGNED", a_aligned), flag("B_ALIGNED", b_aligned)];
        let size = match self {
            Self::Block(tile) | Self::Split(tile) => tile.constants(target),
            Self::Software | Self::SoftwareWide => target.class.lanes().constants(self.column_blocks(), m as usize),
            Self::Coop(tile) => {
                return aligned.into_iter().chain(tile.constants(a_transposed, !b_transposed)).collect();
            }
        };
        let flags = [flag("A_TRANSPOSED", a_transposed), flag("B_TRANSPOSED", b_transposed)];
        flags.into_iter().chain(aligned).chain(size).collect()
    }
}

impl MatmulVariant {
    /// Whether the contiguous extents of A and B are multiples of what is read at once.
    fn aligned(self, layout: MatmulLayout, MatmulShape { m, n, k }: MatmulShape) -> [bool; 2] {
        let a = if layout == MatmulLayout::WeightGradient { m } else { k };
        let b = if layout == MatmulLayout::Forward { k } else { n };
        let at_once = if matches!(self, Self::Coop(_)) { COOP_OCTET } else { 4 };
        [a, b].map(|extent| extent.is_multiple_of(at_once))
    }

    /// Blocks of columns of a software adapter's tile.
    fn column_blocks(self) -> usize {
        if self == Self::SoftwareWide { 2 } else { 1 }
    }

    /// Rows and columns of a software adapter's tile.
    fn software_sides(self, lanes: Lanes) -> [u32; 2] {
        [lanes.rows(), 4 * lanes.quads(self.column_blocks())].map(|side| side as u32)
    }

    /// Invocations of a workgroup.
    fn threads(self, lanes: Lanes) -> usize {
        match self {
            Self::Block(_) | Self::Split(_) => BLOCK_THREADS,
            Self::Software | Self::SoftwareWide => lanes.count(),
            Self::Coop(tile) => tile.threads(),
        }
    }

    fn tile(self, target: &Target) -> ProductTile {
        match self {
            Self::Block(tile) | Self::Split(tile) => tile.product_tile(target),
            Self::Software | Self::SoftwareWide => software_tile(self.software_sides(target.class.lanes())),
            Self::Coop(tile) => tile.product_tile(),
        }
    }

    /// How the sums are cut.
    pub(super) fn split(self, shape: MatmulShape) -> SplitSum {
        SplitSum { parts: self.parts(shape) as u32, count: shape.m * shape.n, n: shape.n }
    }

    /// What [`matmul`] launches for operands stored as `element`.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn launches(
        self,
        target: &Target,
        problem: MatmulProblem,
        ending: Ending,
        element: Element,
    ) -> Result<Vec<Launch>, GpuError> {
        let shape = problem.shape;
        let sum = self.split(shape);
        let depth = Depth::Parts(sum.parts);
        let tiles = Tiles { variant: self, problem, depth, ending: sum.tiles_ending(ending) };
        let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
        let words = element.words(m * k) + element.words(k * n);
        let work = Work { flops: shape.flops(), bytes: words as u64 * WORD_BYTES };
        sum.launches(target, ending, tiles.launch(target)?, work)
    }
}

fn grid(target: &Target, spec: &KernelSpec, [x, y, z]: [u32; 3]) -> Result<Grid, GpuError> {
    let limit = target.limits.workgroups;
    if x.max(y).max(z) > limit {
        let groups = u64::from(x) * u64::from(y) * u64::from(z);
        return Err(GpuError::Grid { kernel: spec.entry, groups, limit: u64::from(limit).pow(3) });
    }
    Ok(Grid([x, y, z]))
}

fn check(
    spec: &KernelSpec,
    shape: MatmulShape,
    epilogue: Epilogue,
    operands: &ProductOperands<'_>,
) -> Result<(), GpuError> {
    let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
    operands.a.expect_len(spec.entry, "a", m * k)?;
    operands.b.expect_len(spec.entry, "b", k * n)?;
    operands.c.expect_len(spec.entry, "c", m * n)?;
    epilogue.check(spec, [operands.aux, operands.pre], [n, m * n, m * n])
}

/// Plans `C = epilogue(A B)` with the variant given, as one dispatch or a few; with `accumulate` it adds to what C holds.
///
/// Shapes: see [`MatmulLayout`] and [`ProductOperands`].
///
/// # Errors
/// [`GpuError::Length`] naming the operand that does not fit, [`GpuError::Grid`] past the adapter's grid,
/// [`GpuError::Refused`] where the device computes wrong by the cooperative matrices asked for.
pub fn matmul(
    gpu: &Gpu,
    variant: MatmulVariant,
    layout: MatmulLayout,
    shape: MatmulShape,
    epilogue: Epilogue,
    accumulate: bool,
    operands: &ProductOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let spec = variant.spec(shape);
    check(spec, shape, epilogue, operands)?;
    let (sum, ending) = (variant.split(shape), Ending { epilogue, accumulate });
    let problem = MatmulProblem { layout, shape };
    let tiles = Tiles { variant, problem, depth: Depth::Parts(sum.parts), ending: sum.tiles_ending(ending) };
    let launches = variant.launches(&Target::for_device(gpu), problem, ending, operands.a.element())?;
    sum.bind(gpu, &launches, operands, |launch, views| tiles.bind(gpu, launch, views))
}

/// What [`batched_matmul`] launches.
pub(super) fn batched_launch(
    target: &Target,
    variant: MatmulVariant,
    problem: MatmulProblem,
    batch: u32,
) -> Result<Launch, GpuError> {
    let shape = problem.shape;
    let launch = Tiles { variant, problem, depth: Depth::Batch(batch), ending: Ending::PLAIN }.launch(target)?;
    let [m, n, k] = [shape.m, shape.n, shape.k].map(u64::from);
    let bytes = u64::from(batch) * (m * k + k * n + m * n) * WORD_BYTES;
    Ok(launch.doing(Work { flops: u64::from(batch) * shape.flops(), bytes }))
}

/// Binds what [`batched_launch`] gave: C[z] = A[z] B[z] for each of `batch`, one dispatch for all; no variant that splits.
///
/// Shapes: a, b and c as in [`ProductOperands`], `batch` of each one after the other; contiguous extents multiples of 4.
pub(super) fn batched_matmul(
    gpu: &Gpu,
    launch: &Launch,
    variant: MatmulVariant,
    problem: MatmulProblem,
    batch: u32,
    [a, b, c]: [&View; 3],
) -> Result<Dispatch, GpuError> {
    let MatmulProblem { layout, shape } = problem;
    let entry = variant.spec(shape).entry;
    let extents = if layout == MatmulLayout::WeightGradient { [shape.m, shape.n] } else { [shape.k, shape.n] };
    if !extents.iter().all(|extent| extent.is_multiple_of(4)) {
        let shape = format!("{shape:?}");
        return Err(GpuError::Shape { kernel: entry, shape, reason: "a batch wants extents of whole vec4s" });
    }
    let [m, n, k, batches] = [shape.m, shape.n, shape.k, batch].map(|side| side as usize);
    a.expect_len(entry, "a", batches * m * k)?;
    b.expect_len(entry, "b", batches * k * n)?;
    c.expect_len(entry, "c", batches * m * n)?;
    index_u32(entry, &[batches, (m * k).max(k * n).max(m * n)])?;
    let unused = [gpu.unused(0)?, gpu.unused(1)?];
    let tiles = Tiles { variant, problem, depth: Depth::Batch(batch), ending: Ending::PLAIN };
    tiles.bind(gpu, launch, [a, b, &unused[0], c, &unused[1]])
}

/// What a dispatch's workgroups in z stand for.
#[derive(Clone, Copy, Debug)]
enum Depth {
    /// Parts of each sum.
    Parts(u32),
    /// Products of their own.
    Batch(u32),
}

/// One dispatch of a variant's kernel: of what, and how it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    variant: MatmulVariant,
    problem: MatmulProblem,
    depth: Depth,
    ending: Ending,
}

impl Tiles {
    /// One that leaves the parts of each sum as they are.
    pub(super) fn parts(variant: MatmulVariant, problem: MatmulProblem) -> Self {
        let depth = Depth::Parts(variant.split(problem.shape).parts);
        Self { variant, problem, depth, ending: Ending::PLAIN }
    }

    pub(super) fn launch(&self, target: &Target) -> Result<Launch, GpuError> {
        let Self { variant, problem: MatmulProblem { layout, shape }, .. } = *self;
        let spec = variant.spec(shape);
        let mut constants = variant.constants(target, layout, shape);
        constants.extend(self.ending.constants());
        let (z, parts, batched) = match self.depth {
            Depth::Parts(parts) => (parts, parts, false),
            Depth::Batch(batch) => (batch, 1, true),
        };
        if spec.entry == MATMUL_BLOCK.vectors.entry {
            constants.push(flag("BATCHED", batched));
        } else if spec.entry == MATMUL_SOFTWARE.vectors.entry {
            constants.push(flag("DIRECT", self.ending == Ending::PLAIN && shape.n.is_multiple_of(4)));
        }
        let [x, y] = variant.workgroups(target.class.lanes(), shape);
        let tile = variant.tile(target);
        let rounds = shape.k.div_ceil(parts).div_ceil(tile.depth);
        let grid = grid(target, spec, [x, y, z])?;
        let threads = variant.threads(target.class.lanes());
        Ok(Launch::new(spec, &constants, grid, threads).chained(rounds as usize).tiled(tile))
    }

    /// Fails where the device computes wrong by the cooperative matrices of the variant.
    pub(super) fn admit(&self, gpu: &Gpu, launch: &Launch, views: [&View; 5]) -> Result<(), GpuError> {
        let Self { variant, problem: MatmulProblem { layout, shape }, ending, .. } = *self;
        let MatmulVariant::Coop(tile) = variant else { return Ok(()) };
        tile.expect(gpu, launch.spec, views[0])?;
        let (spec, constants) = (launch.spec, &launch.constants);
        let pipeline = Pipeline { spec, constants, views, ending };
        let extents = Extents { aligned: variant.aligned(layout, shape), whole: shape.n.is_multiple_of(4) };
        pipeline.admit(gpu, || matmul_trial(tile.sides(), layout, extents, ending))
    }

    pub(super) fn bind(&self, gpu: &Gpu, launch: &Launch, views: [&View; 5]) -> Result<Dispatch, GpuError> {
        self.admit(gpu, launch, views)?;
        gpu.bind(launch, &views, bytemuck::bytes_of(&self.problem.shape))
    }
}
