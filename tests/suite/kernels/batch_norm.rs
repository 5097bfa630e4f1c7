//! Batch norm with residual sum and activation: the device against f64, the f64 gradients against central differences.

use crate::common::{
    ROUNDOFF, assert_close,
    batch_norm::{Accumulate, Case, EPS, MOMENTUM},
    bits, device, elements, hash, poisoned,
    reference::activate,
    samples, wide,
};
use jostle::{
    gpu::{Element, GpuError},
    kernels::{Activation, AdapterClass, CoopMatrices, Lanes, Target},
    ops::{
        BatchNormAdds, BatchNormDispatches, BatchNormLaunches, BatchNormShape, BatchNormVariant, BatchNormViews, Undone,
    },
};

const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Tanh, Activation::Sigmoid];

#[test]
fn random_batches_agree_with_f64() {
    for seed in 0..16u64 {
        let draw = |i: u64, below: u64| (hash(seed, i) % below) as usize;
        let batch = 2 + draw(0, 5);
        // rows of features, images of odd sizes
        let pixels = [1, 1 + draw(1, 15)][seed as usize % 2];
        let valid = if seed % 3 == 0 { batch } else { 1 + draw(2, batch as u64) };
        let mut case = Case::new([batch, pixels, 1 + draw(3, 10)], valid);
        if seed % 4 >= 2 {
            case = case.with_residual();
        }
        case.activation = ACTIVATIONS[draw(4, 4)];
        let adds = |bit: u32| hash(seed, 5) >> bit & 1 == 1;
        case.accumulate = Accumulate { x: adds(0), residual: adds(1), params: adds(2) };
        let name = format!("{}, {valid} valid, {}, {:?}", case.shape, case.activation, case.accumulate);
        case.check_reference(&name);
        case.check(&name);
    }
}

#[test]
fn every_fused_activation_with_a_residual() {
    for activation in ACTIVATIONS {
        let case = Case { activation, ..Case::new([3, 5 * 7, 6], 3).with_residual() };
        case.check_reference(activation.name());
        case.check(activation.name());
    }
}

/// ReLU's derivative is then not that of the normalised input alone.
#[test]
fn a_residual_that_needs_no_gradient_counts_all_the_same() {
    let case = Case { activation: Activation::Relu, ..Case::new([3, 5 * 7, 6], 2).with_residual() };
    let case = Case { residual_gradient: false, ..case };
    case.check_reference("residual without a gradient");
    case.check("residual without a gradient");
}

/// x + batch norm(x): both gradients lie in one place.
#[test]
fn the_residual_may_be_the_input() {
    let case = Case { activation: Activation::Relu, ..Case::new([5, 11 * 13, 21], 4).with_residual() };
    let one_place = Case { gradients_share: true, ..case.clone() };
    for variant in BatchNormVariant::ALL {
        let apart = case.run(device(), variant, false);
        let sums: Vec<f32> = apart.grad_x.iter().zip(&apart.grad_residual).map(|(x, residual)| x + residual).collect();
        assert_eq!(bits(&one_place.run(device(), variant, false).grad_x), bits(&sums), "{variant:?}");
    }
}

/// Shapes that lie across what the variants cut by: quads of 4 channels, 4 or 16 of them side by side, 2 and more rows an
/// invocation, chunks of these.
#[test]
fn rows_and_channels_are_cut_anywhere() {
    for (shape, valid) in [
        // one row; a prime number of them; a last chunk that is short; chunks that hold no valid row
        ([1, 1, 1], 1),
        ([1, 1009, 2], 1),
        ([4, 13 * 17, 3], 4),
        ([9, 11 * 11, 5], 2),
        ([71, 1, 70], 67),
        // quads that are no power of two, one more and one less than there are lanes, and many
        ([3, 7 * 7, 21], 3),
        ([2, 6 * 6, 63], 2),
        ([5, 9, 65], 4),
        ([3, 31, 130], 3),
    ] {
        let case = Case { activation: Activation::Relu, ..Case::new(shape, valid).with_residual() };
        case.check(&format!("{}, {valid} valid", case.shape));
    }
}

#[test]
fn f16_is_read_and_written_and_summed_in_f32() {
    for element in elements(device()).filter(|element| *element == Element::Half) {
        for (shape, valid) in [([5, 7 * 7, 19], 4), ([2, 3, 70], 2), ([97, 1, 6], 97)] {
            let case = Case { activation: Activation::Relu, ..Case::new(shape, valid).with_residual() };
            let case = Case { accumulate: Accumulate { x: true, residual: false, params: true }, ..case };
            case.stored_as(element).check(&format!("{shape:?} in f16"));
        }
    }
}

#[test]
fn the_same_bits_twice() {
    let case = Case { activation: Activation::Tanh, ..Case::new([7, 13 * 13, 37], 6).with_residual() };
    for variant in BatchNormVariant::ALL {
        let results = || bits(&case.run(device(), variant, false).values());
        assert_eq!(results(), results(), "{variant:?}");
    }
}

