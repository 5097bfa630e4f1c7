//! Products and convolutions by the cooperative matrices of NVIDIA's and AMD's GPUs, 16 x 16 of f16, which no software adapter has:
//! the sanitizer computes them, with subgroups of 32 and of 64. A minute's work, and so only where `JOSTLE_SANITIZE` asks for it.

use super::{
    conv::{Case, cases},
    cooperative::{PASSES, SPLIT, assert_exact, tiles},
};
use crate::common::{
    device,
    sanitize::{compute, wanted, without_matrices},
};
use jostle::{
    gpu::{CooperativeMatrix, Element, Family, Faults, Gpu, Scalar, Watch},
    kernels::{ConvOptions, ConvVariant, Epilogue},
};

/// A device that takes itself for a GPU with these matrices; nothing where it has no f16.
fn with_matrices(subgroup_sizes: [u32; 2], compute: Watch) -> Option<Gpu> {
    let faults = Faults {
        family: Some(Family::Gpu),
        subgroup_sizes: Some(subgroup_sizes),
        matrices: Some(vec![CooperativeMatrix::square(16, Scalar::F16)]),
        misread: Some(without_matrices),
        watch: Some(compute),
        ..Faults::default()
    };
    device().has_f16().then(|| device().again().with_faults(faults))
}

/// NVIDIA's subgroups, and AMD's where the driver takes the larger size: half as many as a tile has shares.
fn devices() -> Vec<Gpu> {
    if wanted().is_none() {
        eprintln!("16 x 16: skipped, JOSTLE_SANITIZE is not set");
        return Vec::new();
    }
    let all = [with_matrices([32, 32], compute::<32>), with_matrices([32, 64], compute::<64>)];
    all.into_iter().flatten().collect()
}

#[test]
fn sums_of_whole_numbers_are_exact_on_gpus() {
    // Whole tiles with an end that is cut off; nothing aligned; in parts.
    let shapes = [[136, 72, 40], [65, 23, 33], SPLIT];
    devices().iter().for_each(|gpu| assert_exact(gpu, "16 x 16", &shapes));
}

#[test]
fn convolutions_agree_with_the_definition_on_gpus() {
    let three = ConvOptions::square(3).padding(1);
    // A tap a tile of terms, with strides and without; channels that share tiles.
    let all = [
        Case::new(1, [5, 3, 32], 40, three),
        Case::new(2, [5, 4, 32], 16, three.stride(2)),
        Case::new(1, [5, 5, 8], 16, three),
    ];
    for gpu in devices() {
        for case in all.iter().flat_map(|case| cases(&gpu, case.clone())) {
            for (element, tile) in tiles(&gpu, "16 x 16") {
                for pass in PASSES.into_iter().filter(|_| element == case.element && element == Element::Half) {
                    case.check(&gpu, ConvVariant::Coop(tile), pass, Epilogue::Plain, false);
                }
            }
        }
    }
}
