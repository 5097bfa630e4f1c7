//! 2-d convolutions as implicit matrix products: the host side of `shaders/conv_*.wgsl`.

use crate::gpu::{Dispatch, Element, Gpu, GpuError, Grid, KernelSpec, Launch, ProductTile, View, WORD_BYTES, Work};

use super::{
    AdapterClass, Constant, CoopTile, Target,
    admission::{Pipeline, TrialForm, conv_trial},
    block::BLOCK_THREADS,
    conv_coop_row,
    conv_direct::{self, CONV_DIRECT},
    conv_shape::{ConvPass, ConvProblem, ConvShape},
    conv_specs::{
        CONV_BLOCK, CONV_COOP_8, CONV_COOP_16, CONV_COOP_ROW_8, CONV_COOP_ROW_16, CONV_NARROW, CONV_SOFTWARE, CONV_TILE,
    },
    conv_variant::ConvVariant,
    epilogue::{Ending, Epilogue},
    flag, index_u32,
    product_operands::ProductOperands,
    software::{Lanes, software_tile},
    split::{PART_TERMS, SPLIT_WORKGROUPS, parts},
    split_sum::SplitSum,
    tree::SOFTWARE_ROUNDS,
    winograd, winograd_gradient,
    winograd_specs::WINOGRAD_OUTPUT,
};

/// Workgroups that a weight gradient aims at on a software adapter, whose cores take one at a time: with fewer, some idle.
const SOFTWARE_WORKGROUPS: usize = 16;

/// Rows and quads of columns.
fn quads_of([rows, columns]: [usize; 2]) -> [usize; 2] {
    [rows, columns / 4]
}

impl ConvVariant {
    /// Words that a pass keeps for itself: [`ProductOperands::scratch`].
    #[must_use]
    pub fn scratch_words(self, class: AdapterClass, shape: &ConvShape, pass: ConvPass) -> usize {
        if let Self::Winograd(tile) = self {
            return match pass {
                ConvPass::WeightGradient => winograd_gradient::scratch_words(class, tile, shape),
                _ => winograd::scratch_words(class, tile, shape, pass),
            };
        }
        let parts = self.parts(class.lanes(), shape, pass);
        if parts > 1 { parts * shape.result_words(pass) } else { 0 }
    }

    /// Rows and quads of columns of a workgroup's tile.
    fn tile(self, lanes: Lanes, shape: &ConvShape, pass: ConvPass) -> [usize; 2] {
        match self {
            Self::Block(tile) => quads_of(tile.sides()),
            Self::Software => [lanes.rows(), lanes.quads(1)],
            Self::SoftwareWide => [lanes.rows(), lanes.quads(2)],
            Self::SoftwareNarrow => [lanes.rows(), shape.product(pass)[1]],
            Self::Coop(tile) | Self::CoopRow(tile) => quads_of(tile.sides()),
            Self::Tile | Self::Winograd(_) | Self::Direct | Self::DirectSoftware => {
                let [_, quads, _] = shape.product(pass);
                let columns = quads.next_power_of_two().clamp(4, 16);
                [1024 / columns, columns]
            }
        }
    }

    /// Tiles in each direction.
    fn tiles(self, lanes: Lanes, shape: &ConvShape, pass: ConvPass) -> [usize; 2] {
        if let Self::CoopRow(tile) = self {
            return conv_coop_row::tiles(tile, shape);
        }
        let [rows, quads, _] = shape.product(pass);
        let [rows_per_tile, quads_per_tile] = self.tile(lanes, shape, pass);
        [rows.div_ceil(rows_per_tile), quads.div_ceil(quads_per_tile)]
    }

    /// Terms of each sum.
    fn terms(self, shape: &ConvShape, pass: ConvPass) -> usize {
        if matches!(self, Self::CoopRow(_)) { conv_coop_row::cells(shape) } else { shape.terms(pass) }
    }

