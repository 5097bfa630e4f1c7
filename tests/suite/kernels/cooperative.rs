//! Cooperative matrices where the adapter lists them: exact sums, the same bits with checks on, and who may use them.
//! `kernels::matmul` and `kernels::conv` hold the same variants against f64 with every layout, pass and epilogue.

use super::conv::{Case, cases};
use crate::common::{bits, checked_device, device, guarded_as, listing, network, poisoned, run, samples};
use jostle::{
    gpu::{AdapterChoice, CooperativeMatrix, Dispatch, Element, Family, Faults, Gpu, GpuError, Scalar},
    graph::{PlanMode, Schedule, ValueShape},
    kernels::{
        AdapterClass, ConvOptions, ConvPass, ConvShape, ConvVariant, CoopTile, Epilogue, MatmulLayout, MatmulShape,
        MatmulVariant, ProductOperands, conv, conv_variant, matmul, matmul_variant, with_variants,
    },
    nn::{Model, Signature},
    ops::Loss,
    train::{Control, Precision, Prepared, RunConfig, Trainer, run as train},
};

const LAYOUTS: [MatmulLayout; 3] = [MatmulLayout::Forward, MatmulLayout::DataGradient, MatmulLayout::WeightGradient];

pub(super) const PASSES: [ConvPass; 3] = [ConvPass::Forward, ConvPass::DataGradient, ConvPass::WeightGradient];

/// A product of few tiles with sums long enough to be taken in parts, the last one shorter.
pub(super) const SPLIT: [usize; 3] = [70, 36, 1100];

/// Operands, as stored, with every tile that this adapter has for them; says so where it has none.
pub(super) fn tiles(gpu: &Gpu, test: &str) -> Vec<(Element, CoopTile)> {
    let _ = env_logger::try_init(); // RUST_LOG=jostle=debug shows every verdict
    let available = |element| CoopTile::available(gpu, element).into_iter().map(move |tile| (element, tile));
    let all: Vec<_> = [Element::Word, Element::Half].into_iter().flat_map(available).collect();
    if all.is_empty() {
        eprintln!("{test}: skipped, {} has no cooperative matrices that there are kernels for", gpu.adapter_name());
    } else {
        eprintln!("{test}: {} computes {all:?}", gpu.adapter_name());
    }
    all
}

/// Whether it is by cooperative matrices.
pub(super) fn by_matrices(variant: &ConvVariant) -> bool {
    matches!(variant, ConvVariant::Coop(_) | ConvVariant::CoopRow(_))
}

/// Whether it takes a row of taps at once.
pub(super) fn in_rows(variant: &ConvVariant) -> bool {
    matches!(variant, ConvVariant::CoopRow(_))
}

/// The variants that are wanted of those that this adapter has for a case, in every pass, against the definition.
pub(super) fn check_convolution(gpu: &Gpu, case: &Case, wanted: fn(&ConvVariant) -> bool) {
    for pass in PASSES {
        let available = ConvVariant::available(gpu, case.element, &case.shape(), pass);
        for variant in available.into_iter().filter(wanted) {
            case.check(gpu, variant, pass, Epilogue::Plain, false);
        }
    }
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
    let operands = ProductOperands { a: &a.view, b: &b.view, aux: None, c: &c.view, pre: None, scratch };
    run(gpu, &matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &operands).unwrap());
    c.read(gpu)
}

/// Whole numbers of which no sum rounds, whatever the order and however the hardware rounds: none may be off.
pub(super) fn assert_exact(gpu: &Gpu, test: &str, shapes: &[[usize; 3]]) {
    for operands in tiles(gpu, test) {
        for [m, n, k] in shapes.iter().copied() {
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
                let found = computed(gpu, operands, layout, [m, n, k], [&a, &b]);
                let wrong = (0..m * n).filter(|at| found[*at] != expected[*at]).count();
                assert_eq!(wrong, 0, "{operands:?} {layout:?} {m} x {n} x {k}: of {} elements", m * n);
            }
        }
    }
}

