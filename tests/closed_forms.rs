//! The smoothed losses of the three simple models against averages over the noise by brute force.
//!
//! The losses are polynomials, so the average over Gaussian noise is that over the points of a quadrature: three points a
//! weight are exact to degree 5, as u * u - v * v needs; two (plus and minus one) to degree 3, as products u v need.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{samples, wide};
use jostle::experiments::convex::{LeastSquares, singular_values};
use nalgebra::{DMatrix, DVector};

const SIGMA: f64 = 0.3;

/// Nodes and weights for a standard normal (Gauss-Hermite).
const TWO: &[(f64, f64)] = &[(-1.0, 0.5), (1.0, 0.5)];
const THREE: &[(f64, f64)] =
    &[(-1.732_050_807_568_877_2, 1.0 / 6.0), (0.0, 2.0 / 3.0), (1.732_050_807_568_877_2, 1.0 / 6.0)];

/// E f(w + e) with each e_i of standard deviation `sigma[i]`.
fn average(w: &[f64], sigma: &[f64], rule: &[(f64, f64)], f: &dyn Fn(&[f64]) -> f64) -> f64 {
    let mut noisy = w.to_vec();
    sum_from(0, w, sigma, rule, &mut noisy, f)
}

fn sum_from(
    i: usize,
    w: &[f64],
    sigma: &[f64],
    rule: &[(f64, f64)],
    noisy: &mut Vec<f64>,
    f: &dyn Fn(&[f64]) -> f64,
) -> f64 {
    if i == w.len() {
        return f(noisy);
    }
    let nodes = if sigma[i] == 0.0 { &[(0.0, 1.0)][..] } else { rule };
    nodes
        .iter()
        .map(|(node, weight)| {
            noisy[i] = w[i] + sigma[i] * node;
            weight * sum_from(i + 1, w, sigma, rule, noisy, f)
        })
        .sum()
}

/// The least of f over positive scales, by golden section in the logarithm.
fn least_over_scales(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-4.0_f64, 4.0_f64);
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..80 {
        let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
        if f(a.exp()) < f(b.exp()) { high = b } else { low = a }
    }
    f(low.exp())
}

fn problem(d: usize) -> LeastSquares {
    let x = DMatrix::from_vec(4, d, wide(&samples(1, 4 * d, 1.0)));
    LeastSquares::new(&x, &DVector::from_vec(wide(&samples(2, 4, 1.0)))).unwrap()
}

/// R(theta) + 2 sigma^2 sum H_ii |theta_i| with noise on both factors; half of the penalty for `all`, whose sigma is
/// divided by sqrt(2), and for the mean over the steps of `layer`, which perturbs u and v in turn.
#[test]
fn the_diagonal_model_gives_the_weighted_lasso() {
    let problem = problem(2);
    let loss = |w: &[f64]| problem.value(&DVector::from_fn(2, |i, _| w[i] * w[i] - w[2 + i] * w[2 + i]));
    let smoothed = |theta: &[f64], surplus: f64, sigma: &[f64]| {
        let part = |sign: f64| theta.iter().map(move |t| ((sign * t).max(0.0) + surplus).sqrt());
        average(&part(1.0).chain(part(-1.0)).collect::<Vec<_>>(), sigma, THREE, &loss)
    };
    let (model, all) = ([SIGMA; 4], [SIGMA / 2.0_f64.sqrt(); 4]);
    let (on_u, on_v) = ([SIGMA, SIGMA, 0.0, 0.0], [0.0, 0.0, SIGMA, SIGMA]);
    let layer = |theta: &[f64], surplus: f64| (smoothed(theta, surplus, &on_u) + smoothed(theta, surplus, &on_v)) / 2.0;
    let excess = |theta: &[f64], value: f64| value - problem.value(&DVector::from_column_slice(theta));
    for theta in [[0.7_f64, -1.2], [-0.1, 0.4], [0.0, 2.0]] {
        let penalty: f64 = (0..2).map(|i| SIGMA * SIGMA * problem.hessian[(i, i)] * theta[i].abs()).sum();
        let of = |f: &dyn Fn(&[f64]) -> f64| excess(&theta, f(&theta)) - excess(&[0.0; 2], f(&[0.0; 2]));
        assert!((of(&|t| smoothed(t, 0.0, &model)) - 2.0 * penalty).abs() < 1e-12, "model");
        assert!((of(&|t| smoothed(t, 0.0, &all)) - penalty).abs() < 1e-12, "all");
        // Noise on u alone has mean sigma^2 in u * u, that on v the opposite: the loss bends, the mean does not shift.
        assert!((of(&|t| layer(t, 0.0)) - penalty).abs() < 1e-12, "layer");
        assert!(
            smoothed(&theta, 0.1, &model) > smoothed(&theta, 0.0, &model),
            "the least factorisation has no surplus"
        );
        assert!(layer(&theta, 0.1) > layer(&theta, 0.0));
    }
}

