//! Weight gradients of 3 x 3 convolutions by the transpose of Winograd's F(2 x 2, 3 x 3): the host side of
//! `shaders/winograd_gradient.wgsl` and `shaders/winograd_weight_gradient.wgsl`.

use crate::gpu::{Access, Dispatch, Element, Gpu, GpuError, KernelSpec, Launch, WORD_BYTES, Work};

use super::{
    AdapterClass, Target,
    conv_shape::{ConvPass, ConvShape},
    flag, index_u32,
    matmul::{MatmulVariant, batched_launch, batched_matmul},
    matmul_shape::{MatmulLayout, MatmulProblem, MatmulShape},
    padded_channels,
    product_operands::ProductOperands,
    split::SPLIT_WORKGROUPS,
    winograd::{PRODUCTS, Tiles, WINOGRAD_INPUT, chunk_tiles, input_launch, tiles_of, weight_words},
};

pub(super) static WINOGRAD_GRADIENT: KernelSpec = KernelSpec {
    entry: "winograd_gradient",
    source: concat!(
        include_str!("../../shaders/winograd_gradient.wgsl"),
        include_str!("../../shaders/shared/winograd_put.wgsl"),
        include_str!("../../shaders/shared/winograd.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("gradient", Access::Real), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<Tiles>() as u32,
};

pub(super) static WINOGRAD_WEIGHT_GRADIENT: KernelSpec = KernelSpec {
    entry: "winograd_weight_gradient",
    source: concat!(
        include_str!("../../shaders/winograd_weight_gradient.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("sums", Access::Read), ("c", Access::ReadWrite)],
    immediate_bytes: size_of::<Sums>() as u32,
};

/// Pairs of an output and a quad of inputs that a workgroup of `winograd_weight_gradient` makes; `PAIRS` there.
const PAIRS: usize = 16;

/// Terms that a part of a sum over tiles has at least.
const LEAST_TERMS: usize = 256;

/// What `winograd_weight_gradient` is told.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Sums {
    in_channels: u32,
    out_channels: u32,
    whole_runs: u32,
    parts: u32,
    last_parts: u32,
}

/// The products of a pass: for each of 16, [outputs, inputs] sums over `tiles`, of which `chunk` are transformed at a time.
#[derive(Clone, Copy, Debug)]
struct Cut {
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
    fn new(class: AdapterClass, shape: &ConvShape) -> Self {
        let [inputs, outputs] = [shape.input(), shape.output()].map(|[.., channels]| padded_channels(channels));
        let tiles = tiles_of(shape.batch(), shape.output());
        Self { inputs, outputs, tiles, chunk: chunk_tiles(class, inputs + outputs, tiles) }
    }

    /// Elements of a product.
    fn product(&self) -> usize {
        self.inputs * self.outputs
    }

    fn run(&self, first: usize) -> Run {
        let count = self.chunk.min(self.tiles - first);
        Run { first, count, parts: self.parts(count) }
    }

    /// The most parts of equal length that fill a GPU with tiles of the size that products of this size take; of `count`
    /// tiles whose number has no such divisor fewer.
    fn parts(&self, count: usize) -> usize {
        let side = if self.inputs.min(self.outputs) > 64 { 128 } else { 64 };
        let workgroups = PRODUCTS * self.inputs.div_ceil(side) * self.outputs.div_ceil(side);
        let most = (SPLIT_WORKGROUPS / workgroups).min(count / LEAST_TERMS).max(1);
        (1..=most).rev().find(|parts| count.is_multiple_of(*parts)).unwrap_or(1)
    }

    fn runs(&self) -> impl Iterator<Item = Run> {
        (0..self.tiles).step_by(self.chunk).map(|first| self.run(first))
    }

    /// Words of the transformed input, of the transformed gradient and of all products.
    fn words(&self) -> [usize; 3] {
        let parts: usize = self.runs().map(|run| run.parts).sum();
        [self.chunk * self.inputs, self.chunk * self.outputs, parts * self.product()].map(|words| PRODUCTS * words)
    }

    /// The variant for the products of a run, and the size of one of its parts.
    fn variant(&self, target: &Target, run: &Run) -> Result<(MatmulVariant, MatmulShape), GpuError> {
        let part = MatmulShape::new(self.outputs, self.inputs, run.count / run.parts)?;
        Ok((target.class.batched_variant(part, PRODUCTS * run.parts)?, part))
    }

    fn sums(&self, shape: &ConvShape) -> Result<Sums, GpuError> {
        let whole = self.tiles / self.chunk;
        let count = |value| index_u32(WINOGRAD_WEIGHT_GRADIENT.entry, &[value]);
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
pub(super) fn scratch_words(class: AdapterClass, shape: &ConvShape) -> usize {
    Cut::new(class, shape).words().iter().sum()
}

/// Words that a binding has everywhere where WebGPU does: what a pass keeps for itself is bound in parts of at most so many.
const BINDING_WORDS: usize = 1 << 25;

/// Whether every part of what a pass keeps for itself can be bound wherever WebGPU is: the chunks can, the transformed weights
/// can up to some 1,400 channels of either side, and the sums of a weight gradient as long as there are not too many chunks.
pub(super) fn fits(class: AdapterClass, shape: &ConvShape, pass: ConvPass) -> bool {
    let words = match pass {
        ConvPass::WeightGradient => {
            let [.., sums] = Cut::new(class, shape).words();
            sums
        }
        ConvPass::Forward | ConvPass::DataGradient => weight_words(class, shape, pass),
    };
    words <= BINDING_WORDS
}

/// What a weight gradient launches for images stored as `element`: of each run of tiles both transforms and the products, then
/// the transform of all sums.
pub(super) fn launches(
    target: &Target,
    shape: &ConvShape,
    accumulate: bool,
    element: Element,
) -> Result<Vec<Launch>, GpuError> {
    let cut = Cut::new(target.class, shape);
    let mut launches = Vec::new();
    for run in cut.runs() {
        launches.push(input_launch(target, 0.0, run.count * cut.inputs, element)?);
        let gradient = run.count * cut.outputs;
        let launch = target.launch(&WINOGRAD_GRADIENT, &[], gradient / 4)?;
        // 12 additions a tile, where it lies past an edge too.
        let bytes = (element.words(4 * gradient) + PRODUCTS * gradient) as u64 * WORD_BYTES;
        launches.push(launch.doing(Work { flops: 12 * gradient as u64, bytes }));
        let (variant, part) = cut.variant(target, &run)?;
        let batch = index_u32(WINOGRAD_GRADIENT.entry, &[PRODUCTS, run.parts])?;
        launches.push(batched_launch(target, variant, problem(part), batch)?);
    }
    let spec = &WINOGRAD_WEIGHT_GRADIENT;
    let (pairs, [.., sums]) = (shape.output()[2] * cut.inputs / 4, cut.words());
    let grid = target.grid_1d(spec, pairs, PAIRS)?;
    let written = shape.weight_words() * if accumulate { 2 } else { 1 };
    let work = Work { flops: (sums + 24 * cut.product()) as u64, bytes: (sums + written) as u64 * WORD_BYTES };
    let launch = Launch::new(spec, &[flag("ACCUMULATE", accumulate)], grid, PAIRS * PRODUCTS);
    let rounds = sums / (PRODUCTS * cut.product());
    launches.push(launch.chained(rounds).doing(work));
    Ok(launches)
}

/// The product of a part.
fn problem(shape: MatmulShape) -> MatmulProblem {
    MatmulProblem { layout: MatmulLayout::WeightGradient, shape }
}

/// Binds what [`launches`] gave; `conv` has checked the lengths.
pub(super) fn bind(
    gpu: &Gpu,
    shape: &ConvShape,
    launches: &[Launch],
    operands: &ProductOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let target = Target::for_device(gpu);
    let cut = Cut::new(target.class, shape);
    let [input_words, gradient_words, sum_words] = cut.words();
    let unused = gpu.unused(0)?;
    let scratch = operands.scratch.unwrap_or(&unused);
    let sums_at = input_words + gradient_words;
    let [steps @ .., last] = launches else { return Ok(Vec::new()) };
    let (mut dispatches, mut at) = (Vec::new(), sums_at);
    for (run, [input, gradient, products]) in cut.runs().zip(steps.as_chunks::<3>().0) {
        let tiles = Tiles::new(shape, run.first, run.count)?;
        let tiles = bytemuck::bytes_of(&tiles);
        let x = scratch.part(0, PRODUCTS * run.count * cut.inputs)?;
        let dy = scratch.part(input_words, PRODUCTS * run.count * cut.outputs)?;
        let sums = scratch.part(at, PRODUCTS * run.parts * cut.product())?;
        at += PRODUCTS * run.parts * cut.product();
        dispatches.push(gpu.bind(input, &[operands.b, &x], tiles)?);
        dispatches.push(gpu.bind(gradient, &[operands.a, &dy], tiles)?);
        let (variant, part) = cut.variant(&target, &run)?;
        let batch = index_u32(WINOGRAD_INPUT.entry, &[PRODUCTS, run.parts])?;
        dispatches.push(batched_matmul(gpu, products, variant, problem(part), batch, [&dy, &x, &sums])?);
    }
    let sums = scratch.part(sums_at, sum_words)?;
    let told = cut.sums(shape)?;
    dispatches.push(gpu.bind(last, &[&sums, operands.c], bytemuck::bytes_of(&told))?);
    Ok(dispatches)
}
