//! 3 x 3 convolutions by Winograd's F(2 x 2, 3 x 3): the host side of `shaders/winograd_*.wgsl`, with 16 matrix products
//! between what they transform.

use crate::gpu::{Access, Dispatch, Element, Gpu, GpuError, KernelSpec, Launch, WORD_BYTES, Work};

use super::{
    AdapterClass, Target,
    conv_shape::{ConvPass, ConvProblem, ConvShape},
    epilogue::Ending,
    index_u32,
    matmul::{MatmulVariant, batched_launch, batched_matmul},
    matmul_shape::{MatmulLayout, MatmulProblem, MatmulShape},
    padded_channels,
    product_operands::ProductOperands,
};

pub(super) static WINOGRAD_INPUT: KernelSpec = KernelSpec {
    entry: "winograd_input",
    source: concat!(
        include_str!("../../shaders/winograd_input.wgsl"),
        include_str!("../../shaders/shared/winograd_put.wgsl"),
        include_str!("../../shaders/shared/winograd.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<Tiles>() as u32,
};

pub(super) static WINOGRAD_WEIGHT: KernelSpec = KernelSpec {
    entry: "winograd_weight",
    source: concat!(
        include_str!("../../shaders/winograd_weight.wgsl"),
        include_str!("../../shaders/shared/winograd_put.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("packed", Access::Real), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<ConvShape>() as u32,
};

pub(super) static WINOGRAD_OUTPUT: KernelSpec = KernelSpec {
    entry: "winograd_output",
    source: concat!(
        include_str!("../../shaders/winograd_output.wgsl"),
        include_str!("../../shaders/shared/winograd.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[("sums", Access::Read), ("aux", Access::Real), ("c", Access::Out), ("pre", Access::Real)],
    immediate_bytes: size_of::<Tiles>() as u32,
};

/// Elements of a transformed tile, and so products.
pub(super) const PRODUCTS: usize = 16;

/// Words of transformed tiles and of their products at a time: 16 MiB on software adapters, which the caches of processors
/// hold, and on GPUs 128 MiB, no part of which is past the binding that WebGPU grants everywhere: a chunk of 16 MiB has one
/// workgroup for each multiprocessor of an H200, and its three dispatches start and drain for nothing more.
fn chunk_words(class: AdapterClass) -> usize {
    match class {
        AdapterClass::Gpu(_) => 1 << 25,
        AdapterClass::Software(_) => 1 << 22,
    }
}

/// Tiles of a chunk are a multiple of this, a row of the products' own tiles.
const CHUNK_TILES: usize = 64;

/// A run of tiles, as `shaders/shared/winograd.wgsl` has it: of the convolution what the kernels read, in the 64 bytes of
/// immediates that WebGPU grants.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Tiles {
    input: [u32; 3],
    output: [u32; 3],
    padding: [u32; 2],
    first: u32,
    count: u32,
}

impl Tiles {
    pub(super) fn new(shape: &ConvShape, first: usize, count: usize) -> Result<Self, GpuError> {
        Ok(Self {
            input: shape.input,
            output: shape.output,
            padding: shape.padding,
            first: index_u32(WINOGRAD_INPUT.entry, &[first])?,
            count: index_u32(WINOGRAD_INPUT.entry, &[count])?,
        })
    }
}

/// Tiles of 2 x 2 pixels of images [height, width, ...].
pub(super) fn tiles_of(batch: usize, [height, width, _]: [usize; 3]) -> usize {
    batch * height.div_ceil(2) * width.div_ceil(2)
}

/// How many of so many tiles are worked on at a time, `channels` being those of both operands that are made of them.
pub(super) fn chunk_tiles(class: AdapterClass, channels: usize, tiles: usize) -> usize {
    let most = (chunk_words(class) / (PRODUCTS * channels)).max(CHUNK_TILES);
    tiles.div_ceil(tiles.div_ceil(most)).next_multiple_of(CHUNK_TILES).min(tiles)
}

/// The products of a pass: k source channels, n result channels, `tiles` rows of which `chunk` are worked on at a time.
#[derive(Clone, Copy, Debug)]
struct Cut {
    k: usize,
    n: usize,
    tiles: usize,
    chunk: usize,
}

impl Cut {
    fn new(class: AdapterClass, shape: &ConvShape, pass: ConvPass) -> Self {
        let [input, output] = [shape.input(), shape.output()];
        let (source, result) = if pass == ConvPass::Forward { (input, output) } else { (output, input) };
        let [k, n] = [source[2], result[2]].map(padded_channels);
        let tiles = tiles_of(shape.batch(), result);
        Self { k, n, tiles, chunk: chunk_tiles(class, k + n, tiles) }
    }

    /// Words of U, V and M.
    fn words(&self) -> [usize; 3] {
        [self.k * self.n, self.chunk * self.k, self.chunk * self.n].map(|words| PRODUCTS * words)
    }
}

/// Words of the transformed weights.
pub(super) fn weight_words(class: AdapterClass, shape: &ConvShape, pass: ConvPass) -> usize {
    let [weights, ..] = Cut::new(class, shape, pass).words();
    weights
}

/// Words that a pass keeps for itself.
pub(super) fn scratch_words(class: AdapterClass, shape: &ConvShape, pass: ConvPass) -> usize {
    Cut::new(class, shape, pass).words().iter().sum()
}

/// Tiles of each chunk that they are worked on in: first and count.
fn chunks(cut: &Cut) -> impl Iterator<Item = (usize, usize)> {
    let Cut { tiles, chunk, .. } = *cut;
    (0..tiles).step_by(chunk).map(move |first| (first, chunk.min(tiles - first)))
}

/// How a chunk's products lie: U [in, out] is [k, n] forward, [n, k] in a data gradient.
fn layout(pass: ConvPass) -> MatmulLayout {
    if pass == ConvPass::Forward { MatmulLayout::DataGradient } else { MatmulLayout::Forward }
}

/// The variant for the 16 products of `count` tiles each, and their size.
fn product(target: &Target, cut: &Cut, count: usize) -> Result<(MatmulVariant, MatmulShape), GpuError> {
    let one = MatmulShape::new(count, cut.n, cut.k)?;
    Ok((target.class.batched_variant(one, PRODUCTS)?, one))
}

/// The transform of so many channels of tiles, of all their channels together; `code` is the kernel's PASS.
pub(super) fn input_launch(target: &Target, code: f64, source: usize, element: Element) -> Result<Launch, GpuError> {
    let input = target.launch(&WINOGRAD_INPUT, &[("PASS", code)], source / 4)?;
    // Additions of F(2 x 2, 3 x 3): 32 a tile.
    let bytes = (element.words(4 * source) + PRODUCTS * source) as u64 * WORD_BYTES;
    Ok(input.doing(Work { flops: 32 * source as u64, bytes }))
}

/// What a pass launches for images stored as `element`: the weights' transform, then of each chunk the transform, the products
/// and the transform back.
pub(super) fn launches(
    target: &Target,
    ConvProblem { pass, shape }: ConvProblem<'_>,
    ending: Ending,
    element: Element,
) -> Result<Vec<Launch>, GpuError> {
    let cut = Cut::new(target.class, shape, pass);
    let pass_code = f64::from(u8::from(pass == ConvPass::DataGradient));
    let code = ("PASS", pass_code);
    let finish = [vec![code], ending.constants()].concat();
    let (weights, results) = (cut.k * cut.n, if ending.accumulate { 2 } else { 1 });
    let bytes = |images: usize, words: usize| (element.words(images) + words) as u64 * WORD_BYTES;
    // Additions of F(2 x 2, 3 x 3): 28 to transform a filter, 24 a tile back.
    let work = |tiles: usize, additions: usize, bytes| Work { flops: (tiles * additions) as u64, bytes };
    let transform = target.launch(&WINOGRAD_WEIGHT, &[code], weights / 4)?;
    let mut launches = vec![transform.doing(work(weights, 28, bytes(9 * weights, PRODUCTS * weights)))];
    for (_, count) in chunks(&cut) {
        let [source, result] = [cut.k, cut.n].map(|channels| count * channels);
        launches.push(input_launch(target, pass_code, source, element)?);
        let (variant, shape) = product(target, &cut, count)?;
        let problem = MatmulProblem { layout: layout(pass), shape };
        launches.push(batched_launch(target, variant, problem, PRODUCTS as u32)?);
        let output = target.launch(&WINOGRAD_OUTPUT, &finish, result / 4)?;
        launches.push(output.doing(work(result, 24, bytes(4 * results * result, PRODUCTS * result))));
    }
    Ok(launches)
}

/// Binds what [`launches`] gave; `conv` has checked the lengths.
pub(super) fn bind(
    gpu: &Gpu,
    ConvProblem { pass, shape }: ConvProblem<'_>,
    launches: &[Launch],
    operands: &ProductOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let target = Target::for_device(gpu);
    let cut = Cut::new(target.class, shape, pass);
    let [weight_words, source_words, _] = cut.words();
    let unused = [gpu.unused(0)?, gpu.unused(1)?];
    let scratch = operands.scratch.unwrap_or(&unused[0]);
    let [source_at, sums_at] = [weight_words, weight_words + source_words];
    let weights = scratch.part(0, weight_words)?;
    let [transform, rest @ ..] = launches else { return Ok(Vec::new()) };
    let mut dispatches = vec![gpu.bind(transform, &[operands.b, &weights], bytemuck::bytes_of(shape))?];
    let (steps, _) = rest.as_chunks::<3>();
    for ((first, count), [input, products, output]) in chunks(&cut).zip(steps) {
        let tiles = Tiles::new(shape, first, count)?;
        let source = scratch.part(source_at, PRODUCTS * count * cut.k)?;
        let sums = scratch.part(sums_at, PRODUCTS * count * cut.n)?;
        let tiles = bytemuck::bytes_of(&tiles);
        dispatches.push(gpu.bind(input, &[operands.a, &source], tiles)?);
        let (variant, size) = product(&target, &cut, count)?;
        let problem = MatmulProblem { layout: layout(pass), shape: size };
        let views = [&source, &weights, &sums];
        dispatches.push(batched_matmul(gpu, products, variant, problem, PRODUCTS as u32, views)?);
        let views = [&sums, operands.aux.unwrap_or(&unused[0]), operands.c, operands.pre.unwrap_or(&unused[1])];
        dispatches.push(gpu.bind(output, &views, tiles)?);
    }
    Ok(dispatches)
}
