//! What convolutions do with finished sums: every variant's epilogues against f64.

use super::conv::{Case, cases, is_rectangular};
use crate::common::device;
use jostle::kernels::{Activation, BlockTile, ConvOptions, ConvPass, ConvVariant, Epilogue};

#[test]
fn epilogues_agree_with_the_definition() {
    let gpu = device();
    let bias = |activation, store_pre| Epilogue::BiasActivation { activation, store_pre };
    let strided = Case::new(2, [5, 6, 7], 9, ConvOptions::square(3).padding(1).stride(2));
    let dense = Case::new(2, [5, 6, 7], 9, ConvOptions::square(3).padding(1));
    // One of them in f16 where the device has it: a kernel is compiled for each.
    let both = [strided, cases(gpu, dense).pop().unwrap()];
    let all = both.into_iter().enumerate().flat_map(|(turn, case)| {
        let variants = ConvVariant::available(gpu, case.element, &case.shape(), ConvPass::Forward);
        // Larger tiles and more blocks are the same kernels with another constant: of them one of both.
        let once = [ConvVariant::Block(BlockTile::LARGE), ConvVariant::SoftwareWide];
        let is_tried = move |variant: &ConvVariant| !is_rectangular(*variant) && (turn == 0 || !once.contains(variant));
        variants.into_iter().filter(is_tried).map(move |variant| (case.clone(), variant))
    });
    for (case, variant) in all {
        case.check(gpu, variant, ConvPass::Forward, bias(Activation::Relu, false), true);
        case.check(gpu, variant, ConvPass::Forward, bias(Activation::Gelu, true), false);
        case.check(gpu, variant, ConvPass::DataGradient, Epilogue::ActivationGradient(Activation::Gelu), true);
        if ConvVariant::available(gpu, case.element, &case.shape(), ConvPass::WeightGradient).contains(&variant) {
            case.check(gpu, variant, ConvPass::WeightGradient, Epilogue::Plain, true);
        }
    }
}

/// Rows and columns past the first tile, which end as the square tiles' do.
#[test]
fn epilogues_of_rectangular_tiles_agree_with_the_definition() {
    let gpu = device();
    let case = Case::new(3, [9, 8, 12], 140, ConvOptions::square(3).padding(1));
    let bias = Epilogue::BiasActivation { activation: Activation::Gelu, store_pre: true };
    for variant in [BlockTile::TALL, BlockTile::WIDE].map(ConvVariant::Block) {
        case.check(gpu, variant, ConvPass::Forward, bias, true);
        case.check(gpu, variant, ConvPass::DataGradient, Epilogue::ActivationGradient(Activation::Gelu), true);
        case.check(gpu, variant, ConvPass::WeightGradient, Epilogue::Plain, true);
    }
}
