//! Which variants the tables for GPUs take, where that was measured and where it follows from sizes alone.

use super::conv::PASSES;
use jostle::{
    gpu::Element,
    kernels::{
        BlockTile, ConvOptions, ConvPass, ConvShape, ConvVariant, MatmulShape, MatmulVariant, Target, WinogradTile,
    },
};

#[test]
fn products_take_the_largest_tile_that_fills_a_gpu() {
    let all = [
        ([4096, 4096, 4096], MatmulVariant::Block(BlockTile::LARGE)),
        ([128, 5000, 5000], MatmulVariant::Split(BlockTile::LARGE)),
        ([128, 10, 5000], MatmulVariant::Split(BlockTile::SMALL)),
        ([500, 784, 128], MatmulVariant::Block(BlockTile::SMALL)),
        // A side of 64, of which the large tile would multiply as much again.
        ([131_072, 64, 256], MatmulVariant::Block(BlockTile::TALL)),
        ([64, 131_072, 256], MatmulVariant::Block(BlockTile::WIDE)),
        ([5000, 64, 5000], MatmulVariant::Split(BlockTile::TALL)),
        ([64, 5000, 5000], MatmulVariant::Split(BlockTile::WIDE)),
    ];
    for ([m, n, k], expected) in all {
        let shape = MatmulShape::new(m, n, k).unwrap();
        assert_eq!(Target::GENERIC.class.matmul_variant(Element::Word, shape), expected, "{shape:?}");
    }
}

/// Forward, data gradient and weight gradient.
#[test]
fn convolutions_take_the_largest_tile_that_fills_a_gpu() {
    let [large, tall, wide, small] = BlockTile::ALL.map(ConvVariant::Block);
    let three = ConvOptions::square(3).padding(1);
    let all = [
        // Layers of ResNet-18 at batch 128.
        (32, 64, 64, three, [ConvVariant::Winograd(WinogradTile::F4); 3]),
        (32, 64, 128, three.stride(2), [large, tall, small]),
        (16, 128, 256, three.stride(2), [large, large, small]),
        // 64 large tiles, of whose sums two parts are taken.
        (8, 256, 512, three.stride(2), [large, tall, small]),
        // A quarter of the pixels has a tap.
        (16, 128, 256, ConvOptions::square(1).stride(2), [large, small, small]),
        (8, 256, 512, ConvOptions::square(1).stride(2), [small, small, small]),
        // 64 outputs of 576 terms each.
        (32, 64, 64, three.stride(2), [tall, tall, wide]),
    ];
    for (side, inputs, outputs, options, expected) in all {
        let shape = ConvShape::new(128, [side, side, inputs], outputs, &options).unwrap();
        let found = PASSES.map(|pass| Target::GENERIC.class.conv_variant(Element::Word, &shape, pass));
        assert_eq!(found, expected, "{shape}");
    }
    assert_eq!(PASSES, [ConvPass::Forward, ConvPass::DataGradient, ConvPass::WeightGradient]);
}