    /// Into how many parts sums are cut.
    fn parts(self, lanes: Lanes, shape: &ConvShape, pass: ConvPass) -> usize {
        if !shape.may_split(pass) {
            return 1;
        }
        let tiles = self.tiles(lanes, shape, pass).iter().product();
        let (terms, over_pixels) = (self.terms(shape, pass), pass == ConvPass::WeightGradient);
        match self {
            Self::Block(tile) => tile.waves().parts(tiles, terms),
            Self::Coop(tile) => tile.parts(tiles, terms),
            Self::CoopRow(tile) => tile.row_parts(tiles, terms),
            Self::Tile if over_pixels => parts(tiles, terms, SPLIT_WORKGROUPS, PART_TERMS),
            Self::Software | Self::SoftwareWide if over_pixels => {
                // A round a line of pixels, and one for each four of them.
                let lines = shape.batch() * shape.output()[0];
                let rounds = lines * (1 + shape.output()[1].div_ceil(4));
                let least = rounds.div_ceil(SOFTWARE_ROUNDS / 2);
                parts(tiles, terms, SOFTWARE_WORKGROUPS, PART_TERMS).max(least)
            }
            Self::Direct | Self::DirectSoftware if over_pixels => conv_direct::parts(self, shape),
            _ => 1,
        }
    }

    fn spec(self, pass: ConvPass) -> &'static KernelSpec {
        // Neighbours in memory of a weight gradient's element are another tap's, and another invocation's.
        let whole = pass != ConvPass::WeightGradient;
        match self {
            Self::Block(_) => CONV_BLOCK.spec(whole),
            Self::Tile => CONV_TILE.spec(whole),
            Self::Software | Self::SoftwareWide => CONV_SOFTWARE.spec(whole),
            Self::SoftwareNarrow => &CONV_NARROW,
            Self::Winograd(tile) => WINOGRAD_OUTPUT.spec(tile),
            Self::Direct | Self::DirectSoftware => &CONV_DIRECT,
            Self::Coop(tile) => tile.spec(CONV_COOP_8.spec(whole), CONV_COOP_16.spec(whole)),
            Self::CoopRow(tile) => tile.spec(&CONV_COOP_ROW_8, &CONV_COOP_ROW_16),
        }
    }

    /// Overrides that follow from variant, shape and pass.
    fn constants(self, target: &Target, shape: &ConvShape, pass: ConvPass) -> Vec<Constant> {
        let ([rows, quads, _], lanes) = (shape.product(pass), target.class.lanes());
        match self {
            Self::Block(tile) => tile.constants(target),
            Self::Tile => vec![("COLUMN_QUADS", self.tile(lanes, shape, pass)[1] as f64)],
            Self::Software => lanes.constants(1, rows),
            Self::SoftwareWide => lanes.constants(2, rows),
            Self::SoftwareNarrow => vec![("LANES", lanes.count() as f64), ("NARROW_QUADS", quads as f64)],
            Self::Direct | Self::DirectSoftware => Vec::new(),
            Self::Coop(tile) => {
                let across = [pass == ConvPass::WeightGradient, pass != ConvPass::DataGradient];
                [tile.constants(across[0], across[1]), vec![flag("WHOLE", CoopTile::is_whole(shape, pass))]].concat()
            }
            Self::CoopRow(tile) => conv_coop_row::constants(tile),
            Self::Winograd(_) => Vec::new(),
        }
    }

    fn grid(self, target: &Target, shape: &ConvShape, pass: ConvPass) -> Result<Grid, GpuError> {
        let (entry, lanes) = (self.spec(pass).entry, target.class.lanes());
        let [_, _, phases] = shape.product(pass);
        let limit = target.limits.workgroups as usize;
        let [tiles, columns] = self.tiles(lanes, shape, pass);
        let fold = tiles.div_ceil(limit);
        let parts = self.parts(lanes, shape, pass);
        let z = if pass == ConvPass::WeightGradient || parts > 1 { parts } else { phases * fold };
        let grid = [tiles.div_ceil(fold), columns, z];
        if grid.iter().any(|side| *side > limit) {
            let groups = grid.iter().map(|side| *side as u64).product();
            return Err(GpuError::Grid { kernel: entry, groups, limit: (limit as u64).pow(3) });
        }
        Ok(Grid(grid.map(|side| side as u32)))
    }
}

