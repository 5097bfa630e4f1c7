//! Sums: over the batch, over all weights, over each filter, over a batch's metrics.

use crate::common::{
    ROUNDOFF, assert_within, assert_within_f64, awkward, device, guarded, poisoned, run, samples, wide,
};
use jostle::{
    gpu::GpuError,
    kernels::{Arena, ArenaLayout, FilterNorms, MetricsSum, Norms, PARTIALS, column_sum},
};

/// A sum of n rounded terms in any order is off by at most n roundoffs of the sum of magnitudes (Higham, 4.2).
fn sum_bound(terms: usize, magnitudes: f64) -> f64 {
    (terms + 1) as f64 * ROUNDOFF * magnitudes
}

#[test]
fn column_sums_match_f64() {
    let gpu = device();
    for [rows, columns] in [[1, 1], [1, 33], [7, 3], [128, 10], [129, 32], [500, 257], [1021, 1]] {
        let input = awkward(21, rows * columns, 1.0);
        for accumulate in [false, true] {
            let start = samples(22, columns, 1.0);
            let output = if accumulate { guarded(gpu, &start) } else { poisoned(gpu, columns) };
            let mut expected: Vec<f64> = if accumulate { wide(&start) } else { vec![0.0; columns] };
            let mut magnitudes: Vec<f64> = expected.iter().map(|x| x.abs()).collect();
            for (i, value) in input.iter().enumerate() {
                expected[i % columns] += f64::from(*value);
                magnitudes[i % columns] += f64::from(value.abs());
            }
            let bounds: Vec<f64> = magnitudes.iter().map(|m| sum_bound(rows, *m)).collect();
            let input = guarded(gpu, &input);
            run(gpu, &[&column_sum(gpu, &input.view, &output.view, [rows, columns, columns], accumulate).unwrap()]);
            let name = format!("{rows} x {columns}, accumulate {accumulate}");
            assert_within(&name, &output.read(gpu), &expected, &bounds);
        }
    }
}

#[test]
fn column_sums_refuse_wrong_lengths() {
    let gpu = device();
    let [a, b] = [6, 2].map(|count| poisoned(gpu, count));
    let wrong_input = column_sum(gpu, &a.view, &b.view, [4, 2, 2], false);
    assert!(matches!(wrong_input, Err(GpuError::Length { argument: "input", expected: 8, found: 6, .. })));
    let wrong_output = column_sum(gpu, &a.view, &b.view, [2, 3, 3], false);
    assert!(matches!(wrong_output, Err(GpuError::Length { argument: "output", expected: 3, found: 2, .. })));
}

#[test]
fn norms_match_f64() {
    let gpu = device();
    // one block; less, as much and more than one vec4 a partial; no multiple of the partials
    for blocks in [1, 3, 255, PARTIALS / 16, PARTIALS / 16 + 1, 700] {
        let values = awkward(23, blocks * 64, 1.0);
        let arena = gpu.upload("arena", &values).unwrap();
        let l1: f64 = values.iter().map(|x| f64::from(x.abs())).sum();
        let l2 = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let found = Norms::new(gpu, &arena).unwrap().read(gpu).unwrap();
        // Each partial is a sum of at most that many terms in f32, and 4 for the components; squares round once more,
        // and the root halves the relative error.
        let terms = blocks * 16 / PARTIALS + 1 + 4;
        let bounds = [sum_bound(terms, l1), sum_bound(terms + 1, l2)];
        assert_within_f64(&format!("norms of {blocks} blocks"), &[found.0, found.1], &[l1, l2], &bounds);
    }
}

#[test]
fn norms_follow_the_weights() {
    let gpu = device();
    let arena = gpu.upload("arena", &[0.0_f32; 64]).unwrap();
    let norms = Norms::new(gpu, &arena).unwrap();
    assert_eq!(norms.read(gpu).unwrap(), (0.0, 0.0));
    gpu.write(&arena.view(), &[3.0_f32, -4.0]).unwrap();
    assert_eq!(norms.read(gpu).unwrap(), (7.0, 5.0));
}

#[test]
fn filter_norms_match_f64() {
    let gpu = device();
    let shapes: [&[usize]; 6] = [&[1, 1], &[7, 3], &[65], &[130, 17], &[1], &[3, 2, 5, 5]];
    let layout = ArenaLayout::new(shapes);
    let arena = Arena::new(gpu, layout.clone(), &[1.0; 6]).unwrap();
    // NaN in the padding shows if it is read.
    gpu.write(&arena.weights.view(), &vec![f32::NAN; layout.words()]).unwrap();
    let tensors: Vec<Vec<f32>> =
        layout.spans().iter().enumerate().map(|(i, span)| awkward(24 + i as u64, span.len, 0.5)).collect();
    for (tensor, values) in tensors.iter().enumerate() {
        gpu.write(&arena.tensor(&arena.weights, tensor).unwrap(), values).unwrap();
    }
    let norms = FilterNorms::new(gpu, &arena).unwrap();
    gpu.write(&norms.norms.view(), &vec![f32::NAN; norms.norms.len()]).unwrap();
    let mut recorder = gpu.record();
    norms.record(&mut recorder);
    recorder.submit().unwrap();
    let found: Vec<f32> = gpu.read(&norms.norms.view()).unwrap();
    let places: Vec<[u32; 4]> = gpu.read(&norms.by_tensor.view()).unwrap();
    for (tensor, values) in tensors.iter().enumerate() {
        let filters = if shapes[tensor].len() > 1 { shapes[tensor][0] } else { 1 };
        let len = values.len() / filters;
        assert_eq!(places[tensor][1] as usize, len);
        let norm = |filter: &[f32]| filter.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let expected: Vec<f64> = values.chunks_exact(len).map(norm).collect();
        // half of the sum's relative error, one for the square, and WGSL's sqrt is good to 2.5 ulp at the least
        let bounds: Vec<f64> = expected.iter().map(|e| sum_bound(len.div_ceil(2) + 1 + 5, *e)).collect();
        let first = places[tensor][0] as usize;
        assert_within(&format!("filters of tensor {tensor}"), &found[first..first + filters], &expected, &bounds);
    }
}

#[test]
fn metrics_sum_into_their_slot_alone() {
    let gpu = device();
    for batch in [1, 2, 63, 64, 65, 128, 1000] {
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
        assert_within(&format!("batch {batch}"), &found[6..8], &expected, &[sum_bound(batch, magnitude), 0.0]);
    }
    let wrong = MetricsSum::new(gpu, &poisoned(gpu, 7).view, &poisoned(gpu, 2).view, 4);
    assert!(matches!(wrong, Err(GpuError::Length { argument: "row_stats", expected: 8, found: 7, .. })));
}
