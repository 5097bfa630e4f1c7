//! 3 x 3 convolutions by Winograd's F(2 x 2, 3 x 3): the host side of `shaders/winograd_*.wgsl`, with 16 matrix products
//! between what they transform.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec};

use super::{
    Constant, WORKGROUP, WORKGROUP_SIZE,
    conv::ConvOperands,
    conv_shape::{ConvPass, ConvShape},
    flag, index_u32,
    matmul::{Epilogue, MatmulLayout, MatmulShape, batched_matmul, epilogue_constants},
    padded_channels,
    select::batched_variant,
};

pub(super) static WINOGRAD_INPUT: KernelSpec = KernelSpec {
    entry: "winograd_input",
    source: concat!(
        include_str!("../../shaders/winograd_input.wgsl"),
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
const PRODUCTS: usize = 16;

/// Words of transformed tiles and of their products at a time: 16 MiB, which caches hold that are large, and enough tiles
/// for a large GPU.
const CHUNK_WORDS: usize = 1 << 22;

/// Tiles of a chunk are a multiple of this, a row of the products' own tiles.
const CHUNK_TILES: usize = 64;

/// A run of tiles, as `shaders/shared/winograd.wgsl` has it: of the convolution what the kernels read, in the 64 bytes of
/// immediates that WebGPU grants.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Tiles {
    input: [u32; 3],
    output: [u32; 3],
    padding: [u32; 2],
    first: u32,
    count: u32,
}

/// The products of a pass: k source channels, n result channels, `tiles` rows of which `chunk` are worked on at a time.
#[derive(Clone, Copy, Debug)]
struct Work {
    k: usize,
    n: usize,
    tiles: usize,
    chunk: usize,
}

impl Work {
    fn new(shape: &ConvShape, pass: ConvPass) -> Self {
        let [input, output] = [shape.input(), shape.output()];
        let (source, result) = if pass == ConvPass::Forward { (input, output) } else { (output, input) };
        let [k, n] = [source[2], result[2]].map(padded_channels);
        let tiles = shape.batch() * result[0].div_ceil(2) * result[1].div_ceil(2);
        let most = (CHUNK_WORDS / (PRODUCTS * (k + n))).max(CHUNK_TILES);
        let chunk = tiles.div_ceil(tiles.div_ceil(most)).next_multiple_of(CHUNK_TILES).min(tiles);
        Self { k, n, tiles, chunk }
    }

    /// Words of U, V and M.
    fn words(&self) -> [usize; 3] {
        [self.k * self.n, self.chunk * self.k, self.chunk * self.n].map(|words| PRODUCTS * words)
    }
}

/// Whether the transform covers a pass of this convolution.
pub(super) fn fits(shape: &ConvShape, pass: ConvPass) -> bool {
    pass != ConvPass::WeightGradient && shape.is_dense_three_by_three()
}

/// Words that a pass keeps for itself.
pub(super) fn scratch_words(shape: &ConvShape, pass: ConvPass) -> usize {
    Work::new(shape, pass).words().iter().sum()
}

/// Plans a pass; `conv` has checked the lengths.
pub(super) fn plan(
    gpu: &Gpu,
    (pass, shape): (ConvPass, &ConvShape),
    (epilogue, accumulate): (Epilogue, bool),
    of: &ConvOperands<'_>,
) -> Result<Vec<Dispatch>, GpuError> {
    let work = Work::new(shape, pass);
    let [weight_words, source_words, _] = work.words();
    let unused = [gpu.unused(0)?, gpu.unused(1)?];
    let scratch = of.scratch.unwrap_or(&unused[0]);
    let [source_at, sums_at] = [weight_words, weight_words + source_words];
    let weights = scratch.part(0, weight_words)?;
    let code = ("PASS", f64::from(u8::from(pass == ConvPass::DataGradient)));
    let grid = gpu.grid_1d(WINOGRAD_WEIGHT.entry, weight_words / PRODUCTS / 4, WORKGROUP_SIZE)?;
    let transform = [WORKGROUP, code];
    let mut dispatches =
        vec![gpu.dispatch(&WINOGRAD_WEIGHT, &transform, grid, &[of.b, &weights], bytemuck::bytes_of(shape))?];
    let mut finish: Vec<Constant> = vec![WORKGROUP, code, flag("ACCUMULATE", accumulate)];
    finish.extend(epilogue_constants(epilogue));
    // U [in, out] is [k, n] forward, [n, k] in a data gradient.
    let layout = if pass == ConvPass::Forward { MatmulLayout::DataGradient } else { MatmulLayout::Forward };
    for first in (0..work.tiles).step_by(work.chunk) {
        let count = work.chunk.min(work.tiles - first);
        let tiles = Tiles {
            input: shape.input,
            output: shape.output,
            padding: shape.padding,
            first: index_u32(WINOGRAD_INPUT.entry, &[first])?,
            count: index_u32(WINOGRAD_INPUT.entry, &[count])?,
        };
        let source = scratch.part(source_at, PRODUCTS * count * work.k)?;
        let sums = scratch.part(sums_at, PRODUCTS * count * work.n)?;
        let tiles = bytemuck::bytes_of(&tiles);
        let grid = gpu.grid_1d(WINOGRAD_INPUT.entry, count * work.k / 4, WORKGROUP_SIZE)?;
        dispatches.push(gpu.dispatch(&WINOGRAD_INPUT, &transform, grid, &[of.a, &source], tiles)?);
        let size = MatmulShape::new(count, work.n, work.k)?;
        let variant = batched_variant(gpu, MatmulShape::new(PRODUCTS * count, work.n, work.k)?);
        dispatches.push(batched_matmul(gpu, variant, (layout, size), PRODUCTS as u32, [&source, &weights, &sums])?);
        let grid = gpu.grid_1d(WINOGRAD_OUTPUT.entry, count * work.n / 4, WORKGROUP_SIZE)?;
        let views = [&sums, of.aux.unwrap_or(&unused[0]), of.c, of.pre.unwrap_or(&unused[1])];
        dispatches.push(gpu.dispatch(&WINOGRAD_OUTPUT, &finish, grid, &views, tiles)?);
    }
    Ok(dispatches)
}
