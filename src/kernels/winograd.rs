//! 3 x 3 convolutions by Winograd's F(m x m, 3 x 3): the host side of `shaders/winograd_*.wgsl`, with (m + 2)^2 matrix products
//! between what they transform.

use crate::gpu::{Dispatch, Element, Gpu, GpuError, Launch, WORD_BYTES, Work, align_words};

use super::{
    AdapterClass, Target,
    conv_shape::{ConvPass, ConvProblem, ConvShape},
    epilogue::Ending,
    matmul::{MatmulVariant, batched_launch, batched_matmul},
    matmul_shape::{MatmulLayout, MatmulProblem, MatmulShape},
    padded_channels,
    product_operands::ProductOperands,
    winograd_specs::{Tiles, WINOGRAD_INPUT, WINOGRAD_OUTPUT, WINOGRAD_WEIGHT},
    winograd_tile::WinogradTile,
};

/// The products of a pass: k source channels, n result channels, `tiles` rows of which `chunk` are worked on at a time.
#[derive(Clone, Copy, Debug)]
struct Cut {
    tile: WinogradTile,
    k: usize,
    n: usize,
    tiles: usize,
    chunk: usize,
}

impl Cut {
    fn new(class: AdapterClass, tile: WinogradTile, shape: &ConvShape, pass: ConvPass) -> Self {
        let [input, output] = [shape.input(), shape.output()];
        let (source, result) = if pass == ConvPass::Forward { (input, output) } else { (output, input) };
        let [k, n] = [source[2], result[2]].map(padded_channels);
        let tiles = tile.tiles_of(shape.batch(), result);
        Self { tile, k, n, tiles, chunk: tile.chunk_tiles(class, [k, n], tiles) }
    }

    /// Words of U, V and M, each of which is bound by itself.
    fn words(&self) -> [usize; 3] {
        [self.k * self.n, self.chunk * self.k, self.chunk * self.n]
            .map(|words| align_words(self.tile.products() * words))
    }
}

/// Words of the transformed weights.
pub(super) fn weight_words(class: AdapterClass, tile: WinogradTile, shape: &ConvShape, pass: ConvPass) -> usize {
    let [weights, ..] = Cut::new(class, tile, shape, pass).words();
    weights
}

/// Words that a pass keeps for itself.
pub(super) fn scratch_words(class: AdapterClass, tile: WinogradTile, shape: &ConvShape, pass: ConvPass) -> usize {
    Cut::new(class, tile, shape, pass).words().iter().sum()
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

/// The variant for the products of `count` tiles, and the size of each.
fn product(target: &Target, cut: &Cut, count: usize) -> Result<(MatmulVariant, MatmulShape), GpuError> {
    let one = MatmulShape::new(count, cut.n, cut.k)?;
    Ok((target.class.batched_variant(one, cut.tile.products())?, one))
}

/// What a transform of so many channels of tiles does, whose images are stored as `element`: `flops` a tile, and each image's
/// pixel moved `times`.
pub(super) fn transform_work(
    tile: WinogradTile,
    flops: usize,
    channels: usize,
    element: Element,
    times: usize,
) -> Work {
    let pixels = times * tile.pixels().pow(2) * channels;
    let bytes = (element.words(pixels) + tile.products() * channels) as u64 * WORD_BYTES;
    Work { flops: (flops * channels) as u64, bytes }
}

/// The transform of so many channels of tiles, of all their channels together; `code` is the kernel's PASS.
pub(super) fn input_launch(
    target: &Target,
    tile: WinogradTile,
    code: f64,
    source: usize,
    element: Element,
) -> Result<Launch, GpuError> {
    let input = target.launch(WINOGRAD_INPUT.spec(tile), &[("PASS", code)], source / tile.lanes())?;
    Ok(input.doing(transform_work(tile, tile.flops().source, source, element, 1)))
}

/// What a pass launches for images stored as `element`: the weights' transform, then of each chunk the transform, the products
/// and the transform back.
pub(super) fn launches(
    target: &Target,
    tile: WinogradTile,
    ConvProblem { pass, shape }: ConvProblem<'_>,
    ending: Ending,
    element: Element,
) -> Result<Vec<Launch>, GpuError> {
    let cut = Cut::new(target.class, tile, shape, pass);
    let pass_code = f64::from(u8::from(pass == ConvPass::DataGradient));
    let code = ("PASS", pass_code);
    let finish = [vec![code], ending.constants()].concat();
    let (weights, results) = (cut.k * cut.n, if ending.accumulate { 2 } else { 1 });
    let bytes = (element.words(9 * weights) + tile.products() * weights) as u64 * WORD_BYTES;
    let transform = target.launch(WINOGRAD_WEIGHT.spec(tile), &[code], weights / tile.lanes())?;
    let mut launches = vec![transform.doing(Work { flops: (tile.flops().filter * weights) as u64, bytes })];
    for (_, count) in chunks(&cut) {
        let [source, result] = [cut.k, cut.n].map(|channels| count * channels);
        launches.push(input_launch(target, tile, pass_code, source, element)?);
        let (variant, shape) = product(target, &cut, count)?;
        let problem = MatmulProblem { layout: layout(pass), shape };
        launches.push(batched_launch(target, variant, problem, tile.products() as u32)?);
        let output = target.launch(WINOGRAD_OUTPUT.spec(tile), &finish, result / tile.lanes())?;
        launches.push(output.doing(transform_work(tile, tile.flops().result, result, element, results)));
    }
    Ok(launches)
}

/// Binds what [`launches`] gave; `conv` has checked the lengths.
pub(super) fn bind(
    gpu: &Gpu,
    tile: WinogradTile,
    ConvProblem { pass, shape }: ConvProblem<'_>,
    launches: &[Launch],
    operands: &ProductOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let target = Target::for_device(gpu);
    let cut = Cut::new(target.class, tile, shape, pass);
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
        let source = scratch.part(source_at, tile.products() * count * cut.k)?;
        let sums = scratch.part(sums_at, tile.products() * count * cut.n)?;
        let tiles = bytemuck::bytes_of(&tiles);
        dispatches.push(gpu.bind(input, &[operands.a, &source], tiles)?);
        let (variant, size) = product(&target, &cut, count)?;
        let problem = MatmulProblem { layout: layout(pass), shape: size };
        let views = [&source, &weights, &sums];
        dispatches.push(batched_matmul(gpu, products, variant, problem, tile.products() as u32, views)?);
        let views = [&sums, operands.aux.unwrap_or(&unused[0]), operands.c, operands.pre.unwrap_or(&unused[1])];
        dispatches.push(gpu.bind(output, &views, tiles)?);
    }
    Ok(dispatches)
}
