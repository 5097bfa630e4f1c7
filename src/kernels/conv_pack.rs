//! The weights of a convolution as its products read them: the host side of `shaders/conv_pack.wgsl`.

use crate::gpu::{Dispatch, Gpu, GpuError, Launch, View};

use super::{
    AdapterClass, Target, WORKGROUP_SIZE, conv_shape::ConvShape, conv_specs::CONV_PACK, flag, padded_channels,
};

/// Invocations of a workgroup that turns a tile around, and the tile's sides: terms of a sum (inputs and taps) and outputs.
const TILE_INVOCATIONS: usize = 256;
const TILE: [usize; 2] = [32, 64];

/// What [`conv_pack`] launches.
pub(crate) fn conv_pack_launch(target: &Target, shape: &ConvShape) -> Result<Launch, GpuError> {
    match target.class {
        AdapterClass::Gpu(_) => {
            let [inputs, outputs] = [shape.input()[2], shape.output()[2]].map(padded_channels);
            let tiles = (shape.taps() * inputs).div_ceil(TILE[0]) * outputs.div_ceil(TILE[1]);
            let constants = [("WORKGROUP_SIZE", TILE_INVOCATIONS as f64), flag("TILED", true)];
            Ok(Launch::new(&CONV_PACK, &constants, target.grid_1d(&CONV_PACK, tiles, 1)?, TILE_INVOCATIONS))
        }
        AdapterClass::Software(_) => {
            target.sized_launch(&CONV_PACK, &[flag("TILED", false)], shape.packed_words() / 4, WORKGROUP_SIZE)
        }
    }
}

/// Plans the packing of a weight [out, in, kernel height, kernel width] for [`conv`](super::conv), by the variant for `class`.
///
/// Shapes: `output` [taps, padded in, padded out].
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] for more than one group.
pub fn conv_pack(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &ConvShape,
    weight: &View,
    output: &View,
) -> Result<Dispatch, GpuError> {
    let kernel = CONV_PACK.entry;
    if shape.groups() > 1 {
        let shape = format!("{} groups", shape.groups());
        return Err(GpuError::Shape { kernel, shape, reason: "takes one group only" });
    }
    weight.expect_len(kernel, "weight", shape.weight_words())?;
    output.expect_len(kernel, "output", shape.packed_words())?;
    let launch = conv_pack_launch(&Target::with_class(gpu, class), shape)?;
    gpu.bind(&launch, &[weight, output], bytemuck::bytes_of(shape))
}
