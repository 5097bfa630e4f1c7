//! Elementwise steps against f64, and grids past what one dimension holds.

use crate::common::{
    ROUNDOFF, assert_within, awkward, bits, device, guarded, poisoned,
    reference::{activate, derivative, saved},
    run, samples, wide,
};
use jostle::{
    gpu::{GpuError, Grid},
    kernels::{Activation, Elementwise, elementwise},
};

const COUNTS: [usize; 5] = [1, 3, 64, 257, 8191];

/// (left, right, expected, bound) of an operation over `count` elements.
fn case(operation: Elementwise, count: usize) -> (Vec<f32>, Vec<f32>, Vec<f64>, Vec<f64>) {
    let left = awkward(11, count, 2.0);
    let x = wide(&left);
    let arguments = samples(12, count, 4.0);
    let right: Vec<f32> = match operation {
        Elementwise::ActivationGradient(kind) => arguments.iter().map(|a| saved(kind, f64::from(*a))).collect(),
        _ => arguments.clone(),
    };
    let values: Vec<f64> = match operation {
        Elementwise::Activate(kind) => x.iter().map(|x| activate(kind, *x)).collect(),
        Elementwise::ActivationGradient(kind) => {
            x.iter().zip(&arguments).map(|(x, a)| x * derivative(kind, f64::from(*a))).collect()
        }
        Elementwise::Add => x.iter().zip(&right).map(|(x, r)| x + f64::from(*r)).collect(),
        Elementwise::Copy => x.clone(),
    };
    let bound = |x: &f64, value: &f64| match operation {
        // 4 ulp of 1, or of x for GELU, whose 1 + erf cancels; exact for ReLU, but its bound costs nothing to share
        Elementwise::Activate(Activation::Relu | Activation::Identity) | Elementwise::Copy => 0.0,
        Elementwise::Activate(_) => 8.0 * ROUNDOFF * x.abs().max(1.0),
        // what was saved is rounded (twice over in 1 - s^2), the function good to 4 ulp of 1 + |argument| <= 5
        Elementwise::ActivationGradient(_) => 40.0 * ROUNDOFF * x.abs(),
        Elementwise::Add => ROUNDOFF * value.abs(),
    };
    let bounds = x.iter().zip(&values).map(|(x, value)| bound(x, value)).collect();
    (left, right, values, bounds)
}

#[test]
fn operations_match_f64() {
    let gpu = device();
    let activations = Activation::ALL.map(|kind| [Elementwise::Activate(kind), Elementwise::ActivationGradient(kind)]);
    for operation in activations.into_iter().flatten().chain([Elementwise::Add, Elementwise::Copy]) {
        for count in COUNTS {
            let (left, right, mut values, mut bounds) = case(operation, count);
            for accumulate in [false, true] {
                let start = samples(13, count, 3.0);
                let output = if accumulate { guarded(gpu, &start) } else { poisoned(gpu, count) };
                if accumulate {
                    for i in 0..count {
                        values[i] += f64::from(start[i]);
                        bounds[i] += 2.0 * ROUNDOFF * values[i].abs(); // the addition's own rounding
                    }
                }
                let (left, right) = (guarded(gpu, &left), guarded(gpu, &right));
                let views = [&left.view, &right.view, &output.view];
                run(gpu, &[&elementwise(gpu, operation, views, accumulate).unwrap()]);
                let name = format!("{operation:?}, {count}, accumulate {accumulate}");
                assert_within(&name, &output.read(gpu), &values, &bounds);
            }
        }
    }
}

#[test]
fn relu_has_slope_0_at_0_as_in_pytorch() {
    let gpu = device();
    let (left, right, output) =
        (guarded(gpu, &[3.0; 3]), guarded(gpu, &[0.0, -0.0, f32::MIN_POSITIVE]), poisoned(gpu, 3));
    let operation = Elementwise::ActivationGradient(Activation::Relu);
    run(gpu, &[&elementwise(gpu, operation, [&left.view, &right.view, &output.view], false).unwrap()]);
    assert_eq!(output.read(gpu), [0.0, 0.0, 3.0]);
}