fn check(
    spec: &KernelSpec,
    lanes: Lanes,
    variant: ConvVariant,
    pass: ConvPass,
    shape: &ConvShape,
    epilogue: Epilogue,
    operands: &ProductOperands<'_>,
) -> Result<(), GpuError> {
    let (input, output) = (shape.image_words(shape.input), shape.image_words(shape.output));
    let weight = if variant.wants_packed() { shape.packed_words() } else { shape.weight_words() };
    let (a, b, c) = match pass {
        ConvPass::Forward => (input, weight, output),
        ConvPass::DataGradient => (output, weight, input),
        ConvPass::WeightGradient => (output, input, shape.weight_words()),
    };
    operands.a.expect_len(spec.entry, "a", a)?;
    operands.b.expect_len(spec.entry, "b", b)?;
    operands.c.expect_len(spec.entry, "c", c)?;
    epilogue.check(spec, [operands.aux, operands.pre], [shape.out_channels(), output, input])?;
    if shape.groups > 1 && !variant.is_direct() {
        let (kernel, shape) = (spec.entry, format!("{} groups", shape.groups));
        return Err(GpuError::Shape { kernel, shape, reason: "takes one group only" });
    }
    if !variant.covers(lanes, shape, pass) {
        let (kernel, shape) = (spec.entry, format!("{shape}, {pass:?}"));
        return Err(GpuError::Shape { kernel, shape, reason: "the variant chosen does not compute this" });
    }
    Ok(())
}

/// Plans a pass of a convolution with the variant given, as one dispatch or a few; with `accumulate` it adds to what `c`
/// holds.
///
/// Shapes: see [`ProductOperands`]. Padding channels of an image result hold finite values without meaning.
///
/// # Errors
/// [`GpuError::Length`] naming the operand that does not fit, [`GpuError::Grid`] past the adapter's grid,
/// [`GpuError::Shape`] for groups that the variant does not take, [`GpuError::Refused`] where the device computes wrong by
/// the cooperative matrices asked for.
pub fn conv(
    gpu: &Gpu,
    variant: ConvVariant,
    pass: ConvPass,
    shape: &ConvShape,
    epilogue: Epilogue,
    accumulate: bool,
    operands: &ProductOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let (spec, target) = (variant.spec(pass), Target::for_device(gpu));
    let lanes = target.class.lanes();
    check(spec, lanes, variant, pass, shape, epilogue, operands)?;
    let (problem, ending) = (ConvProblem { pass, shape }, Ending { epilogue, accumulate });
    let launches = variant.launches(&target, problem, ending, operands.a.element())?;
    if let ConvVariant::Winograd(tile) = variant {
        return match pass {
            ConvPass::WeightGradient => winograd_gradient::bind(gpu, tile, shape, &launches, operands),
            _ => winograd::bind(gpu, tile, problem, &launches, operands),
        };
    }
    let sum = variant.split(lanes, pass, shape)?;
    let tiles_ending = sum.tiles_ending(ending);
    sum.bind(gpu, &launches, operands, |launch, views| bind_tiles(gpu, variant, problem, tiles_ending, launch, views))
}

impl ConvVariant {
    /// How sums are cut, of those that end in [`SplitSum`].
    pub(super) fn split(self, lanes: Lanes, pass: ConvPass, shape: &ConvShape) -> Result<SplitSum, GpuError> {
        let count = index_u32(self.spec(pass).entry, &[shape.result_words(pass)])?;
        let [_, quads, _] = shape.product(pass);
        // A weight gradient has no epilogue whose columns would count.
        let n = if pass == ConvPass::WeightGradient { count } else { 4 * quads as u32 };
        Ok(SplitSum { parts: self.parts(lanes, shape, pass) as u32, count, n })
    }

    /// Invocations of a workgroup.
    fn threads(self, lanes: Lanes) -> usize {
        match self {
            Self::Block(_) => BLOCK_THREADS,
            Self::Coop(tile) | Self::CoopRow(tile) => tile.threads(),
            Self::Software | Self::SoftwareWide | Self::SoftwareNarrow => lanes.count(),
            Self::Tile | Self::Winograd(_) | Self::Direct | Self::DirectSoftware => TILE_THREADS,
        }
    }

    fn product_tile(self, target: &Target, shape: &ConvShape, pass: ConvPass) -> ProductTile {
        let [rows, quads] = self.tile(target.class.lanes(), shape, pass).map(|side| side as u32);
        match self {
            Self::Block(tile) => tile.product_tile(target),
            Self::Coop(tile) => tile.product_tile(),
            Self::CoopRow(tile) => conv_coop_row::product_tile(tile),
            Self::Software | Self::SoftwareWide | Self::SoftwareNarrow => software_tile([rows, 4 * quads]),
            Self::Tile | Self::Winograd(_) | Self::Direct | Self::DirectSoftware => {
                let (sides, depth) = ([rows, 4 * quads], quads);
                let staged = sides.iter().sum();
                ProductTile { sides, staged, share: [4, 4], depth, element_bytes: 4, by_matrices: false }
            }
        }
    }