#[test]
fn sums_of_whole_numbers_are_exact() {
    // One; less than a tile, and more of each, odd; whole octets, with and without an end that is cut off; in parts.
    let shapes = [[1, 1, 1], [40, 24, 33], [129, 200, 70], [136, 72, 8], [264, 136, 128], [72, 200, 104], SPLIT];
    assert_exact(device(), "exact sums", &shapes);
}

/// A device with these faults.
fn faulty(faults: Faults) -> Gpu {
    Gpu::new(&AdapterChoice::from_environment()).unwrap().with_faults(faults)
}

/// Workgroups made for subgroups half as large and twice as large as they are: fewer subgroups than shares of a tile, and more.
#[test]
fn sums_are_exact_whatever_the_size_of_subgroups() {
    let Some(lanes) = device().fixed_subgroup_size() else {
        eprintln!("other sizes: skipped, {} has several of its own", device().adapter_name());
        return;
    };
    for expected in [lanes / 2, 2 * lanes, 4 * lanes] {
        let gpu = faulty(Faults { subgroup_sizes: Some([expected; 2]), ..Faults::default() });
        assert_exact(&gpu, "other sizes", &[[40, 24, 33], [129, 200, 70], SPLIT]);
        // Binding asks for a trial of the convolution, which has several tiles of its own.
        for (element, variant, pass) in coop_variants(&gpu) {
            coop_conv(&gpu, element, variant, pass).unwrap();
        }
    }
}

/// Channels of which a tile of terms has one tap, and octets line up: more taps and tiles than one, strides and dilations, phases
/// that no tap reaches; lines and images of less than a tile's pixels and of more, with an end that is cut off, and in parts.
#[test]
fn convolutions_by_whole_octets_agree_with_the_definition() {
    let gpu = device();
    let three = ConvOptions::square(3).padding(1);
    let uneven = ConvOptions { stride: [1, 2], dilation: [2, 1], ..three };
    let all = [
        Case::new(3, [5, 3, 64], 72, three),
        Case::new(2, [11, 9, 32], 64, three.stride(2)),
        Case::new(1, [37, 3, 40], 32, uneven),
        Case::new(5, [6, 7, 64], 96, ConvOptions::square(1).stride(2)),
        Case::new(3, [16, 17, 8], 16, three),
    ];
    tiles(gpu, "whole octets");
    all.into_iter().flat_map(|case| cases(gpu, case)).for_each(|case| check_convolution(gpu, &case, by_matrices));
}

/// Weight gradients of a row of taps at once: lines of one pixel, of less than a tile's cells, of as many with the one behind and of
/// more; images of one line; channels past a tile's side and short of it; cells in parts.
#[test]
fn rows_of_taps_agree_with_the_definition() {
    let gpu = device();
    let three = ConvOptions::square(3).padding(1);
    let all = [
        Case::new(5, [7, 1, 8], 16, three),
        Case::new(2, [1, 9, 16], 8, three),
        Case::new(2, [4, 31, 40], 72, three),
        Case::new(1, [3, 70, 72], 40, three),
        Case::new(9, [9, 8, 16], 24, three),
    ];
    tiles(gpu, "rows of taps");
    all.into_iter().flat_map(|case| cases(gpu, case)).for_each(|case| check_convolution(gpu, &case, in_rows));
}

/// What [`coop_conv`] can be computed with, and how its operands are stored.
fn coop_variants(gpu: &Gpu) -> Vec<(Element, ConvVariant, ConvPass)> {
    let mut all = Vec::new();
    for element in [Element::Word, Element::Half] {
        for pass in PASSES {
            let available = ConvVariant::available(gpu, element, &coop_shape(), pass);
            all.extend(available.into_iter().filter(by_matrices).map(|variant| (element, variant, pass)));
        }
    }
    all
}

fn coop_shape() -> ConvShape {
    ConvShape::new(1, [5, 5, 8], 8, &ConvOptions::square(3).padding(1)).unwrap()
}

