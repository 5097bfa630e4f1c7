//! Convolutions by Winograd's products against f64, and where they are taken.

use super::conv::{Case, PASSES, cases};
use crate::common::device;
use jostle::{
    gpu::Element,
    kernels::{ConvOptions, ConvPass, ConvShape, ConvVariant, Epilogue, Target},
};

#[test]
fn winograd_agrees_with_the_definition() {
    let gpu = device();
    let shapes = [
        (1, [1, 1, 1], 1, 1),
        (2, [3, 3, 5], 7, 0),
        (3, [5, 8, 12], 16, 1),
        (2, [7, 7, 33], 35, 2),
        (1, [4, 9, 8], 4, 4), // padding past the kernel: 2 - padding is below 0
        (5, [31, 33, 3], 8, 1),
        (2, [256, 258, 4], 4, 1), // more tiles than a chunk of a software adapter
    ];
    for (batch, input, outputs, padding) in shapes {
        for case in cases(gpu, Case::new(batch, input, outputs, ConvOptions::square(3).padding(padding))) {
            for pass in PASSES {
                assert!(
                    ConvVariant::available(gpu, case.element, &case.shape(), pass).contains(&ConvVariant::Winograd)
                );
                case.check(gpu, ConvVariant::Winograd, pass, Epilogue::Plain, false);
            }
        }
    }
    let case = Case::new(3, [9, 10, 6], 5, ConvOptions::square(3).padding(1));
    case.check(gpu, ConvVariant::Winograd, ConvPass::WeightGradient, Epilogue::Plain, true);
    let strided = Case::new(1, [5, 5, 4], 4, ConvOptions { stride: [2, 1], ..ConvOptions::square(3) }).shape();
    for pass in PASSES {
        assert!(!ConvVariant::available(gpu, Element::Word, &strided, pass).contains(&ConvVariant::Winograd));
    }
}

/// What a pass keeps for itself is bound in parts, and 128 MiB is what WebGPU lets an adapter bind.
#[test]
fn winograd_is_not_taken_where_its_scratch_could_not_be_bound() {
    let gpu = |shape: &ConvShape, pass| Target::GENERIC.class.conv_variant(Element::Word, shape, pass);
    let square = |batch, side, channels| {
        ConvShape::new(batch, [side, side, channels], channels, &ConvOptions::square(3).padding(1)).unwrap()
    };
    for pass in PASSES {
        assert_eq!(gpu(&square(128, 8, 256), pass), ConvVariant::Winograd, "{pass:?}");
        assert_ne!(gpu(&square(8, 8, 2048), pass), ConvVariant::Winograd, "{pass:?}: products of 256 MiB");
    }
    assert_eq!(gpu(&square(128, 32, 64), ConvPass::WeightGradient), ConvVariant::Winograd);
    let many_chunks = square(128, 224, 64);
    assert_ne!(gpu(&many_chunks, ConvPass::WeightGradient), ConvVariant::Winograd, "{many_chunks}: parts of 98 chunks");
}
