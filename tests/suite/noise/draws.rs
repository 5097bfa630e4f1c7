//! The noise as numbers: moments, and independence of steps, seeds, tensors and neighbouring elements.

use crate::common::{
    device,
    network::{get, perturb},
    reference::erf,
    wide,
};
use jostle::{
    kernels::{AdapterClass, Arena, ArenaLayout, NoiseUnit, Perturb},
    noise::{Distribution, StepNoise},
};

const COUNT: usize = 1 << 20;

/// Draws of unit noise, as the perturbation adds them to zeros: per (seed, step) the tensors of `counts`.
fn draw(distribution: Distribution, counts: &[usize], at: &[(u64, u32)]) -> Vec<Vec<Vec<f64>>> {
    let gpu = device();
    let shapes: Vec<[usize; 1]> = counts.iter().map(|count| [*count]).collect();
    let layout = ArenaLayout::new(shapes.iter().map(<[usize; 1]>::as_slice));
    let all: Vec<usize> = (0..counts.len()).collect();
    let arena = Arena::new(gpu, layout, &vec![1.0; counts.len()]).unwrap();
    let kernel =
        Perturb::new(gpu, AdapterClass::for_device(gpu), &arena, distribution.code(), NoiseUnit::Absolute).unwrap();
    let tensors = |(seed, step): &(u64, u32)| {
        perturb(gpu, &kernel, &StepNoise::on_tensors(&arena.layout, &all, *seed, u64::from(*step), 1.0));
        get(gpu, &arena, &arena.weights_eff).iter().map(|tensor| wide(tensor)).collect()
    };
    at.iter().map(tensors).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// E x^4, and the variances of x^2, x^3 and x^4, for unit variance.
struct Moments {
    fourth: f64,
    variance_of_square: f64,
    variance_of_cube: f64,
    variance_of_fourth: f64,
}

fn moments(distribution: Distribution) -> Moments {
    // E x^2, x^4, x^6, x^8; odd ones are 0
    let [second, fourth, sixth, eighth] = match distribution {
        Distribution::Gaussian => [1.0, 3.0, 15.0, 105.0],
        Distribution::Rademacher => [1.0; 4],
        Distribution::Uniform => [1.0, 9.0 / 5.0, 27.0 / 7.0, 81.0 / 9.0], // 3^k / (2k + 1)
    };
    Moments {
        fourth,
        variance_of_square: fourth - second * second,
        variance_of_cube: sixth,
        variance_of_fourth: eighth - fourth * fourth,
    }
}

/// The mean of n independent terms of variance v lies within 5 sqrt(v/n) of its expectation but for 6e-7; the rest is
/// for f32: each draw is within 1e-6 of itself, and the Gaussian ends at 5.8.
fn assert_mean(name: &str, found: f64, expected: f64, variance: f64, count: usize) {
    let bound = 5.0 * (variance / count as f64).sqrt() + 1e-5;
    assert!((found - expected).abs() <= bound, "{name}: {found}, expected {expected} within {bound}");
}

#[test]
fn mean_variance_skewness_and_kurtosis() {
    for distribution in [Distribution::Gaussian, Distribution::Rademacher, Distribution::Uniform] {
        let x = &draw(distribution, &[COUNT], &[(3, 5)])[0][0];
        let moments = moments(distribution);
        let name = distribution.name();
        assert_mean(&format!("{name} mean"), mean(x.iter().copied()), 0.0, 1.0, COUNT);
        let square = mean(x.iter().map(|x| x * x));
        assert_mean(&format!("{name} variance"), square, 1.0, moments.variance_of_square, COUNT);
        let cube = mean(x.iter().map(|x| x.powi(3)));
        assert_mean(&format!("{name} skewness"), cube, 0.0, moments.variance_of_cube, COUNT);
        let fourth = mean(x.iter().map(|x| x.powi(4)));
        assert_mean(&format!("{name} kurtosis"), fourth, moments.fourth, moments.variance_of_fourth, COUNT);
    }
}

/// Share of draws beyond each threshold: moments alone do not see the shape.
#[test]
fn the_gaussian_has_the_tails_of_a_gaussian() {
    let x = &draw(Distribution::Gaussian, &[COUNT], &[(4, 6)])[0][0];
    for threshold in [-3.5, -2.0, -1.0, -0.3, 0.0, 0.5, 1.5, 3.0, 4.0] {
        let expected = 0.5 * (1.0 - erf(threshold / std::f64::consts::SQRT_2));
        let found = mean(x.iter().map(|x| f64::from(u8::from(*x > threshold))));
        assert_mean(&format!("above {threshold}"), found, expected, expected * (1.0 - expected), COUNT);
    }
}

/// Correlation of the values, and of their squares: Box-Muller pairs share a radius, which only squares would show.
fn assert_independent(name: &str, distribution: Distribution, a: &[f64], b: &[f64]) {
    let n = a.len().min(b.len());
    let pairs = || a.iter().zip(b).take(n);
    let products: f64 = pairs().map(|(x, y)| x * y).sum::<f64>() / n as f64;
    // a product of independent variables of variance 1 has variance 1
    assert_mean(&format!("{name}: correlation"), products, 0.0, 1.0, n);
    let variance = moments(distribution).variance_of_square;
    let squares = pairs().map(|(x, y)| (x * x - 1.0) * (y * y - 1.0)).sum::<f64>() / n as f64;
    assert_mean(&format!("{name}: correlation of squares"), squares, 0.0, variance * variance, n);
}

const ALL: [Distribution; 3] = [Distribution::Gaussian, Distribution::Rademacher, Distribution::Uniform];

#[test]
fn neighbouring_elements_are_independent() {
    for distribution in ALL {
        let x = &draw(distribution, &[COUNT], &[(5, 7)])[0][0];
        // within a vec4, from one to the next, from block to block, and far
        for lag in [1, 2, 3, 4, 5, 7, 8, 64, 256, 4096] {
            assert_independent(&format!("{distribution}, lag {lag}"), distribution, x, &x[lag..]);
        }
        // each pair of lanes by itself: all four come from one counter
        for (i, j) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let lane = |lane: usize| -> Vec<f64> { x.iter().skip(lane).step_by(4).copied().collect() };
            assert_independent(&format!("{distribution}, lanes {i} {j}"), distribution, &lane(i), &lane(j));
        }
    }
}