    /// What [`conv`] launches for operands stored as `element`.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid, [`GpuError::Shape`] past 2^32 elements.
    pub fn launches(
        self,
        target: &Target,
        problem: ConvProblem<'_>,
        ending: Ending,
        element: Element,
    ) -> Result<Vec<Launch>, GpuError> {
        let ConvProblem { pass, shape } = problem;
        if let Self::Winograd(tile) = self {
            return match pass {
                ConvPass::WeightGradient => {
                    winograd_gradient::launches(target, tile, shape, ending.accumulate, element)
                }
                _ => winograd::launches(target, tile, problem, ending, element),
            };
        }
        let sum = self.split(target.class.lanes(), pass, shape)?;
        let tiles = self.tiles_launch(target, problem, sum, sum.tiles_ending(ending))?;
        let bytes = shape.words().iter().map(|words| element.words(*words) as u64 * WORD_BYTES).sum();
        sum.launches(target, ending, tiles, Work { flops: shape.flops(), bytes })
    }

    /// One dispatch of the variant's kernel.
    pub(super) fn tiles_launch(
        self,
        target: &Target,
        problem: ConvProblem<'_>,
        sum: SplitSum,
        ending: Ending,
    ) -> Result<Launch, GpuError> {
        let ConvProblem { pass, shape } = problem;
        let spec = self.spec(pass);
        let mut constants: Vec<Constant> = vec![("PASS", f64::from(pass.code()))];
        constants.extend(ending.constants());
        constants.extend(self.constants(target, shape, pass));
        if self.is_direct() {
            return conv_direct::launch(target, self, problem, &constants);
        }
        if matches!(self, Self::Software | Self::SoftwareWide | Self::SoftwareNarrow) {
            let in_order = pass == ConvPass::Forward || (pass == ConvPass::DataGradient && shape.stride == [1, 1]);
            constants.push(flag("DIRECT", ending == Ending::PLAIN && in_order));
        }
        if pass != ConvPass::WeightGradient && sum.parts > 1 {
            constants.push(flag("SPLIT", true));
        }
        let tile = self.product_tile(target, shape, pass);
        let rounds = self.terms(shape, pass).div_ceil(sum.parts as usize).div_ceil(tile.depth as usize);
        let grid = self.grid(target, shape, pass)?;
        Ok(Launch::new(spec, &constants, grid, self.threads(target.class.lanes())).chained(rounds).tiled(tile))
    }
}

/// Invocations of a workgroup of `conv_tile`.
const TILE_THREADS: usize = 256;

/// Fails where the device computes wrong by the cooperative matrices of a variant.
pub(super) fn admit_tiles(
    gpu: &Gpu,
    variant: ConvVariant,
    ConvProblem { pass, shape }: ConvProblem<'_>,
    ending: Ending,
    launch: &Launch,
    views: [&View; 5],
) -> Result<(), GpuError> {
    let (tile, form) = match variant {
        ConvVariant::Coop(tile) => {
            let split = launch.constants.contains(&flag("SPLIT", true));
            (tile, TrialForm::Taps { whole: CoopTile::is_whole(shape, pass), split })
        }
        ConvVariant::CoopRow(tile) => (tile, TrialForm::Row),
        _ => return Ok(()),
    };
    tile.expect(gpu, launch.spec, views[0])?;
    let pipeline = Pipeline { spec: launch.spec, constants: &launch.constants, views, ending };
    pipeline.admit(gpu, || conv_trial(tile.sides(), pass, form, ending))
}

/// Binds the dispatch of a variant's kernel.
pub(super) fn bind_tiles(
    gpu: &Gpu,
    variant: ConvVariant,
    problem: ConvProblem<'_>,
    ending: Ending,
    launch: &Launch,
    views: [&View; 5],
) -> Result<Dispatch, GpuError> {
    admit_tiles(gpu, variant, problem, ending, launch, views)?;
    gpu.bind(launch, &views, bytemuck::bytes_of(problem.shape))
}
