//! The tiles of Winograd's convolutions: how large they are, what they cost and how many are worked on at a time.

use super::{
    AdapterClass,
    conv_shape::{ConvPass, ConvShape},
    padded_channels,
};

/// Winograd's F(m x m, 3 x 3): m x m pixels of a result from one tile of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WinogradTile {
    /// F(2 x 2, 3 x 3): 16 multiplications for 36.
    F2,
    /// F(4 x 4, 3 x 3): 36 multiplications for 144, with three times the roundings' error.
    F4,
}

/// Additions and multiplications that the transforms of a tile take.
pub(super) struct TransformFlops {
    pub(super) source: usize,
    pub(super) filter: usize,
    pub(super) result: usize,
    pub(super) gradient: usize,
    pub(super) taps: usize,
}

/// Words that a binding has everywhere where WebGPU does: what a pass keeps for itself is bound in parts of at most so many.
pub(super) const BINDING_WORDS: usize = 1 << 25;

/// Words of transformed tiles and of their products at a time on software adapters, which the caches of processors hold.
const CACHED_WORDS: usize = 1 << 22;

/// Tiles of a chunk are a multiple of this, a row of the products' own tiles.
const CHUNK_TILES: usize = 64;

/// The side of the smaller tiles of GPUs' products, which their rows and columns are padded to.
const PRODUCT_SIDE: usize = 64;

/// Operations of products in whose time a word goes through memory: an H200's 35 TFLOP/s by 3.3 TB/s.
const FLOPS_A_WORD: usize = 42;

impl WinogradTile {
    /// Every one, those of fewer products first.
    pub const ALL: [Self; 2] = [Self::F2, Self::F4];

    /// Pixels of a result on each side; `WINOGRAD_PIXELS`.
    pub(super) fn pixels(self) -> usize {
        match self {
            Self::F2 => 2,
            Self::F4 => 4,
        }
    }

    /// Elements of a transformed tile, and so products.
    pub(super) fn products(self) -> usize {
        (self.pixels() + 2).pow(2)
    }

    /// Channels that an invocation transforms; `WINOGRAD_LANES`.
    pub(super) fn lanes(self) -> usize {
        match self {
            Self::F2 => 4,
            Self::F4 => 2,
        }
    }

    /// Operations along a line, of all lines of a tile.
    pub(super) fn flops(self) -> TransformFlops {
        match self {
            Self::F2 => TransformFlops { source: 32, filter: 28, result: 24, gradient: 12, taps: 24 },
            Self::F4 => TransformFlops { source: 264, filter: 117, result: 160, gradient: 140, taps: 144 },
        }
    }

    /// Tiles of images [height, width, ...].
    pub(super) fn tiles_of(self, batch: usize, [height, width, _]: [usize; 3]) -> usize {
        batch * height.div_ceil(self.pixels()) * width.div_ceil(self.pixels())
    }

    /// How many of so many tiles are worked on at a time, `channels` being those of the operands that are made of them: on a GPU
    /// as many as a binding takes of either, since a chunk's dispatches start and drain for nothing more; ResNet-18's passes
    /// over a batch of 128 small images take one.
    pub(super) fn chunk_tiles(self, class: AdapterClass, channels: [usize; 2], tiles: usize) -> usize {
        let [a, b] = channels;
        let most = match class {
            AdapterClass::Gpu(_) => BINDING_WORDS / (self.products() * a.max(b)),
            AdapterClass::Software(_) => CACHED_WORDS / (self.products() * (a + b)),
        };
        tiles.div_ceil(tiles.div_ceil(most.max(CHUNK_TILES))).next_multiple_of(CHUNK_TILES).min(tiles)
    }

    /// What a pass takes, in operations of products: those and the words that the transforms write for the products or
    /// read from them. On an H200 F(2 x 2) took 0.29, 0.19, 0.16 and 0.14 ms a forward pass of ResNet-18's four sizes at batch
    /// 128, images in f16 (`benches/gpu/h200-0a5e397-variants.md`), and by this 0.20, 0.16, 0.14 and 0.14 at 35 TFLOP/s.
    /// It tells which tile is faster on llvmpipe too.
    pub(super) fn cost(self, shape: &ConvShape, pass: ConvPass) -> usize {
        let [input, output] = [shape.input(), shape.output()].map(|[.., channels]| padded_channels(channels));
        let result = if pass == ConvPass::DataGradient { shape.input() } else { shape.output() };
        let tiles = self.tiles_of(shape.batch(), result);
        let [rows, columns, depth] = match pass {
            ConvPass::Forward => [tiles, output, input],
            ConvPass::DataGradient => [tiles, input, output],
            ConvPass::WeightGradient => [output, input, tiles],
        };
        let flops = 2 * rows.next_multiple_of(PRODUCT_SIDE) * columns.next_multiple_of(PRODUCT_SIDE) * depth;
        let words = tiles * (input + output) + input * output;
        self.products() * (flops + FLOPS_A_WORD * words)
    }
}