#[test]
fn steps_and_seeds_are_independent() {
    for distribution in ALL {
        let at = [(6, 8), (6, 9), (6, 10), (7, 8), (6 + (1 << 32), 8)];
        let x = draw(distribution, &[COUNT / 4], &at);
        for i in 0..at.len() {
            for j in 0..i {
                let name = format!("{distribution}, (seed, step) {:?} and {:?}", at[i], at[j]);
                assert_independent(&name, distribution, &x[i][0], &x[j][0]);
                assert!(x[i][0].iter().zip(&x[j][0]).take(64).any(|(a, b)| a != b), "{name}: alike");
            }
        }
    }
}

#[test]
fn groups_are_independent() {
    for distribution in ALL {
        // sizes that leave padding, so that equal elements of two tensors do not lie at equal places of a block
        let x = &draw(distribution, &[COUNT / 4 + 3, COUNT / 4 + 1, COUNT / 4], &[(8, 11)])[0];
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            let name = format!("{distribution}, tensors {i} and {j}");
            assert_independent(&name, distribution, &x[i], &x[j]);
            // the next element's noise must not be the other tensor's either
            assert_independent(&format!("{name}, shifted"), distribution, &x[i][4..], &x[j]);
        }
    }
}

#[test]
fn noise_is_pure_in_seed_step_tensor_and_element() {
    let small = draw(Distribution::Gaussian, &[100, 300], &[(9, 12)]);
    let large = draw(Distribution::Gaussian, &[5000, 300], &[(9, 11), (9, 12)]);
    assert_eq!(small[0][0], large[1][0][..100], "a tensor's size changes nothing");
    assert_eq!(small[0][1], large[1][1], "nor do where it lies and what was drawn before");
}
