//! The tangent of an activation's derivative against f64.

use crate::common::{
    ROUNDOFF, assert_within, awkward, device, guarded, poisoned,
    reference::{curvature, derivative, saved},
    run, samples, wide,
};
use jostle::{
    gpu::GpuError,
    kernels::{Activation, activation_tangent},
};

const COUNTS: [usize; 5] = [1, 3, 64, 257, 8191];

#[test]
fn both_terms_match_f64() {
    let gpu = device();
    for (kind, count) in Activation::ALL.into_iter().flat_map(|kind| COUNTS.map(|count| (kind, count))) {
        let (left, left_tangent) = (awkward(21, count, 2.0), awkward(22, count, 3.0));
        let (arguments, saved_tangent, start) =
            (samples(23, count, 4.0), awkward(24, count, 0.5), samples(25, count, 3.0));
        let kept: Vec<f32> = arguments.iter().map(|x| saved(kind, f64::from(*x))).collect();
        let terms = |i: usize| {
            let [left, left_tangent, saved_tangent] = [left[i], left_tangent[i], saved_tangent[i]].map(f64::from);
            let first = left_tangent * derivative(kind, f64::from(arguments[i]));
            let second = left * saved_tangent * curvature(kind, f64::from(kept[i]));
            // what was saved is rounded, the functions are good to 4 ulp of 1 + |argument| <= 5
            (first + second, 40.0 * ROUNDOFF * (left_tangent.abs() + (left * saved_tangent).abs()))
        };
        for accumulate in [false, true] {
            let (mut values, mut bounds): (Vec<f64>, Vec<f64>) = (0..count).map(terms).unzip();
            if accumulate {
                for ((value, bound), start) in values.iter_mut().zip(&mut bounds).zip(wide(&start)) {
                    *bound += 2.0 * ROUNDOFF * (value.abs() + start.abs());
                    *value += start;
                }
            }
            let output = if accumulate { guarded(gpu, &start) } else { poisoned(gpu, count) };
            let inputs = [&left, &left_tangent, &kept, &saved_tangent].map(|values| guarded(gpu, values));
            let [left, left_tangent, kept, saved_tangent] = &inputs;
            let views = [&left.view, &left_tangent.view, &kept.view, &saved_tangent.view, &output.view];
            run(gpu, &[&activation_tangent(gpu, kind, views, accumulate).unwrap()]);
            assert_within(&format!("{kind}, {count}, accumulate {accumulate}"), &output.read(gpu), &values, &bounds);
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let gpu = device();
    let [short, long] = [7, 8].map(|count| poisoned(gpu, count));
    for (place, name) in ["left", "left_tangent", "saved", "saved_tangent"].into_iter().enumerate() {
        let mut views = [&long.view; 5];
        views[place] = &short.view;
        let found = activation_tangent(gpu, Activation::Gelu, views, false);
        let refused =
            matches!(found, Err(GpuError::Length { argument, expected: 8, found: 7, .. }) if argument == name);
        assert!(refused, "{name}");
    }
}
