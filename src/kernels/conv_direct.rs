//! Grouped and depthwise convolutions, an element at a time: the host side of `shaders/conv_direct.wgsl`.

use crate::gpu::{GpuError, Grid, KernelSpec, Launch};

use super::{
    Constant, Target, WORKGROUP_SIZE,
    conv_shape::{ConvPass, ConvProblem, ConvShape},
    conv_variant::ConvVariant,
    store::BINDINGS,
    tree::Tree,
};

pub(super) static CONV_DIRECT: KernelSpec = KernelSpec {
    entry: "conv_direct",
    source: concat!(
        include_str!("../../shaders/conv_direct.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/part.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
        include_str!("../../shaders/shared/epilogue.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

/// Workgroups that a weight gradient aims at: of 256 invocations, some four times what a large GPU holds at once, so that their
/// loops over pixels are short.
const WORKGROUPS: usize = 4096;

/// Pixels that an invocation of [`ConvVariant::DirectSoftware`] sums: few enough for rounding, and for llvmpipe, which leaves out
/// all past the 65,535th round of a loop.
const PIXELS_ALONE: usize = 4096;

/// The elements that a workgroup makes, and the invocations of each.
fn tree(variant: ConvVariant, shape: &ConvShape, pass: ConvPass) -> Tree {
    if pass != ConvPass::WeightGradient {
        return Tree { sums: WORKGROUP_SIZE, lanes: 1 };
    }
    let sums = shape.out_channels().next_power_of_two().min(32);
    Tree { sums, lanes: if variant == ConvVariant::Direct { 256 / sums } else { 1 } }
}

/// Workgroups of a part.
fn workgroups(variant: ConvVariant, shape: &ConvShape, pass: ConvPass) -> usize {
    let [input, output] = shape.words();
    let tree = tree(variant, shape, pass);
    match pass {
        ConvPass::Forward => tree.workgroups(output),
        ConvPass::DataGradient => tree.workgroups(input),
        ConvPass::WeightGradient => {
            let outputs = shape.out_channels();
            tree.workgroups(outputs) * (shape.weight_words() / outputs)
        }
    }
}

/// Into how many parts the weight gradient's sums over pixels are cut: on a GPU no more than leave a part as many pixels.
pub(super) fn parts(variant: ConvVariant, shape: &ConvShape) -> usize {
    if variant == ConvVariant::DirectSoftware {
        return shape.out_pixels().div_ceil(PIXELS_ALONE);
    }
    let enough = WORKGROUPS.div_ceil(workgroups(variant, shape, ConvPass::WeightGradient));
    enough.min(shape.out_pixels().isqrt())
}

/// What a pass launches, with overrides beside the tree's: workgroups in x and y folded, in z the parts.
pub(super) fn launch(
    target: &Target,
    variant: ConvVariant,
    ConvProblem { pass, shape }: ConvProblem<'_>,
    constants: &[Constant],
) -> Result<Launch, GpuError> {
    let (tree, taps, groups) = (tree(variant, shape, pass), shape.taps(), shape.groups());
    let (parts, chain) = match pass {
        ConvPass::Forward => (1, taps * shape.input()[2] / groups),
        ConvPass::DataGradient => (1, taps * shape.out_channels() / groups),
        ConvPass::WeightGradient => {
            let parts = parts(variant, shape);
            (parts, tree.chain(shape.out_pixels().div_ceil(parts), 1))
        }
    };
    let launch = tree.launch(target, &CONV_DIRECT, constants, workgroups(variant, shape, pass), chain)?;
    let Grid([x, y, _]) = launch.grid;
    Ok(Launch { grid: Grid([x, y, parts as u32]), ..launch })
}