#[test]
fn saturated_activations_stay_finite() {
    let gpu = device();
    let x = [-1e30, -200.0, -88.0, 88.0, 200.0, 1e30_f32];
    for (kind, low, high) in [(Activation::Tanh, -1.0, 1.0), (Activation::Sigmoid, 0.0, 1.0)] {
        let (left, output) = (guarded(gpu, &x), poisoned(gpu, x.len()));
        run(
            gpu,
            &[&elementwise(gpu, Elementwise::Activate(kind), [&left.view, &left.view, &output.view], false).unwrap()],
        );
        for (x, y) in x.iter().zip(output.read(gpu)) {
            let expected = if *x < 0.0 { low } else { high };
            assert!((y - expected).abs() < 1e-37, "{kind} of {x} is {y}");
        }
    }
}

/// As in PyTorch: otherwise a diverged network hides behind its own activations.
#[test]
fn activations_of_nan_are_nan() {
    let gpu = device();
    for kind in Activation::ALL {
        let (left, output) = (guarded(gpu, &[1.0, f32::NAN, -1.0]), poisoned(gpu, 3));
        let views = [&left.view, &left.view, &output.view];
        run(gpu, &[&elementwise(gpu, Elementwise::Activate(kind), views, false).unwrap()]);
        let found = output.read(gpu);
        assert!(found[1].is_nan() && found[0].is_finite() && found[2].is_finite(), "{kind}: {found:?}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let gpu = device();
    let [short, long] = [7, 8].map(|count| poisoned(gpu, count));
    let add = |left, right| elementwise(gpu, Elementwise::Add, [left, right, &long.view], false);
    let wrong = |found: Result<_, GpuError>, name: &str| matches!(found, Err(GpuError::Length { argument, expected: 8, found: 7, .. }) if argument == name);
    assert!(wrong(add(&short.view, &long.view), "left"));
    assert!(wrong(add(&long.view, &short.view), "right"));
}

#[test]
fn grids_fold_past_one_dimension() {
    let fold = |count, size, limit| Grid::fold("test", count, size, limit).map(|Grid(grid)| grid);
    assert_eq!(fold(0, 64, 10).unwrap(), [1, 1, 1]);
    assert_eq!(fold(640, 64, 10).unwrap(), [10, 1, 1]);
    assert_eq!(fold(641, 64, 10).unwrap(), [6, 2, 1]);
    assert_eq!(fold(100, 1, 10).unwrap(), [10, 10, 1]);
    assert!(matches!(fold(101, 1, 10), Err(GpuError::Grid { groups: 101, limit: 100, .. })));
    for count in 1..400 {
        let [x, y, _] = fold(count, 3, 12).unwrap();
        let groups = count.div_ceil(3) as u32;
        assert!(x <= 12 && y <= 12 && x * y >= groups, "{count}: {x} x {y}");
        assert!(x * y - groups < y, "{count}: {} workgroups are spare", x * y - groups);
    }
}

#[test]
fn a_real_grid_past_one_dimension_reaches_every_element() {
    let gpu = device();
    let count = gpu.limits().workgroups as usize * 64 + 4097;
    assert!(gpu.grid_1d("test", count, 64).unwrap().0[1] > 1, "the grid has to be folded");
    if count as u64 * 4 > gpu.limits().binding_bytes {
        return; // an adapter that cannot bind so much cannot get there
    }
    let numbers: Vec<f32> = (0..count).map(|i| f32::from_bits(0x3F00_0000 + i as u32)).collect(); // all different
    let (left, output) = (guarded(gpu, &numbers), poisoned(gpu, count));
    run(gpu, &[&elementwise(gpu, Elementwise::Copy, [&left.view, &left.view, &output.view], false).unwrap()]);
    assert!(bits(&output.read(gpu)) == bits(&numbers));
}