/// A small convolution bound with cooperative matrices.
fn coop_conv(gpu: &Gpu, element: Element, variant: ConvVariant, pass: ConvPass) -> Result<Vec<Dispatch>, GpuError> {
    let shape = coop_shape();
    let buffer = |count| guarded_as(gpu, &vec![0.0; count], element);
    let (image, weight) = (buffer(200), buffer(shape.packed_words()));
    let (a, b, c) = match pass {
        ConvPass::Forward | ConvPass::DataGradient => (&image, &weight, buffer(200)),
        ConvPass::WeightGradient => (&image, &image, buffer(shape.weight_words())),
    };
    let operands = ProductOperands { a: &a.view, b: &b.view, aux: None, c: &c.view, pre: None, scratch: None };
    conv(gpu, variant, pass, &shape, Epilogue::Plain, false, &operands)
}

/// The sums twice over, as a driver was known to make them; of other kernels nothing.
fn twice(wgsl: &str) -> String {
    let calls = ["coop_multiply(share, &sums);", "multiply_row(share, &sums);"];
    let own = calls.iter().find(|call| wgsl.contains(**call));
    assert_eq!(wgsl.contains("enable wgpu_cooperative_matrix;"), own.is_some());
    own.map_or_else(|| wgsl.to_owned(), |call| wgsl.replace(call, &format!("{call} {call}")))
}

#[test]
fn wrong_sums_are_refused() {
    let gpu = faulty(Faults { misread: Some(twice), ..Faults::default() });
    let refused = |found: Result<Vec<Dispatch>, GpuError>| {
        let Err(error @ GpuError::Refused { .. }) = found else { panic!("not refused: {found:?}") };
        let message = error.to_string();
        assert!(message.contains(gpu.adapter_name()) && message.contains("are wrong, the first at"), "{message}");
    };
    for (element, tile) in tiles(&gpu, "wrong sums") {
        let (operand, c) = (guarded_as(&gpu, &[1.0; 64], element), poisoned(&gpu, 64));
        let operands =
            ProductOperands { a: &operand.view, b: &operand.view, aux: None, c: &c.view, pre: None, scratch: None };
        let shape = MatmulShape::new(8, 8, 8).unwrap();
        for layout in LAYOUTS {
            let variant = MatmulVariant::Coop(tile);
            refused(matmul(&gpu, variant, layout, shape, Epilogue::Plain, false, &operands));
        }
    }
    for (element, variant, pass) in coop_variants(&gpu) {
        refused(coop_conv(&gpu, element, variant, pass));
    }
}

/// The kernel that a product takes, and the test's loss after a short run, on a device with these faults.
fn trained(faults: Faults, precision: Precision) -> (String, f64) {
    let gpu = faulty(faults);
    let element = if precision == Precision::F16 { Element::Half } else { Element::Word };
    let (operand, c) = (guarded_as(&gpu, &[1.0; 256], element), poisoned(&gpu, 256));
    let product = with_variants(&gpu, |class| {
        let operands =
            ProductOperands { a: &operand.view, b: &operand.view, aux: None, c: &c.view, pre: None, scratch: None };
        let shape = MatmulShape::new(16, 16, 16).unwrap();
        let variant = class.matmul_variant(element, shape);
        matmul(&gpu, variant, MatmulLayout::Forward, shape, Epilogue::Plain, false, &operands)
    });
    // Sums long enough to be cut into parts, which weight gradients put off.
    let (model, batch) = ("mlp:64-64-10".to_owned(), 512);
    let config = RunConfig { model, batch, steps: Some(30), precision, ..RunConfig::default() };
    let prepared = Prepared::load(&config).unwrap();
    let mut trainer = Trainer::new(&gpu, &config, &prepared).unwrap();
    let result = train(&mut trainer, &config, None, &mut |_| Ok(Control::Continue)).unwrap();
    (product.unwrap()[0].kernel_name().to_owned(), result.epochs.last().unwrap().scores.test_loss.unwrap())
}

