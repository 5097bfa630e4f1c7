//! Weight gradients whose sums are long: those of grouped and depthwise convolutions, and of large batches.

use crate::common::{ROUNDOFF, assert_within, depth, device};
use jostle::{
    gpu::{Element, Launch},
    kernels::{
        Activation, BlockTile, ConvOptions, ConvPass, ConvProblem, ConvShape, ConvVariant, Ending, Epilogue, Target,
        conv_variant,
    },
};

use super::conv::{Case, cases};

const DIRECT: [ConvVariant; 2] = [ConvVariant::Direct, ConvVariant::DirectSoftware];

/// Weight gradients of grouped and depthwise layers, in parts and not: images past a workgroup, channels past it, strides.
#[test]
fn grouped_weight_gradients_agree_with_the_definition() {
    let gpu = device();
    let grouped = |side, groups| ConvOptions { groups, ..ConvOptions::square(side).padding(side / 2) };
    let all = [
        Case::new(1, [1, 1, 1], 1, grouped(1, 1)),
        Case::new(3, [7, 11, 37], 37, grouped(3, 37)),
        Case::new(2, [13, 9, 12], 12, ConvOptions { dilation: [2, 1], ..grouped(3, 12) }.stride(2)),
        Case::new(2, [17, 19, 6], 9, grouped(5, 3)),
        Case::new(1, [257, 3, 2], 4, grouped(1, 2)),
        Case::new(5, [31, 33, 66], 66, grouped(3, 66)),
    ];
    for case in all.into_iter().flat_map(|case| cases(gpu, case)) {
        for (variant, accumulate) in DIRECT.into_iter().flat_map(|variant| [(variant, false), (variant, true)]) {
            case.check(gpu, variant, ConvPass::WeightGradient, Epilogue::Plain, accumulate);
        }
    }
}

/// Roundings of equal terms do not average out: one after the other 2^20 of them lose a hundredth of the sum; and llvmpipe leaves
/// out all past the 65,535th round of an invocation's loops.
#[test]
fn long_weight_gradients_are_as_exact_as_their_depth() {
    let gpu = device();
    let mut case = Case::new(1, [1025, 1024, 2], 2, ConvOptions { groups: 2, ..ConvOptions::square(1) });
    case.x.fill(1.0);
    case.dy.fill(0.1);
    for variant in DIRECT {
        let found = case.run(gpu, variant, ConvPass::WeightGradient, Epilogue::Plain, false);
        let depth = depth(&direct_weight_gradient(variant, &case.shape()));
        let expected = [1025.0 * 1024.0 * f64::from(0.1f32); 2];
        let bounds = expected.map(|sum| (depth + 1) as f64 * ROUNDOFF * sum);
        assert_within(&format!("equal terms {variant:?}"), &found, &expected, &bounds);
    }
}

/// A dense layer's sums, over more pixels than one invocation's rounds.
#[test]
fn long_dense_weight_gradients_leave_no_pixel_out() {
    let gpu = device();
    // Lines of one pixel, and so many tiles that their sums are not cut to keep cores busy.
    let mut case = Case::new(40, [1024, 1, 68], 256, ConvOptions::square(1));
    case.x.fill(1.0);
    case.dy.fill(1.0);
    let (pass, shape) = (ConvPass::WeightGradient, case.shape());
    let variant = conv_variant(gpu, Element::Word, &shape, pass);
    // Whole numbers below 2^24, whatever the order.
    let found = case.run(gpu, variant, pass, Epilogue::Plain, false);
    assert!(found == vec![40.0 * 1024.0; 256 * 68], "{variant:?}: {:?}", &found[..4]);
}

fn direct_weight_gradient(variant: ConvVariant, shape: &ConvShape) -> Vec<Launch> {
    let problem = ConvProblem { pass: ConvPass::WeightGradient, shape };
    variant.launches(&Target::GENERIC, problem, Ending::PLAIN, Element::Word).unwrap()
}

#[test]
fn no_invocation_walks_the_pixels_alone() {
    let depthwise = |batch, side, channels| {
        let options = ConvOptions { groups: channels, ..ConvOptions::square(3).padding(1) };
        let shape = ConvShape::new(batch, [side, side, channels], channels, &options).unwrap();
        direct_weight_gradient(ConvVariant::Direct, &shape)
    };
    for (side, channels) in [(32, 64), (32, 32), (16, 256), (8, 512), (4, 1024)] {
        let launches = depthwise(128, side, channels);
        assert!(launches.iter().all(|launch| launch.chain <= 128), "{side} {channels}: {launches:?}");
        assert!(launches[0].workgroups() >= 264 && launches[0].threads == 256, "{side} {channels}: {launches:?}");
    }
}

/// Forward and data gradient of tiles too few for a GPU, whose terms are summed in parts: by blocks, and by cooperative matrices
/// where the adapter has them, in whole taps and across them.
#[test]
fn few_tiles_of_long_sums_are_cut_into_parts() {
    let gpu = device();
    let bias = Epilogue::BiasActivation { activation: Activation::Gelu, store_pre: true };
    let gradient = Epilogue::ActivationGradient(Activation::Gelu);
    let three = ConvOptions::square(3).padding(1);
    for case in [Case::new(2, [5, 6, 68], 60, three), Case::new(1, [7, 5, 64], 96, three)] {
        for case in cases(gpu, case) {
            let shape = case.shape();
            let available = ConvVariant::available(gpu, case.element, &shape, ConvPass::Forward);
            let cut = |variant: &ConvVariant| {
                matches!(variant, ConvVariant::Block(BlockTile::SMALL | BlockTile::LARGE) | ConvVariant::Coop(_))
            };
            for variant in available.into_iter().filter(cut) {
                for (pass, epilogue, accumulate) in
                    [(ConvPass::Forward, bias, true), (ConvPass::DataGradient, gradient, false)]
                {
                    let problem = ConvProblem { pass, shape: &shape };
                    let launches = variant.launches(&Target::for_device(gpu), problem, Ending::PLAIN, case.element);
                    assert_eq!(launches.unwrap().len(), 2, "{variant:?} {pass:?}: tiles, and the sum of their parts");
                    case.check(gpu, variant, pass, epilogue, accumulate);
                }
            }
        }
    }
}