/// R(theta) + sigma^2 sum h_g sqrt(d_g) |theta_g|, for orthonormal groups.
#[test]
fn the_group_model_gives_the_group_lasso() {
    // One group of three, H = h I.
    let h = 0.8;
    let target = DVector::from_vec(vec![0.3, -0.5, 0.9]);
    let problem = LeastSquares { hessian: DMatrix::identity(3, 3) * h, linear: &target * h, constant: 0.1 };
    let loss = |w: &[f64]| problem.value(&(DVector::from_column_slice(&w[1..]) * w[0]));
    let smoothed = |theta: &DVector<f64>, u: f64| {
        let w: Vec<f64> = std::iter::once(u).chain(theta.iter().map(|t| t / u)).collect();
        average(&w, &[SIGMA; 4], TWO, &loss)
    };
    let of = |theta: &DVector<f64>| least_over_scales(|u| smoothed(theta, u)) - problem.value(theta);
    let [small, large] = [0.4, 1.7].map(|size| DVector::from_vec(vec![0.2, 0.6, -0.3]).normalize() * size);
    let expected = SIGMA * SIGMA * h * 3.0_f64.sqrt() * (1.7 - 0.4);
    assert!((of(&large) - of(&small) - expected).abs() < 1e-9, "{} for {expected}", of(&large) - of(&small));
}

/// R(Theta) + h sigma^2 sqrt(p q) |Theta|_* + (h/2) p q m sigma^4.
#[test]
fn the_two_layer_model_gives_the_nuclear_norm() {
    let (p, q, m, h) = (2, 3, 2, 0.7);
    let y = DMatrix::from_vec(p, q, wide(&samples(3, p * q, 1.0)));
    let value = |theta: &DMatrix<f64>| 0.5 * h * (&y - theta).norm_squared();
    let loss = |w: &[f64]| {
        let (u, v) = w.split_at(p * m);
        value(&(DMatrix::from_column_slice(p, m, u) * DMatrix::from_column_slice(q, m, v).transpose()))
    };
    let theta = DMatrix::from_vec(p, q, wide(&samples(4, p * q, 1.0)));
    let svd = theta.clone().svd(true, true);
    let root = DMatrix::from_diagonal(&svd.singular_values.map(f64::sqrt));
    let (u, v) = (svd.u.unwrap() * &root, svd.v_t.unwrap().transpose() * &root);
    let smoothed = |scale: f64| {
        let w: Vec<f64> = (&u * scale).iter().chain((&v / scale).iter()).copied().collect();
        average(&w, &vec![SIGMA; w.len()], TWO, &loss)
    };
    let nuclear: f64 = singular_values(&theta).iter().sum();
    let size = (p * q) as f64;
    let expected =
        value(&theta) + h * SIGMA * SIGMA * size.sqrt() * nuclear + 0.5 * h * size * m as f64 * SIGMA.powi(4);
    let found = least_over_scales(smoothed);
    assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
}
