//! The smoothed losses of the three simple models against averages over the noise by brute force.
//!
//! The losses are polynomials, so the average over Gaussian noise is that over the points of a quadrature: three points a
//! weight are exact to degree 5, as u * u - v * v needs; two (plus and minus one) to degree 3, as products u v need.

use crate::common::{samples, wide};
use jostle::{
    experiments::{
        convex::{LeastSquares, singular_values},
        simple::{NOISY, SimpleModel, penalty_share},
    },
    noise::Mode,
};
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

/// The least of f over positive scales, by golden section in the logarithm: 45 steps come to 4e-9 of it, where f, which is
/// flat there, is off by a square of that.
fn least_over_scales(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-4.0_f64, 4.0_f64);
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..45 {
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
        let surplus = |f: &dyn Fn(&[f64]) -> f64| excess(&theta, f(&theta)) - excess(&[0.0; 2], f(&[0.0; 2]));
        assert!((surplus(&|t| smoothed(t, 0.0, &model)) - 2.0 * penalty).abs() < 1e-12, "model");
        assert!((surplus(&|t| smoothed(t, 0.0, &all)) - penalty).abs() < 1e-12, "all");
        // Noise on u alone has mean sigma^2 in u * u, that on v the opposite: the loss bends, the mean does not shift.
        assert!((surplus(&|t| layer(t, 0.0)) - penalty).abs() < 1e-12, "layer");
        assert!(
            smoothed(&theta, 0.1, &model) > smoothed(&theta, 0.0, &model),
            "the least factorisation has no surplus"
        );
        assert!(layer(&theta, 0.1) > layer(&theta, 0.0));
    }
}

/// The average over the noise at fixed factors, per mode: all weights noisy, all with sigma / sqrt(2), or the mean over
/// the steps that perturb u (the first `split` parameters) and v in turn.
fn smoothed(mode: Mode, w: &[f64], split: usize, loss: &dyn Fn(&[f64]) -> f64) -> f64 {
    let all = |sigma: f64| average(w, &vec![sigma; w.len()], TWO, loss);
    let only = |u: bool| {
        let sigma: Vec<f64> = (0..w.len()).map(|i| if (i < split) == u { SIGMA } else { 0.0 }).collect();
        average(w, &sigma, TWO, loss)
    };
    match mode {
        Mode::None => loss(w),
        Mode::Model => all(SIGMA),
        Mode::All => all(SIGMA / 2.0_f64.sqrt()),
        Mode::Layer => (only(true) + only(false)) / 2.0,
    }
}

/// sigma^2 sum_g sqrt(tr H_gg) |H_gg^(1/2) theta_g| whatever H, and sigma^2 sum_g h_g sqrt(d_g) |theta_g| where H_gg = h_g I;
/// half of it in modes `all` and `layer`.
#[test]
fn the_group_model_gives_the_group_lasso() {
    let groups = vec![0..2, 2..3];
    let model = SimpleModel::Group { groups: groups.clone() };
    let orthonormal = DMatrix::from_diagonal(&DVector::from_vec(vec![0.8, 0.8, 1.3]));
    for hessian in [orthonormal, problem(3).hessian] {
        let problem = LeastSquares { hessian, ..problem(3) };
        let loss = |w: &[f64]| {
            let theta = groups.iter().enumerate().flat_map(|(g, group)| group.clone().map(move |i| w[g] * w[2 + i]));
            problem.value(&DVector::from_iterator(3, theta))
        };
        let penalty = model.penalty(&problem, SIGMA * SIGMA);
        for mode in NOISY {
            // Scales of each group in turn: the penalties of groups add up.
            let least = |theta: &[f64; 3]| {
                let at = |a: f64, b: f64| {
                    smoothed(mode, &[a, b, theta[0] / a, theta[1] / a, theta[2] / b], 2, &loss)
                        - problem.value(&DVector::from_column_slice(theta))
                };
                least_over_scales(|a| least_over_scales(|b| at(a, b)))
            };
            let (small, large) = ([0.3, -0.2, 0.4], [1.1, 0.7, -0.9]);
            let value = |theta: &[f64; 3]| penalty_share(mode) * penalty.value(&DVector::from_column_slice(theta));
            let (found, expected) = (least(&large) - least(&small), value(&large) - value(&small));
            assert!((found - expected).abs() < 1e-9, "{mode}: {found} for {expected}");
        }
        if problem.hessian[(0, 1)] == 0.0 {
            let plain = SIGMA * SIGMA * (0.8 * 2.0_f64.sqrt() * 5.0 + 1.3 * 2.0);
            let found = penalty.value(&DVector::from_vec(vec![3.0, 4.0, -2.0]));
            assert!((found - plain).abs() < 1e-12, "{found} for {plain}");
        }
    }
}

