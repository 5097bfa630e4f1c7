//! Sums: over the batch, over all weights, over each filter, over a batch's metrics.

use crate::common::{
    ROUNDOFF, assert_within, assert_within_f64, awkward, bits, classes, depth, device, guarded, poisoned, run, samples,
    sanitize, target, wide,
};
use jostle::{
    gpu::{Element, Faults, Gpu, GpuError, Limits},
    kernels::{
        AdapterClass, Arena, ArenaLayout, FilterNorms, GradientFactor, Lanes, MetricsSum, Norms, PARTIALS, Target,
        column_sum, column_sum_launches, column_sum_scratch_words,
    },
};

/// A sum whose terms go through `depth` additions at most is off by at most as many roundoffs of the sum of magnitudes
/// (Higham, 4.2).
fn sum_bound(depth: usize, magnitudes: f64) -> f64 {
    (depth + 1) as f64 * ROUNDOFF * magnitudes
}

/// Holds the sums of a matrix' first columns against f64, by the depth that the geometry claims.
fn check_column_sums(class: AdapterClass, [rows, columns, stride]: [usize; 3], input: &[f32], accumulate: bool) {
    let gpu = device();
    let start = samples(22, columns, 1.0);
    let output = if accumulate { guarded(gpu, &start) } else { poisoned(gpu, columns) };
    let mut expected: Vec<f64> = if accumulate { wide(&start) } else { vec![0.0; columns] };
    let mut magnitudes: Vec<f64> = expected.iter().map(|x| x.abs()).collect();
    for row in input.chunks_exact(stride) {
        for (c, value) in row[..columns].iter().enumerate() {
            expected[c] += f64::from(*value);
            magnitudes[c] += f64::from(value.abs());
        }
    }
    let shape = [rows, columns, stride];
    let depth = depth(&column_sum_launches(&target(class), shape, accumulate, Element::Word).unwrap());
    let bounds: Vec<f64> = magnitudes.iter().map(|m| sum_bound(depth, *m)).collect();
    let (input, scratch) = (guarded(gpu, input), poisoned(gpu, column_sum_scratch_words(class, shape)));
    run(gpu, &column_sum(gpu, class, [&input.view, &output.view, &scratch.view], shape, accumulate).unwrap());
    scratch.read(gpu); // its guards
    let name = format!("{rows} x {columns} of {stride} {class:?}, accumulate {accumulate}");
    assert_within(&name, &output.read(gpu), &expected, &bounds);
}

#[test]
fn column_sums_match_f64() {
    let shapes = [
        [1, 1, 1],
        [1, 33, 33],
        [7, 3, 4],
        [128, 10, 10],
        [129, 32, 32],
        [500, 257, 257],
        [1021, 1, 1],
        [1025, 9, 12],
        [1037, 40, 40],
        [4099, 67, 68],
        [70_001, 3, 4],
    ];
    for shape in shapes {
        let [rows, columns, stride] = shape;
        let mut input = awkward(21, rows * stride, 1.0);
        // What lies beside the columns must not count.
        input.iter_mut().enumerate().filter(|(i, _)| i % stride >= columns).for_each(|(_, x)| *x = f32::NAN);
        for (class, accumulate) in classes().into_iter().flat_map(|class| [(class, false), (class, true)]) {
            check_column_sums(class, shape, &input, accumulate);
        }
    }
}

/// Roundings of equal terms do not average out: one after the other 2^20 of them lose a hundredth of the sum; and llvmpipe leaves
/// out all past the 65,535th round of an invocation's loops.
#[test]
fn long_sums_are_as_exact_as_their_depth() {
    let rows = (1 << 20) + 1;
    for class in classes() {
        check_column_sums(class, [rows, 1, 1], &vec![0.1; rows], false);
    }
}

#[test]
fn no_invocation_sums_alone() {
    let gpu = &Target::GENERIC;
    let sums = column_sum_launches(gpu, [131_072, 64, 64], false, Element::Word).unwrap();
    assert!(sums.iter().all(|launch| launch.chain <= 64) && sums[0].workgroups() >= 264, "{sums:?}");
    for shape in [[128, 10, 10], [1024, 1000, 1000], [128, 5000, 5000]] {
        let sums = column_sum_launches(gpu, shape, false, Element::Word).unwrap();
        assert!(sums.len() == 1 && sums[0].chain <= 64, "{sums:?}");
    }
    let layout = ArenaLayout::new([&[512, 4608][..], &[512], &[5000, 784], &[64, 1, 3, 3]]);
    let norms = FilterNorms::launches(gpu, &layout).unwrap();
    assert!(norms.len() == 1 && norms[0].chain <= 64 && norms[0].workgroups() >= 264, "{norms:?}");
    let norms = Norms::launch(gpu, 11_200_000).unwrap();
    assert!(norms.chain <= 64 && norms.workgroups() >= 264, "{norms:?}");
    assert!(GradientFactor::launch(gpu.class, PARTIALS).chain <= 64);
    assert!(MetricsSum::launch(128).chain <= 8 && MetricsSum::launch(10_000).chain <= 64);
}