/// A network of convolutions of 16 channels and more, whose weight gradients go by a row of taps and put off the sums of their parts.
/// What f16 rounds on the way through 20 layers comes to a tenth of a tensor's gradient at most; a tap that is left out, to a third.
#[test]
fn gradients_of_a_network_are_those_without_matrices() {
    let gpu = |matrices| faulty(Faults { family: Some(Family::Gpu), matrices, ..Faults::default() });
    let by_all = gpu(None);
    let shape = ConvShape::new(64, [8, 8, 16], 16, &ConvOptions::square(3).padding(1)).unwrap();
    if !in_rows(&conv_variant(&by_all, Element::Half, &shape, ConvPass::WeightGradient)) {
        eprintln!("a network: skipped, {} has no cooperative matrices with f16 operands", by_all.adapter_name());
        return;
    }
    let input = ValueShape::Image { channels: 3, height: 8, width: 8 };
    let model = Model::build("resnet20:16", &Signature { input, classes: 10 }).unwrap();
    let gradients = |gpu: &Gpu| {
        let schedule = Schedule::stored(&model.graph, 64, PlanMode::Train, Loss::Nll, Element::Half).unwrap();
        let schedule = schedule.with_deferred_sums(AdapterClass::for_device(gpu)).unwrap();
        network::gradients(gpu, &model.graph, &schedule, 8, 1)
    };
    let [with, without] = [gradients(&by_all), gradients(&gpu(Some(Vec::new())))];
    let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    for (span, param) in model.graph.layout().spans().iter().zip(model.graph.params()) {
        let [with, without] = [&with, &without].map(|all| &all[span.start..][..span.len]);
        let apart: Vec<f32> = with.iter().zip(without).map(|(a, b)| a - b).collect();
        let relative = norm(&apart) / norm(without);
        assert!(relative < 0.2, "{}: {relative}", param.name);
    }
}

/// On a device that passes for a GPU: with matrices that compute wrong, or that it claims and has no compiler for, it trains to
/// the very bits that it does without any.
#[test]
fn training_takes_ordinary_kernels_where_matrices_are_refused() {
    let faults = |matrices, misread| Faults { family: Some(Family::Gpu), matrices, misread, ..Faults::default() };
    let listed = device().cooperative_matrices();
    let precision =
        if listed.iter().any(|matrix| matrix.operands == Scalar::F16) { Precision::F16 } else { Precision::F32 };
    let ordinary = trained(faults(Some(Vec::new()), None), precision);
    assert_eq!(ordinary.0, "matmul_block");
    if listed.is_empty() {
        let claimed = vec![CooperativeMatrix::square(8, Scalar::F32)];
        assert_eq!(trained(faults(Some(claimed), None), precision), ordinary);
        return;
    }
    assert_eq!(trained(faults(None, Some(twice)), precision), ordinary);
    let (kernel, loss) = trained(faults(None, None), precision);
    assert_eq!(kernel, "matmul_coop");
    assert!((loss - ordinary.1).abs() < 0.05 * ordinary.1, "{loss}, without matrices {}", ordinary.1);
}

#[test]
fn checks_on_and_off_give_the_same_bits() {
    let (gpu, checked) = (device(), checked_device());
    for operands in tiles(gpu, "checks on and off") {
        for [m, n, k] in [[17, 31, 13], [130, 65, 36], SPLIT] {
            let (a, b) = (samples(3, m * k, 1.0), samples(4, k * n, 1.0));
            for layout in LAYOUTS {
                let [off, on] = [gpu, checked].map(|gpu| computed(gpu, operands, layout, [m, n, k], [&a, &b]));
                assert_eq!(bits(&off), bits(&on), "{operands:?} {layout:?} {m} x {n} x {k}");
            }
        }
    }
}

