//! Weight gradients of 3 x 3 convolutions by the transpose of Winograd's F(m x m, 3 x 3): the host side of
//! `shaders/winograd_gradient.wgsl` and `shaders/winograd_weight_gradient.wgsl`.

use crate::gpu::{Dispatch, Element, Gpu, GpuError, Launch, WORD_BYTES, Work, align_words};

use super::{
    AdapterClass, BlockTile, Target,
    conv_shape::{ConvPass, ConvShape},
    flag, index_u32,
    matmul::{MatmulVariant, batched_launch, batched_matmul},
    matmul_shape::{MatmulLayout, MatmulProblem, MatmulShape},
    padded_channels,
    product_operands::ProductOperands,
    winograd::{input_launch, transform_work, weight_words},
    winograd_specs::{Sums, Tiles, WINOGRAD_GRADIENT, WINOGRAD_WEIGHT_GRADIENT},
    winograd_tile::{BINDING_WORDS, WinogradTile},
};

/// Pairs of an output and a lane of inputs that a workgroup of `winograd_weight_gradient` makes; `PAIRS` there.
const PAIRS: usize = 16;

/// Invocations that add up the products of a pair; `ROWS` there.
fn rows(tile: WinogradTile) -> usize {
    match tile {
        WinogradTile::F2 => 16,
        WinogradTile::F4 => 12,
    }
}

/// The products of a pass: each [outputs, inputs] sums over `tiles`, of which `chunk` are transformed at a time.
#[derive(Clone, Copy, Debug)]
struct Cut {
    tile: WinogradTile,
    inputs: usize,
    outputs: usize,
    tiles: usize,
    chunk: usize,
}

/// Some tiles that are transformed together, and into how many parts of equal length the sums over them are cut.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    count: usize,
    parts: usize,
}

impl Cut {
    fn new(class: AdapterClass, tile: WinogradTile, shape: &ConvShape) -> Self {
        let [inputs, outputs] = [shape.input(), shape.output()].map(|[.., channels]| padded_channels(channels));
        let tiles = tile.tiles_of(shape.batch(), shape.output());
        Self { tile, inputs, outputs, tiles, chunk: tile.chunk_tiles(class, [inputs, outputs], tiles) }
    }

    /// Elements of a product.
    fn product(&self) -> usize {
        self.inputs * self.outputs
    }

    fn run(&self, first: usize) -> Run {
        let count = self.chunk.min(self.tiles - first);
        Run { first, count, parts: self.parts(count) }
    }

    /// Parts of equal length, since products of one dispatch have one size, that are done soonest by tiles of the size that
    /// products of this size take.
    fn parts(&self, count: usize) -> usize {
        let tile = if self.inputs.min(self.outputs) > 64 { BlockTile::LARGE } else { BlockTile::SMALL };
        let tiles = self.tile.products() * tile.count([self.outputs, self.inputs]);
        tile.waves().equal_parts(tiles, count)
    }

    fn runs(&self) -> impl Iterator<Item = Run> {
        (0..self.tiles).step_by(self.chunk).map(|first| self.run(first))
    }

    /// Words of the transformed input, of the transformed gradient and of all products, each of which is bound by itself.
    fn words(&self) -> [usize; 3] {
        let parts: usize = self.runs().map(|run| run.parts).sum();
        [self.chunk * self.inputs, self.chunk * self.outputs, parts * self.product()]
            .map(|words| align_words(self.tile.products() * words))
    }

    /// The variant for the products of a run, and the size of one of its parts.
    fn variant(&self, target: &Target, run: &Run) -> Result<(MatmulVariant, MatmulShape), GpuError> {
        let part = MatmulShape::new(self.outputs, self.inputs, run.count / run.parts)?;
        Ok((target.class.batched_variant(part, self.tile.products() * run.parts)?, part))
    }

    /// Products of a run's dispatch.
    fn batch(&self, run: &Run) -> Result<u32, GpuError> {
        index_u32(WINOGRAD_GRADIENT.two.entry, &[self.tile.products(), run.parts])
    }

    fn sums(&self, shape: &ConvShape) -> Result<Sums, GpuError> {
        let whole = self.tiles / self.chunk;
        let count = |value| index_u32(WINOGRAD_WEIGHT_GRADIENT.two.entry, &[value]);
        let last = whole * self.chunk;
        Ok(Sums {
            in_channels: count(shape.input()[2])?,
            out_channels: count(shape.output()[2])?,
            whole_runs: count(whole)?,
            parts: count(self.parts(self.chunk))?,
            last_parts: if last < self.tiles { count(self.run(last).parts)? } else { 0 },
        })
    }
}