#[test]
fn column_sums_refuse_wrong_lengths() {
    let gpu = device();
    let [a, b, long] = [6, 2, 2000].map(|count| poisoned(gpu, count));
    let plan = |views, shape| column_sum(gpu, AdapterClass::Software(Lanes::Eight), views, shape, false);
    let wrong_input = plan([&a.view, &b.view, &b.view], [4, 2, 2]);
    assert!(matches!(wrong_input, Err(GpuError::Length { argument: "input", expected: 8, found: 6, .. })));
    let wrong_output = plan([&a.view, &b.view, &b.view], [2, 3, 3]);
    assert!(matches!(wrong_output, Err(GpuError::Length { argument: "output", expected: 3, found: 2, .. })));
    let one = poisoned(gpu, 1);
    let wrong_scratch = plan([&long.view, &one.view, &b.view], [2000, 1, 1]);
    assert!(matches!(wrong_scratch, Err(GpuError::Length { argument: "scratch", expected: 44, found: 2, .. })));
}

#[test]
fn norms_match_f64() {
    let gpu = device();
    // one block; less, as much and more than one vec4 a partial; no multiple of the partials; more than one for each lane
    for blocks in [1, 3, 255, PARTIALS / 16, PARTIALS / 16 + 1, 700, 17_000] {
        let values = awkward(23, blocks * 64, 1.0);
        let arena = gpu.upload("arena", &values).unwrap();
        let l1: f64 = values.iter().map(|x| f64::from(x.abs())).sum();
        let l2 = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        for class in classes() {
            let found = Norms::new(gpu, class, &arena).unwrap().read(gpu).unwrap();
            // The depth of a partial sum in f32, and 4 for the components; squares round once more, and the root halves
            // the relative error.
            let depth = Norms::launch(&target(class), arena.len()).unwrap().chain + 4;
            let bounds = [sum_bound(depth, l1), sum_bound(depth + 1, l2)];
            assert_within_f64(&format!("norms of {blocks} blocks {class:?}"), &[found.0, found.1], &[l1, l2], &bounds);
        }
    }
}

#[test]
fn norms_follow_the_weights() {
    let gpu = device();
    let arena = gpu.upload("arena", &[0.0_f32; 64]).unwrap();
    for class in classes() {
        gpu.write(&arena.view(), &[0.0_f32; 2]).unwrap();
        let norms = Norms::new(gpu, class, &arena).unwrap();
        assert_eq!(norms.read(gpu).unwrap(), (0.0, 0.0));
        gpu.write(&arena.view(), &[3.0_f32, -4.0]).unwrap();
        assert_eq!(norms.read(gpu).unwrap(), (7.0, 5.0));
    }
}

#[test]
fn filter_norms_match_f64() {
    let shapes: [&[usize]; 7] = [&[1, 1], &[7, 3], &[65], &[130, 17], &[1], &[3, 2, 5, 5], &[5, 1021]];
    let values = |tensor: usize, len: usize| awkward(24 + tensor as u64, len, 0.5);
    classes().into_iter().for_each(|class| check_filter_norms(class, &shapes, values));
}

/// As for column sums; what lies in a tensor is summed by the same number of invocations whatever its length.
#[test]
fn norms_of_long_filters_are_as_exact_as_their_depth() {
    for class in classes() {
        check_filter_norms(class, &[&[(1 << 20) + 1], &[2, 257]], |_, len| vec![0.1; len]);
    }
}