#[test]
fn operands_of_another_type_are_refused() {
    let gpu = device();
    for (element, tile) in tiles(gpu, "other types") {
        let other = if element == Element::Half { Element::Word } else { Element::Half };
        let operand = guarded_as(gpu, &[1.0; 64], other);
        let c = poisoned(gpu, 64);
        let operands =
            ProductOperands { a: &operand.view, b: &operand.view, aux: None, c: &c.view, pre: None, scratch: None };
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
            assert_eq!(by_matrices(&variant), expected, "{element:?} {pass:?}");
        }
    }
}

/// What Apple's GPUs list, whose subgroups Metal does not tell, and RDNA's, whose driver chooses.
#[test]
fn matrices_are_taken_where_the_driver_chooses_the_size_of_subgroups() {
    let shape = MatmulShape::new(1024, 1024, 1024).unwrap();
    for (sizes, side) in [([4, 64], 8), ([32, 64], 16), ([32, 32], 16), ([8, 8], 8)] {
        let class = listing(sizes, CooperativeMatrix::square(side, Scalar::F16));
        let variant = class.matmul_variant(Element::Half, shape);
        assert!(matches!(variant, MatmulVariant::Coop(_)), "{sizes:?}: {variant:?}");
        let ordinary = class.without_matrices().matmul_variant(Element::Half, shape);
        assert_eq!(ordinary, class.matmul_variant(Element::Word, shape));
    }
}

/// A layer of ResNet-18 at batch 128: its weight gradient has few tiles and long sums, which are taken in parts.
#[test]
fn tensor_cores_take_every_pass_and_split_the_weight_gradients() {
    let class = listing([32; 2], CooperativeMatrix::square(16, Scalar::F16)); // as NVIDIA's driver lists
    for (side, channels) in [(32, 64), (16, 128), (8, 256), (4, 512)] {
        let shape = ConvShape::new(128, [side, side, channels], channels, &ConvOptions::square(3).padding(1)).unwrap();
        for pass in PASSES {
            let variant = class.conv_variant(Element::Half, &shape, pass);
            let is_weight = pass == ConvPass::WeightGradient;
            assert_eq!(in_rows(&variant), is_weight, "{shape}, {pass:?}: {variant:?}");
            assert!(by_matrices(&variant), "{shape}, {pass:?}: {variant:?}");
            assert!(!by_matrices(&class.conv_variant(Element::Word, &shape, pass)), "{shape}, {pass:?}");
            let weights = 9 * channels * channels;
            let parts = variant.scratch_words(class, &shape, pass) / weights;
            assert_eq!(parts > 1, is_weight, "{shape}, {pass:?}: {parts} parts");
        }
    }
}

/// Where layers of ResNet-18 halve the image, the data gradient of 1 x 1 has no taps for three phases of four, which leaves few
/// large tiles with anything to do: on an H200 they took 0.022 ms for 0.014 of the small ones.
#[test]
fn tiles_of_phases_without_taps_are_not_counted() {
    let class = listing([32; 2], CooperativeMatrix::square(16, Scalar::F16));
    let shape = |options: ConvOptions| ConvShape::new(128, [8, 8, 256], 512, &options.stride(2)).unwrap();
    let (one, three) = (shape(ConvOptions::square(1)), shape(ConvOptions::square(3).padding(1)));
    let small = class.conv_variant(Element::Half, &one, ConvPass::WeightGradient);
    assert_eq!(class.conv_variant(Element::Half, &one, ConvPass::DataGradient), small);
    assert_ne!(class.conv_variant(Element::Half, &three, ConvPass::DataGradient), small);
}

#[test]
fn products_narrower_than_a_matrix_take_ordinary_kernels() {
    let class = listing([32; 2], CooperativeMatrix::square(16, Scalar::F16));
    for [m, n, k] in [[128, 10, 512], [10, 512, 128], [128, 512, 10]] {
        let shape = MatmulShape::new(m, n, k).unwrap();
        let variant = class.matmul_variant(Element::Half, shape);
        assert_eq!(variant, class.without_matrices().matmul_variant(Element::Half, shape));
    }
}
