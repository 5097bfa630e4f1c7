//! Products and convolutions by the cooperative matrices of NVIDIA's and AMD's GPUs, 16 x 16 of f16, and of Apple's, 8 x 8 of f32, which
//! no software adapter has: the sanitizer computes them, with subgroups of 32 and of 64. Two minutes' work, and so only where
//! `JOSTLE_SANITIZE` asks for it.

use super::{
    conv::{Case, cases},
    cooperative::{SPLIT, assert_exact, by_matrices, check_convolution, in_rows},
};
use crate::common::{
    device,
    sanitize::{compute, wanted, without_matrices},
};
use jostle::{
    gpu::{CooperativeMatrix, Family, Faults, Gpu, Scalar, Watch},
    kernels::ConvOptions,
};

/// The common device, taking itself for a GPU with such matrices and subgroups from the first size to the second.
fn with_matrices(matrix: CooperativeMatrix, subgroup_sizes: [u32; 2], compute: Watch) -> Gpu {
    let faults = Faults {
        family: Some(Family::Gpu),
        subgroup_sizes: Some(subgroup_sizes),
        matrices: Some(vec![matrix]),
        misread: Some(without_matrices),
        watch: Some(compute),
        ..Faults::default()
    };
    device().again().with_faults(faults)
}

/// NVIDIA's subgroups, AMD's where the driver takes the larger size, which are half as many as a tile has shares, and Apple's.
fn devices() -> Vec<Gpu> {
    if wanted().is_none() {
        eprintln!("matrices of GPUs: skipped, JOSTLE_SANITIZE is not set");
        return Vec::new();
    }
    let (sixteen, eight) = (CooperativeMatrix::square(16, Scalar::F16), CooperativeMatrix::square(8, Scalar::F32));
    let mut all = vec![with_matrices(eight, [32, 32], compute::<32>)];
    if device().has_f16() {
        all.push(with_matrices(sixteen, [32, 32], compute::<32>));
        all.push(with_matrices(sixteen, [32, 64], compute::<64>));
    }
    all
}

#[test]
fn sums_of_whole_numbers_are_exact_on_gpus() {
    // Whole tiles with an end that is cut off; nothing aligned; in parts.
    let shapes = [[136, 72, 40], [65, 23, 33], SPLIT];
    devices().iter().for_each(|gpu| assert_exact(gpu, "matrices of GPUs", &shapes));
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
    // Lines of less than a tile's cells and of more, in parts.
    let rows = [Case::new(9, [9, 7, 72], 16, three), Case::new(1, [14, 37, 8], 72, three)];
    for gpu in devices() {
        for case in all.iter().flat_map(|case| cases(&gpu, case.clone())) {
            check_convolution(&gpu, &case, by_matrices);
        }
        for case in rows.iter().flat_map(|case| cases(&gpu, case.clone())) {
            check_convolution(&gpu, &case, in_rows);
        }
    }
}