fn check_filter_norms(class: AdapterClass, shapes: &[&[usize]], values: impl Fn(usize, usize) -> Vec<f32>) {
    let gpu = device();
    let layout = ArenaLayout::new(shapes.iter().copied());
    let arena = Arena::new(gpu, layout.clone(), &vec![1.0; shapes.len()]).unwrap();
    // NaN in the padding shows if it is read.
    gpu.write(&arena.weights.view(), &vec![f32::NAN; layout.words()]).unwrap();
    let tensors: Vec<Vec<f32>> = layout.spans().iter().enumerate().map(|(i, span)| values(i, span.len)).collect();
    for (tensor, values) in tensors.iter().enumerate() {
        gpu.write(&arena.tensor(&arena.weights, tensor).unwrap(), values).unwrap();
    }
    let norms = FilterNorms::new(gpu, class, &arena).unwrap();
    gpu.write(&norms.norms.view(), &vec![f32::NAN; norms.norms.len()]).unwrap();
    let mut recorder = gpu.record();
    norms.record(&mut recorder);
    recorder.submit().unwrap();
    let found: Vec<f32> = gpu.read(&norms.norms.view()).unwrap();
    let places: Vec<[u32; 4]> = gpu.read(&norms.by_tensor.view()).unwrap();
    let launches = FilterNorms::launches(&target(class), &layout).unwrap();
    let [launch] = &launches[..] else { panic!("one dispatch") };
    for (tensor, values) in tensors.iter().enumerate() {
        let filters = if shapes[tensor].len() > 1 { shapes[tensor][0] } else { 1 };
        let len = values.len() / filters;
        assert_eq!(places[tensor][1] as usize, len);
        let norm = |filter: &[f32]| filter.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let expected: Vec<f64> = values.chunks_exact(len).map(norm).collect();
        // half of the sum's relative error, one for the square, and WGSL's sqrt is good to 2.5 ulp at the least
        let bounds: Vec<f64> = expected.iter().map(|e| sum_bound(launch.chain.div_ceil(2) + 1 + 5, *e)).collect();
        let first = places[tensor][0] as usize;
        let name = format!("filters of tensor {tensor} {class:?}");
        assert_within(&name, &found[first..first + filters], &expected, &bounds);
    }
}

/// Norms of all filters in the order of the tensors, on a device.
fn filter_norms(gpu: &Gpu, class: AdapterClass, shapes: &[&[usize]]) -> Vec<f32> {
    let arena = Arena::new(gpu, ArenaLayout::new(shapes.iter().copied()), &vec![1.0; shapes.len()]).unwrap();
    gpu.write(&arena.weights.view(), &samples(27, arena.layout.words(), 0.5)).unwrap();
    let norms = FilterNorms::new(gpu, class, &arena).unwrap();
    let mut recorder = gpu.record();
    norms.record(&mut recorder);
    recorder.submit().unwrap();
    let found: Vec<f32> = gpu.read(&norms.norms.view()).unwrap();
    let places: Vec<[u32; 4]> = gpu.read(&norms.by_tensor.view()).unwrap();
    let of_tensor = |(place, shape): (&[u32; 4], &&[usize])| found[place[0] as usize..][..shape[0]].to_vec();
    places.iter().zip(shapes).flat_map(of_tensor).collect()
}

#[test]
fn filters_of_tensors_past_a_binding_have_the_same_norms() {
    // The second and third tensors are past 4000 words, with other filters before, between and after.
    let shapes: [&[usize]; 5] = [&[7, 3], &[200, 31], &[129, 32], &[65, 17], &[30, 2, 3]];
    let limits = Limits { binding_bytes: 4 * 4000, ..device().limits() };
    let narrow = device().again().with_faults(Faults { limits: Some(limits), ..sanitize::faults() });
    for class in classes() {
        let (found, expected) = (filter_norms(&narrow, class, &shapes), filter_norms(device(), class, &shapes));
        assert_eq!(bits(&found), bits(&expected), "{class:?}");
    }
}

#[test]
fn metrics_sum_into_their_slot_alone() {
    let gpu = device();
    for batch in [1, 2, 63, 64, 65, 128, 1000, 4097] {
        let losses = samples(25, batch, 3.0);
        let stats: Vec<f32> = losses.iter().enumerate().flat_map(|(i, x)| [*x, (i % 3 == 0) as u8 as f32]).collect();
        let (rows, metrics) = (guarded(gpu, &stats), poisoned(gpu, 10));
        let sum = MetricsSum::new(gpu, &rows.view, &metrics.view, batch).unwrap();
        let mut recorder = gpu.record();
        sum.record(&mut recorder, 3, false);
        recorder.submit().unwrap();
        let found = metrics.read(gpu);
        assert!(found.iter().enumerate().all(|(i, x)| x.is_nan() != (i == 6 || i == 7)), "batch {batch}: {found:?}");
        let loss: f64 = wide(&losses).iter().sum();
        let magnitude: f64 = losses.iter().map(|x| f64::from(x.abs())).sum();
        let expected = [loss, batch.div_ceil(3) as f64];
        assert_within(
            &format!("batch {batch}"),
            &found[6..8],
            &expected,
            &[sum_bound(MetricsSum::launch(batch).chain, magnitude), 0.0],
        );
    }
    let wrong = MetricsSum::new(gpu, &poisoned(gpu, 7).view, &poisoned(gpu, 2).view, 4);
    assert!(matches!(wrong, Err(GpuError::Length { argument: "row_stats", expected: 8, found: 7, .. })));
}