/// So many rows that invocations have all that they may and there are more chunks than workgroups were aimed at. Sums of ones
/// are exact below 2^24, and no chunk can go missing from a ramp without a trace.
#[test]
fn no_row_is_left_out_of_millions() {
    let (rows, valid) = (4_000_037, 3_999_971);
    let mut case = Case::new([rows, 1, 1], valid);
    for (i, x) in case.x.iter_mut().take(valid).enumerate() {
        *x = i as f32 / valid as f32;
    }
    case.upstream[..valid].fill(1.0);
    case.running = [vec![0.0], vec![0.0]];
    for variant in BatchNormVariant::ALL {
        assert!(case.shape.geometry(variant).chunks > 64, "{variant:?} takes few chunks");
        let found = case.run(device(), variant, false);
        assert_eq!(found.grad_bias, [valid as f32], "{variant:?}");
        let [mean, var] = found.running.map(|statistic| statistic[0] / MOMENTUM);
        // A chunk of a few thousand rows is 1e-3 of them.
        assert_close("moments of a ramp", &[mean, var], &[0.5, 1.0 / 12.0], 1e-5, 0.0);
    }
}

/// Means of 1e4 with a deviation of 1, where E[x^2] - E[x]^2 has no digit right.
#[test]
fn large_means_cancel_nothing() {
    let mut case = Case::new([6, 5 * 5, 5], 6);
    let spread = 3f32.sqrt(); // uniform in +-sqrt(3): deviation 1
    case.x = samples(8, case.x.len(), spread).iter().map(|x| 1e4 + x).collect();
    let all = case.check("large means");
    let [x, _, weight, bias] = case.inputs();
    // Near 1e4 numbers are 1e-3 apart; the mean is off by some of that, as is y.
    let expected = case.norm().forward(&x, &weight, &bias);
    let channel: Vec<f32> = case.x.iter().step_by(case.shape.channels).copied().collect();
    let mean = |values: &mut dyn Iterator<Item = f32>| values.sum::<f32>() / channel.len() as f32;
    let naive = mean(&mut channel.iter().map(|x| x * x)) - mean(&mut channel.iter().copied()).powi(2);
    let truth = case.norm().moments(&x)[0].var as f32;
    for found in all {
        assert_close("y", &found.y, &expected, 0.02, 0.0);
        let one_pass = (found.running[1][0] - (1.0 - MOMENTUM) * case.running[1][0]) / MOMENTUM;
        assert!((one_pass - truth).abs() < 0.05, "{one_pass} of {truth}");
    }
    assert!((naive - truth).abs() > 0.5, "{naive} of {truth}: the data do not show the difference");
}

/// torch.nn.BatchNorm1d(1)(torch.tensor([[1.], [2.], [3.], [6.]])) in training: var 3.5 biased, 14/3 unbiased.
#[test]
fn variances_are_biased_in_the_output_and_unbiased_in_the_running_one() {
    let mut case = Case::new([4, 1, 1], 4);
    (case.x, case.weight, case.bias) = (vec![1.0, 2.0, 3.0, 6.0], vec![1.0], vec![0.0]);
    case.running = [vec![0.0], vec![1.0]];
    let y = [-1.069_043_4, -0.534_521_7, 0.0, 1.603_565_1];
    for variant in BatchNormVariant::ALL {
        let found = case.run(device(), variant, false);
        assert_close("y", &found.y, &y, 1e-6, 0.0);
        assert_close("running mean", &found.running[0], &[0.3], 1e-7, 0.0);
        assert_close("running variance", &found.running[1], &[0.9 + 0.1 * 14.0 / 3.0], 1e-6, 0.0);
    }
}

