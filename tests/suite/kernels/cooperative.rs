//! Cooperative matrices where the adapter lists them: exact sums, the same bits with checks on, and who may use them.
//! `kernels::matmul` and `kernels::conv` hold the same variants against f64 with every layout, pass and epilogue.

use crate::common::{bits, checked_device, device, guarded_as, poisoned, run, samples};
use jostle::{
    gpu::{AdapterChoice, AdapterSummary, CooperativeMatrix, Element, Family, Gpu, GpuError, Scalar},
    kernels::{
        AdapterClass, ConvOptions, ConvPass, ConvShape, ConvVariant, CoopTile, Epilogue, MatmulLayout, MatmulOperands,
        MatmulShape, MatmulVariant, conv_variant, matmul, matmul_variant,
    },
};

const LAYOUTS: [MatmulLayout; 3] = [MatmulLayout::Forward, MatmulLayout::DataGradient, MatmulLayout::WeightGradient];

const PASSES: [ConvPass; 3] = [ConvPass::Forward, ConvPass::DataGradient, ConvPass::WeightGradient];

/// A product of few tiles with sums long enough to be taken in parts, the last one shorter.
const SPLIT: [usize; 3] = [70, 36, 1100];

/// Operands, as stored, with every tile that this adapter has for them; says so where it has none.
fn tiles(gpu: &Gpu, test: &str) -> Vec<(Element, CoopTile)> {
    let of = |element| CoopTile::available(gpu, element).into_iter().map(move |tile| (element, tile));
    let all: Vec<_> = [Element::Word, Element::Half].into_iter().flat_map(of).collect();
    if all.is_empty() {
        eprintln!("{test}: skipped, {} has no cooperative matrices that there are kernels for", gpu.adapter_name());
    } else {
        eprintln!("{test}: {} computes {all:?}", gpu.adapter_name());
    }
    all
}

/// C = A B with f32 results.
fn computed(
    gpu: &Gpu,
    (element, tile): (Element, CoopTile),
    layout: MatmulLayout,
    [m, n, k]: [usize; 3],
    [a, b]: [&[f32]; 2],
) -> Vec<f32> {
    let (a, b, c) = (guarded_as(gpu, a, element), guarded_as(gpu, b, element), poisoned(gpu, m * n));
    let shape = MatmulShape::new(m, n, k).unwrap();
    let variant = MatmulVariant::Coop(tile);
    let scratch = poisoned(gpu, variant.scratch_words(shape));
    let scratch = Some(&scratch.view);
    let operands = MatmulOperands { a: &a.view, b: &b.view, aux: None, c: &c.view, pre: None, scratch };
    run(gpu, &matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &operands).unwrap());
    c.read(gpu)
}

/// Whole numbers of which no sum rounds, whatever the order and however the hardware rounds: none may be off.
#[test]
fn sums_of_whole_numbers_are_exact() {
    let gpu = device();
    for of in tiles(gpu, "exact sums") {
        for [m, n, k] in [[1, 1, 1], [40, 24, 33], [129, 200, 70], [260, 136, 128], SPLIT] {
            let whole = |seed, count| -> Vec<f32> { samples(seed, count, 9.0).into_iter().map(f32::trunc).collect() };
            let (a, b) = (whole(1, m * k), whole(2, k * n));
            for layout in LAYOUTS {
                let (a_step, b_step) = match layout {
                    MatmulLayout::Forward => ([k, 1], [1, k]),
                    MatmulLayout::DataGradient => ([k, 1], [n, 1]),
                    MatmulLayout::WeightGradient => ([1, m], [n, 1]),
                };
                let sum = |i: usize, j: usize| -> f32 {
                    (0..k).map(|d| a[i * a_step[0] + d * a_step[1]] * b[d * b_step[0] + j * b_step[1]]).sum()
                };
                let expected: Vec<f32> = (0..m * n).map(|at| sum(at / n, at % n)).collect();
                let found = computed(gpu, of, layout, [m, n, k], [&a, &b]);
                let wrong = (0..m * n).filter(|at| found[*at] != expected[*at]).count();
                assert_eq!(wrong, 0, "{of:?} {layout:?} {m} x {n} x {k}: of {} elements", m * n);
            }
        }
    }
}