/// sigma^2 |Q^(1/2) Theta P^(1/2)|_* whatever H; h sigma^2 sqrt(p q) |Theta|_* and the constant (h/2) p q m sigma^4 where
/// H = h I; half of the norm in modes `all` and `layer`.
#[test]
fn the_two_layer_model_gives_the_nuclear_norm() {
    let (p, q, m, h) = (2, 3, 2, 0.7);
    let model = SimpleModel::TwoLayer { rows: p, columns: q, width: m };
    let plain = DMatrix::identity(p * q, p * q) * h;
    // measurements that weigh rows and columns unevenly, all of theta seen
    let x = DMatrix::from_vec(9, p * q, wide(&samples(5, 9 * p * q, 1.0)));
    let uneven = x.tr_mul(&x) / 9.0;
    for hessian in [plain, uneven] {
        let problem = LeastSquares { hessian, ..problem(p * q) };
        let [rows, columns] = model.two_layer_blocks(&problem.hessian).unwrap();
        let loss = |w: &[f64]| {
            let (u, v) = w.split_at(p * m);
            let theta = DMatrix::from_column_slice(p, m, u) * DMatrix::from_column_slice(q, m, v).transpose();
            problem.value(&DVector::from_column_slice(theta.as_slice()))
        };
        let theta = DMatrix::from_vec(p, q, wide(&samples(4, p * q, 1.0)));
        let root = |matrix: &DMatrix<f64>, power: f64| {
            let eigen = matrix.clone().symmetric_eigen();
            let values = eigen.eigenvalues.map(|value| value.powf(power));
            &eigen.eigenvectors * DMatrix::from_diagonal(&values) * eigen.eigenvectors.transpose()
        };
        // The least factorisation: that of the whitened Theta into singular vectors, brought back.
        let svd = (root(&rows, 0.5) * &theta * root(&columns, 0.5)).svd(true, true);
        let scale = DMatrix::from_diagonal(&svd.singular_values.map(f64::sqrt));
        let u = root(&rows, -0.5) * svd.u.unwrap() * &scale;
        let v = root(&columns, -0.5) * svd.v_t.unwrap().transpose() * &scale;
        let flat = DVector::from_column_slice(theta.as_slice());
        let penalty = model.penalty(&problem, SIGMA * SIGMA);
        for mode in NOISY {
            let at = |scale: f64| {
                let w: Vec<f64> = (&u * scale).iter().chain((&v / scale).iter()).copied().collect();
                smoothed(mode, &w, p * m, &loss)
            };
            // (m / 2) tr H times the variances' product: sigma^4, (sigma^2 / 2)^2, or none where one factor is clean
            let both = [1.0, 0.25, 0.0][NOISY.iter().position(|other| *other == mode).unwrap()];
            let constant = 0.5 * m as f64 * problem.hessian.trace() * both * SIGMA.powi(4);
            let expected = problem.value(&flat) + penalty_share(mode) * penalty.value(&flat) + constant;
            let found = least_over_scales(at);
            assert!((found - expected).abs() < 1e-9, "{mode}: {found} for {expected}");
            // No other factorisation of the same Theta does better.
            let turn = DMatrix::from_row_slice(m, m, &[1.0, 0.4, -0.2, 1.1]);
            let other: Vec<f64> =
                (&u * &turn).iter().chain((&v * turn.try_inverse().unwrap().transpose()).iter()).copied().collect();
            assert!(smoothed(mode, &other, p * m, &loss) > found + 1e-6);
        }
        if problem.hessian[(0, 1)] == 0.0 {
            let nuclear: f64 = singular_values(&theta).iter().sum();
            let plain = h * SIGMA * SIGMA * ((p * q) as f64).sqrt() * nuclear;
            assert!((penalty.value(&flat) - plain).abs() < 1e-12);
        }
    }
}
