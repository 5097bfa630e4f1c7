//! Weight gradients by cooperative matrices, a row of the kernel's taps at once: the host side of `shaders/conv_coop_row.wgsl`.

use crate::gpu::ProductTile;

use super::{
    Constant,
    conv_shape::{ConvPass, ConvShape, padded_channels},
    coop::{COOP_DEPTH, COOP_OCTET, CoopTile},
};

/// Taps of a row; `TAPS` in the shader.
const TAPS: usize = 3;

/// Cells behind a tile that its last ones' taps take.
const BEHIND: usize = TAPS - 1;

/// Whether the kernel computes this: of channels that are whole octets, 3 x 3 with a padding of 1 and nothing else.
pub(super) fn covers(shape: &ConvShape, pass: ConvPass) -> bool {
    let whole = |[.., channels]: [usize; 3]| padded_channels(channels).is_multiple_of(COOP_OCTET as usize);
    let is_same = shape.is_dense_three_by_three() && shape.padding() == [1; 2];
    pass == ConvPass::WeightGradient && is_same && whole(shape.input()) && whole(shape.output())
}

/// Cells that are summed over: the pixels, and one more behind each line.
pub(super) fn cells(shape: &ConvShape) -> usize {
    let [height, width, _] = shape.output();
    shape.batch() * height * (width + 1)
}

/// The kernel's overrides beside the pass and what follows it.
pub(super) fn constants(tile: CoopTile) -> Vec<Constant> {
    [tile.constants(true, true), vec![("COOP_BEHIND", BEHIND as f64)]].concat()
}

/// Tiles of outputs, and of inputs for each row of the kernel.
pub(super) fn tiles(tile: CoopTile, shape: &ConvShape) -> [usize; 2] {
    let ([.., inputs], [.., outputs], [rows, columns]) = (shape.input(), shape.output(), tile.sides());
    [outputs.div_ceil(rows), TAPS * inputs.div_ceil(columns)]
}

/// The tile of a workgroup, whose columns are a line's inputs at each tap.
pub(super) fn product_tile(tile: CoopTile) -> ProductTile {
    let one = tile.product_tile();
    let [rows, columns] = one.sides;
    let taps = TAPS as u32;
    // The cells behind a tile, shared out among its terms.
    let behind = (BEHIND as u32 * columns).div_ceil(COOP_DEPTH);
    ProductTile {
        sides: [rows, taps * columns],
        staged: rows + columns + behind,
        share: [one.share[0], taps * one.share[1]],
        ..one
    }
}