#[test]
fn checks_on_and_off_give_the_same_bits() {
    let (gpu, checked) = (device(), checked_device());
    for of in tiles(gpu, "checks on and off") {
        for [m, n, k] in [[17, 31, 13], [130, 65, 36], SPLIT] {
            let (a, b) = (samples(3, m * k, 1.0), samples(4, k * n, 1.0));
            for layout in LAYOUTS {
                let [off, on] = [gpu, checked].map(|gpu| computed(gpu, of, layout, [m, n, k], [&a, &b]));
                assert_eq!(bits(&off), bits(&on), "{of:?} {layout:?} {m} x {n} x {k}");
            }
        }
    }
}

#[test]
fn operands_of_another_type_are_refused() {
    let gpu = device();
    for (element, tile) in tiles(gpu, "other types") {
        let other = if element == Element::Half { Element::Word } else { Element::Half };
        let of = guarded_as(gpu, &[1.0; 64], other);
        let c = poisoned(gpu, 64);
        let operands = MatmulOperands { a: &of.view, b: &of.view, aux: None, c: &c.view, pre: None, scratch: None };
        let shape = MatmulShape::new(8, 8, 8).unwrap();
        let variant = MatmulVariant::Coop(tile);
        let found = matmul(gpu, variant, MatmulLayout::Forward, shape, Epilogue::Plain, false, &operands);
        assert!(matches!(found, Err(GpuError::Element { binding: "a", .. })), "{found:?}");
    }
}

/// What the device computes is what its adapter lists, and is chosen on a GPU only.
#[test]
fn only_listed_matrices_are_used_and_only_on_gpus() {
    let gpu = device();
    let listed = AdapterChoice::from_environment().find().unwrap().cooperative_matrices;
    for matrix in gpu.cooperative_matrices() {
        assert!(listed.contains(&matrix.to_string()), "{matrix} is not among {listed:?}");
        assert!(matrix.sums == Scalar::F32 && (gpu.has_f16() || matrix.operands != Scalar::F16), "{matrix}");
    }
    let shape = MatmulShape::new(1024, 1024, 1024).unwrap();
    let image = ConvShape::new(8, [16, 16, 64], 64, &ConvOptions::square(3).padding(1)).unwrap();
    for element in [Element::Word, Element::Half] {
        let expected = gpu.family() == Family::Gpu && !CoopTile::available(gpu, element).is_empty();
        assert_eq!(matches!(matmul_variant(gpu, element, shape), MatmulVariant::Coop(_)), expected, "{element:?}");
        for pass in PASSES {
            let variant = conv_variant(gpu, element, &image, pass);
            assert_eq!(matches!(variant, ConvVariant::Coop(_)), expected, "{element:?} {pass:?}");
        }
    }
}

/// A GPU that lists what NVIDIA's driver does.
fn tensor_cores() -> AdapterClass {
    AdapterClass::of_adapter(&AdapterSummary {
        index: 0,
        name: "a GPU".to_owned(),
        backend: "vulkan".to_owned(),
        kind: "discrete",
        driver: String::new(),
        max_buffer_bytes: 1 << 40,
        max_binding_bytes: 1 << 31,
        max_workgroups: 65535,
        workgroup_bytes: 48 << 10,
        workgroup_invocations: 1024,
        subgroup_sizes: [32, 32],
        features: vec!["subgroups", "f16", "cooperative-matrix"],
        cooperative_matrices: Vec::new(),
        usable_matrices: vec![CooperativeMatrix::square(16, Scalar::F16)],
    })
}

/// A layer of ResNet-18 at batch 128: its weight gradient has few tiles and long sums, which are taken in parts.
#[test]
fn tensor_cores_take_every_pass_and_split_the_weight_gradients() {
    let class = tensor_cores();
    for (side, channels) in [(32, 64), (16, 128), (8, 256), (4, 512)] {
        let shape = ConvShape::new(128, [side, side, channels], channels, &ConvOptions::square(3).padding(1)).unwrap();
        for pass in PASSES {
            let variant = class.conv_variant(Element::Half, &shape, pass);
            assert!(matches!(variant, ConvVariant::Coop(_)), "{shape}, {pass:?}: {variant:?}");
            assert!(
                !matches!(class.conv_variant(Element::Word, &shape, pass), ConvVariant::Coop(_)),
                "{shape}, {pass:?}"
            );
            let weights = 9 * channels * channels;
            let parts = variant.scratch_words(&shape, pass) / weights;
            let few_tiles = pass == ConvPass::WeightGradient && channels <= 256;
            assert_eq!(parts > 1, few_tiles, "{shape}, {pass:?}: {parts} parts");
        }
    }
}
