//! Convolutions by Winograd's products against f64, how far they are from it, and where they are taken.

use super::conv::{Case, PASSES, cases};
use crate::common::{ROUNDOFF, assert_within, device};
use jostle::{
    gpu::{Element, Gpu},
    kernels::{
        Activation, AdapterClass, ConvOptions, ConvPass, ConvProblem, ConvShape, ConvVariant, Ending, Epilogue, Target,
        WinogradTile,
    },
};

fn check_every_pass(gpu: &Gpu, tile: WinogradTile, case: &Case) {
    let variant = ConvVariant::Winograd(tile);
    for pass in PASSES {
        assert!(ConvVariant::available(gpu, case.element, &case.shape(), pass).contains(&variant));
        case.check(gpu, variant, pass, Epilogue::Plain, false);
    }
}

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
    ];
    for (batch, input, outputs, padding) in shapes {
        for case in cases(gpu, Case::new(batch, input, outputs, ConvOptions::square(3).padding(padding))) {
            WinogradTile::ALL.into_iter().for_each(|tile| check_every_pass(gpu, tile, &case));
        }
    }
    let strided = Case::new(1, [5, 5, 4], 4, ConvOptions { stride: [2, 1], ..ConvOptions::square(3) }).shape();
    for pass in PASSES {
        let available = ConvVariant::available(gpu, Element::Word, &strided, pass);
        assert!(!available.iter().any(|variant| matches!(variant, ConvVariant::Winograd(_))));
    }
}

#[test]
fn chunks_of_tiles_agree_with_the_definition() {
    let gpu = device();
    let case = Case::new(2, [344, 345, 4], 4, ConvOptions::square(3).padding(1));
    let (shape, ending) = (case.shape(), Ending { epilogue: Epilogue::Plain, accumulate: false });
    for (tile, pass) in WinogradTile::ALL.into_iter().zip([ConvPass::Forward, ConvPass::WeightGradient]) {
        let (variant, problem) = (ConvVariant::Winograd(tile), ConvProblem { pass, shape: &shape });
        let launches = variant.launches(&Target::for_device(gpu), problem, ending, Element::Word).unwrap();
        let chunks = launches.iter().filter(|launch| launch.spec.entry == "winograd_input").count();
        let one_fits = matches!(Target::for_device(gpu).class, AdapterClass::Gpu(_));
        assert!(chunks > 1 || one_fits, "{tile:?}: {chunks}");
        case.check(gpu, variant, pass, Epilogue::Plain, false);
    }
}

#[test]
fn winograd_ends_as_other_convolutions_do() {
    let gpu = device();
    let case = Case::new(3, [9, 10, 6], 5, ConvOptions::square(3).padding(1));
    for tile in WinogradTile::ALL {
        let variant = ConvVariant::Winograd(tile);
        case.check(gpu, variant, ConvPass::WeightGradient, Epilogue::Plain, true);
        case.check(gpu, variant, ConvPass::DataGradient, Epilogue::ActivationGradient(Activation::Tanh), true);
        let epilogue = Epilogue::BiasActivation { activation: Activation::Gelu, store_pre: true };
        case.check(gpu, variant, ConvPass::Forward, epilogue, false);
    }
}

/// The units of roundoff that an error has at most, of the sum of the terms' magnitudes.
fn bound(tile: WinogradTile) -> f64 {
    match tile {
        WinogradTile::F2 => 5.0,
        WinogradTile::F4 => 20.0,
    }
}

#[test]
fn winograd_keeps_the_bounds_that_its_shaders_name() {
    let gpu = device();
    for (batch, side, inputs, outputs) in [(2, 16, 64, 64), (2, 8, 256, 64), (8, 4, 512, 64)] {
        let case = Case::new(batch, [side, side, inputs], outputs, ConvOptions::square(3).padding(1));
        for pass in PASSES {
            let (sums, magnitudes) = case.sums(pass);
            let name = |tile| format!("{tile:?} {pass:?} {inputs} to {outputs} channels of {side} x {side}");
            for tile in WinogradTile::ALL {
                let found = case.run(gpu, ConvVariant::Winograd(tile), pass, Epilogue::Plain, false);
                let bounds: Vec<_> = magnitudes.iter().map(|m| bound(tile) * ROUNDOFF * m).collect();
                let errors = found.iter().zip(&sums).zip(&bounds);
                let most = errors.map(|((f, s), b)| (f64::from(*f) - s).abs() / b).fold(0.0, f64::max);
                println!("{}: {:.2} of {}", name(tile), most * bound(tile), bound(tile));
                assert_within(&name(tile), &found, &sums, &bounds);
            }
        }
    }
}

/// What a pass keeps for itself is bound in parts, and 128 MiB is what WebGPU lets an adapter bind.
#[test]
fn winograd_is_not_taken_where_its_scratch_could_not_be_bound() {
    let gpu = |shape: &ConvShape, pass| Target::GENERIC.class.conv_variant(Element::Word, shape, pass);
    let square = |batch, side, channels| {
        ConvShape::new(batch, [side, side, channels], channels, &ConvOptions::square(3).padding(1)).unwrap()
    };
    let [two, four] = WinogradTile::ALL.map(ConvVariant::Winograd);
    let is_winograd = |variant| [two, four].contains(&variant);
    for pass in PASSES {
        assert_eq!(gpu(&square(128, 8, 256), pass), four, "{pass:?}");
        assert_eq!(gpu(&square(128, 8, 1024), pass), two, "{pass:?}: products of 144 MiB by the larger tile");
        assert!(!is_winograd(gpu(&square(8, 8, 2048), pass)), "{pass:?}: products of 256 MiB");
    }
    assert_eq!(gpu(&square(128, 32, 64), ConvPass::WeightGradient), four);
    let many_chunks = square(256, 224, 64);
    assert!(!is_winograd(gpu(&many_chunks, ConvPass::WeightGradient)), "{many_chunks}: parts of 56 chunks");
}

/// The larger tile multiplies less, but for sides that it fills badly, and for so few tiles that their rows are padded or the
/// weights weigh most.
#[test]
fn the_larger_tile_is_taken_where_it_costs_less() {
    let taken = |batch, side, channels| {
        let shape =
            ConvShape::new(batch, [side, side, channels], channels, &ConvOptions::square(3).padding(1)).unwrap();
        let variants = PASSES.map(|pass| Target::GENERIC.class.conv_variant(Element::Word, &shape, pass));
        assert!(variants.iter().all(|variant| *variant == variants[0]), "{shape}: {variants:?}");
        variants[0]
    };
    let [two, four] = WinogradTile::ALL.map(ConvVariant::Winograd);
    for (side, channels) in [(32, 64), (16, 128), (8, 256), (4, 512), (7, 128), (14, 256), (3, 512)] {
        assert_eq!(taken(128, side, channels), four, "{channels} of {side} x {side}");
    }
    for (batch, side, channels) in [(128, 2, 512), (128, 1, 512), (128, 5, 128), (128, 6, 256), (8, 4, 512)] {
        assert_eq!(taken(batch, side, channels), two, "{batch} of {channels} of {side} x {side}");
    }
}