#[test]
fn evaluation_goes_by_the_running_statistics_and_leaves_them() {
    for activation in Activation::ALL {
        let case = Case { activation, ..Case::new([3, 6, 7], 3).with_residual() };
        let [found, other] = BatchNormVariant::ALL.map(|variant| case.run(device(), variant, true));
        for found in [&found, &other] {
            assert_eq!(found.running, case.running);
        }
        assert_eq!(bits(&found.y), bits(&other.y), "{activation}: with a table and without");
        let [x, residual, weight, bias] = case.inputs();
        let [mean, var] = case.running.each_ref().map(|running| wide(running));
        let value = |i: usize| {
            let c = i % case.shape.channels;
            (x[i] - mean[c]) / (var[c] + f64::from(EPS)).sqrt() * weight[c] + bias[c] + residual[i]
        };
        let expected: Vec<f64> = (0..x.len()).map(|i| activate(activation, value(i))).collect();
        // a dozen roundings of values up to 8
        assert_close(activation.name(), &found.y, &expected, 12.0 * ROUNDOFF * 8.0, 0.0);
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let gpu = device();
    let shape = BatchNormShape { batch: 2, pixels: 3, channels: 5 };
    let plan = |shape: BatchNormShape, channels: usize, words: usize| {
        let [x, y] = [(); 2].map(|()| poisoned(gpu, words));
        let params = poisoned(gpu, channels);
        let table = poisoned(gpu, shape.table_words().max(1));
        let views = BatchNormViews {
            x: &x.view,
            residual: None,
            weight: &params.view,
            bias: &params.view,
            running_mean: &params.view,
            running_var: &params.view,
            partials: None,
            table: &table.view,
            y: &y.view,
        };
        BatchNormDispatches::new(gpu, BatchNormVariant::Tree, shape, &views, Activation::Identity, EPS).map(|_| ())
    };
    assert!(plan(shape, 5, shape.words()).is_ok());
    let unpadded = plan(shape, 5, 2 * 3 * 5);
    assert!(matches!(unpadded, Err(GpuError::Length { argument: "x", expected: 48, found: 30, .. })), "{unpadded:?}");
    assert!(matches!(plan(shape, 8, shape.words()), Err(GpuError::Length { argument: "weight", .. })));
    assert!(matches!(plan(BatchNormShape { pixels: 0, ..shape }, 5, 1), Err(GpuError::Shape { .. })));
}

/// Every batch norm of ResNet-18 on CIFAR-10 at batch 128: its pixels and channels.
const RESNET_18: [[usize; 2]; 4] = [[32 * 32, 64], [16 * 16, 128], [8 * 8, 256], [4 * 4, 512]];

#[test]
fn large_gpus_are_filled_and_no_invocation_goes_far() {
    for [pixels, channels] in RESNET_18 {
        let shape = BatchNormShape { batch: 128, pixels, channels };
        let variant = BatchNormVariant::Tree;
        let (target, relu) = (&Target::GENERIC, Activation::Relu);
        let adds = BatchNormAdds { input: false, residual: None, params: false };
        let forward = shape.forward_launches(target, variant, true, relu, false).unwrap();
        let backward = shape.gradient_launches(target, variant, Undone::new(relu, false), adds).unwrap();
        let launches = [forward, backward].map(BatchNormLaunches::into_vec).concat();
        assert_eq!(launches.len(), 4, "{shape}: none for a finish alone");
        for launch in launches {
            assert!(launch.threads <= 256 && launch.chain <= 64, "{shape}: {launch:?}");
            assert!(launch.workgroups() >= 264, "{shape}: {launch:?}");
        }
    }
}

#[test]
fn every_row_and_quad_is_in_one_workgroup() {
    for seed in 0..200u64 {
        let draw = |i: u64, below: u64| 1 + (hash(seed, i) % below) as usize;
        let shape = BatchNormShape { batch: draw(0, 300), pixels: draw(1, 2000), channels: draw(2, 2100) };
        let (rows, quads) = (shape.batch * shape.pixels, shape.channels.div_ceil(4));
        let [tree, chunks] = BatchNormVariant::ALL.map(|variant| shape.geometry(variant));
        for geometry in [tree, chunks, shape.sweep_geometry()] {
            let covers = |parts: usize, each: usize, all: usize| parts * each >= all && (parts - 1) * each < all;
            assert!(covers(geometry.chunks, geometry.rows_per_chunk(), rows), "{shape}: {geometry:?}");
            assert!(covers(geometry.column_tiles, geometry.quad_lanes, quads), "{shape}: {geometry:?}");
            assert!(
                [geometry.quad_lanes, geometry.row_lanes].iter().all(|lanes| lanes.is_power_of_two()),
                "{shape}: {geometry:?}"
            );
        }
        let sweep = shape.sweep_geometry();
        assert!(sweep.chunks == 1 || 8 * sweep.chunks * tree.chunks <= rows, "{shape}: {tree:?} by {sweep:?}");
        for geometry in [tree, chunks] {
            assert!(shape.partial_words() >= geometry.chunks * 2 * 4 * quads, "{shape}: {geometry:?}");
        }
    }
}

#[test]
fn only_software_adapters_take_chunks_and_finishes() {
    let shape = BatchNormShape { batch: 3, pixels: 50, channels: 9 };
    let adds = BatchNormAdds { input: false, residual: Some(true), params: false };
    for (class, variant, kernels) in [
        (AdapterClass::Software(Lanes::Eight), BatchNormVariant::Chunks, [3, 2, 3]),
        (AdapterClass::Gpu(CoopMatrices::default()), BatchNormVariant::Tree, [2, 1, 2]),
    ] {
        assert_eq!(BatchNormVariant::for_class(class), variant);
        let target = &Target::with_class(device(), class);
        let forward = |by_batch| shape.forward_launches(target, variant, by_batch, Activation::Tanh, true).unwrap();
        let backward = shape.gradient_launches(target, variant, Undone::new(Activation::Tanh, true), adds).unwrap();
        let launches = [forward(true), forward(false), backward].map(|launches| launches.into_vec().len());
        assert_eq!(launches, kernels, "{class:?}: training, evaluation, backward");
    }
}