/// Words that a weight gradient keeps for itself.
pub(super) fn scratch_words(class: AdapterClass, tile: WinogradTile, shape: &ConvShape) -> usize {
    Cut::new(class, tile, shape).words().iter().sum()
}

/// Whether every part of what a pass keeps for itself can be bound wherever WebGPU is: the chunks can, the transformed weights
/// can up to some 1,400 channels of either side, 960 with the larger tile, and the sums of a weight gradient as long as there
/// are not too many chunks.
pub(super) fn fits(class: AdapterClass, tile: WinogradTile, shape: &ConvShape, pass: ConvPass) -> bool {
    let words = match pass {
        ConvPass::WeightGradient => {
            let [.., sums] = Cut::new(class, tile, shape).words();
            sums
        }
        ConvPass::Forward | ConvPass::DataGradient => weight_words(class, tile, shape, pass),
    };
    words <= BINDING_WORDS
}

/// What a weight gradient launches for images stored as `element`: of each run of tiles both transforms and the products, then
/// the transform of all sums.
pub(super) fn launches(
    target: &Target,
    tile: WinogradTile,
    shape: &ConvShape,
    accumulate: bool,
    element: Element,
) -> Result<Vec<Launch>, GpuError> {
    let cut = Cut::new(target.class, tile, shape);
    let mut launches = Vec::new();
    for run in cut.runs() {
        launches.push(input_launch(target, tile, 0.0, run.count * cut.inputs, element)?);
        let gradient = run.count * cut.outputs;
        let launch = target.launch(WINOGRAD_GRADIENT.spec(tile), &[], gradient / tile.lanes())?;
        launches.push(launch.doing(transform_work(tile, tile.flops().gradient, gradient, element, 1)));
        let (variant, part) = cut.variant(target, &run)?;
        launches.push(batched_launch(target, variant, problem(part), cut.batch(&run)?)?);
    }
    let spec = WINOGRAD_WEIGHT_GRADIENT.spec(tile);
    let (pairs, [.., sums]) = (shape.output()[2] * cut.inputs / tile.lanes(), cut.words());
    let grid = target.grid_1d(spec, pairs, PAIRS)?;
    let written = shape.weight_words() * if accumulate { 2 } else { 1 };
    let flops = sums + tile.flops().taps * cut.product();
    let work = Work { flops: flops as u64, bytes: (sums + written) as u64 * WORD_BYTES };
    let constants = [flag("ACCUMULATE", accumulate), ("ROWS", rows(tile) as f64)];
    let launch = Launch::new(spec, &constants, grid, PAIRS * rows(tile));
    launches.push(launch.chained(sums / (rows(tile) * cut.product())).doing(work));
    Ok(launches)
}

/// The product of a part.
fn problem(shape: MatmulShape) -> MatmulProblem {
    MatmulProblem { layout: MatmulLayout::WeightGradient, shape }
}

/// Binds what [`launches`] gave; `conv` has checked the lengths.
pub(super) fn bind(
    gpu: &Gpu,
    tile: WinogradTile,
    shape: &ConvShape,
    launches: &[Launch],
    operands: &ProductOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let target = Target::for_device(gpu);
    let cut = Cut::new(target.class, tile, shape);
    let [input_words, gradient_words, sum_words] = cut.words();
    let unused = gpu.unused(0)?;
    let scratch = operands.scratch.unwrap_or(&unused);
    let sums_at = input_words + gradient_words;
    let [steps @ .., last] = launches else { return Ok(Vec::new()) };
    let (mut dispatches, mut at) = (Vec::new(), sums_at);
    for (run, [input, gradient, products]) in cut.runs().zip(steps.as_chunks::<3>().0) {
        let tiles = Tiles::new(shape, run.first, run.count)?;
        let tiles = bytemuck::bytes_of(&tiles);
        let x = scratch.part(0, tile.products() * run.count * cut.inputs)?;
        let dy = scratch.part(input_words, tile.products() * run.count * cut.outputs)?;
        let words = tile.products() * run.parts * cut.product();
        let sums = scratch.part(at, words)?;
        at += words;
        dispatches.push(gpu.bind(input, &[operands.b, &x], tiles)?);
        dispatches.push(gpu.bind(gradient, &[operands.a, &dy], tiles)?);
        let (variant, part) = cut.variant(&target, &run)?;
        let views = [&dy, &x, &sums];
        dispatches.push(batched_matmul(gpu, products, variant, problem(part), cut.batch(&run)?, views)?);
    }
    let sums = scratch.part(sums_at, sum_words)?;
    let told = cut.sums(shape)?;
    dispatches.push(gpu.bind(last, &[&sums, operands.c], bytemuck::bytes_of(&told))?);
    Ok(dispatches)
}
