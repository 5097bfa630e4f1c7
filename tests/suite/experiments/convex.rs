//! The convex solvers against closed forms, their optimality conditions, and each other.

use crate::common::{samples, wide};
use jostle::experiments::convex::{
    ConvexError, LeastSquares, group_lasso, group_lasso_violation, lasso, lasso_violation, nuclear_denoise,
    nuclear_sense, nuclear_violation, singular_values,
};
use nalgebra::{DMatrix, DVector};

fn random(seed: u64, rows: usize, columns: usize) -> DMatrix<f64> {
    DMatrix::from_vec(rows, columns, wide(&samples(seed, rows * columns, 1.0)))
}

fn column(seed: u64, len: usize) -> DVector<f64> {
    DVector::from_vec(wide(&samples(seed, len, 1.0)))
}

/// n < d, columns correlated with their neighbours.
fn correlated(n: usize, d: usize) -> LeastSquares {
    let mut x = random(1, n, d);
    for j in 1..d {
        let before = x.column(j - 1).into_owned();
        x.column_mut(j).axpy(0.7, &before, 0.7);
    }
    LeastSquares::new(&x, &column(2, n)).unwrap()
}

/// X'X / n = I: then R(theta) is 1/2 |theta - X'y/n|^2 but for a constant.
fn orthonormal(n: usize, d: usize) -> LeastSquares {
    let x = random(3, n, d).qr().q() * (n as f64).sqrt();
    LeastSquares::new(&x, &column(4, n)).unwrap()
}

fn l1(theta: &DVector<f64>, weights: &[f64]) -> f64 {
    theta.iter().zip(weights).map(|(t, w)| w * t.abs()).sum()
}

#[test]
fn lasso_of_an_orthonormal_design_is_soft_thresholding() {
    let problem = orthonormal(40, 7);
    let weights: Vec<f64> = (0..7).map(|i| 0.02 * i as f64).collect();
    let found = lasso(&problem, &weights).unwrap();
    for (i, weight) in weights.iter().enumerate() {
        let z = problem.linear[i];
        let expected = z.signum() * (z.abs() - weight).max(0.0);
        assert!((found.theta[i] - expected).abs() < 1e-10, "{i}: {} for {expected}", found.theta[i]);
    }
}

#[test]
fn lasso_meets_its_conditions_on_correlated_designs() {
    let problem = correlated(20, 50);
    let weights: Vec<f64> = (0..50).map(|i| 0.01 * (1 + i % 3) as f64).collect();
    let found = lasso(&problem, &weights).unwrap();
    let zeros = found.theta.iter().filter(|x| **x == 0.0).count();
    assert!((10..50).contains(&zeros), "{zeros} of 50 are 0");
    assert!(lasso_violation(&found.theta, &problem.gradient(&found.theta), &weights) < 1e-10);
    let objective = |theta: &DVector<f64>| problem.value(theta) + l1(theta, &weights);
    for seed in 10..40 {
        let moved = &found.theta + column(seed, 50) * 1e-3;
        assert!(objective(&moved) > objective(&found.theta), "a minimum");
        assert!(lasso_violation(&moved, &problem.gradient(&moved), &weights) > 1e-3, "the conditions tell");
    }
}

#[test]
fn groups_of_one_make_the_lasso() {
    let problem = correlated(20, 30);
    let weights = vec![0.02; 30];
    let groups: Vec<_> = (0..30).map(|i| i..i + 1).collect();
    let (single, plain) = (group_lasso(&problem, &groups, &weights).unwrap(), lasso(&problem, &weights).unwrap());
    assert!((single.theta - plain.theta).amax() < 1e-7);
}

#[test]
fn group_lasso_shrinks_orthonormal_groups_and_meets_its_conditions_elsewhere() {
    let groups = [0..1, 1..4, 4..9, 9..11];
    let weights = [0.05, 0.1, 0.02, 10.0];
    let problem = orthonormal(40, 11);
    let found = group_lasso(&problem, &groups, &weights).unwrap().theta;
    for (group, weight) in groups.iter().zip(weights) {
        let z = problem.linear.rows(group.start, group.len());
        let expected = z * (1.0 - weight / z.norm()).max(0.0);
        assert!((found.rows(group.start, group.len()) - expected).amax() < 1e-9);
    }
    let problem = correlated(8, 11);
    let found = group_lasso(&problem, &groups, &weights).unwrap().theta;
    assert!(group_lasso_violation(&found, &problem.gradient(&found), &groups, &weights) < 1e-9);
    assert_eq!(found.rows(9, 2).amax(), 0.0, "a group whose weight is beyond its gradient");
    let objective = |theta: &DVector<f64>| {
        let norm = |group: &std::ops::Range<usize>| theta.rows(group.start, group.len()).norm();
        problem.value(theta) + groups.iter().zip(weights).map(|(g, w)| w * norm(g)).sum::<f64>()
    };
    for seed in 10..40 {
        let moved = &found + column(seed, 11) * 1e-3;
        assert!(objective(&moved) > objective(&found));
    }
}

#[test]
fn denoising_shrinks_singular_values() {
    let y = random(5, 6, 4);
    let found = nuclear_denoise(&y, 2.0, 0.8);
    for (found, given) in singular_values(&found).iter().zip(singular_values(&y)) {
        assert!((found - (given - 0.4).max(0.0)).abs() < 1e-12);
    }
    assert!(nuclear_violation(&found, &((&found - &y) * 2.0), 0.8) < 1e-10);
    let moved = &found + random(6, 6, 4) * 1e-2;
    assert!(nuclear_violation(&moved, &((&moved - &y) * 2.0), 0.8) > 1e-2, "the conditions tell");
    assert_eq!(nuclear_denoise(&y, 2.0, 100.0).amax(), 0.0);
}

#[test]
fn sensing_every_entry_is_denoising_and_random_measurements_meet_the_conditions() {
    let (p, q) = (4, 3);
    let y = random(7, p, q);
    let every = LeastSquares::new(&DMatrix::identity(p * q, p * q), &DVector::from_column_slice(y.as_slice())).unwrap();
    let h = 1.0 / (p * q) as f64;
    let found = nuclear_sense(&every, [p, q], 0.03).unwrap();
    assert!((found.theta - nuclear_denoise(&y, h, 0.03)).amax() < 1e-8);

    let truth = random(8, 5, 1) * random(9, 1, 5);
    let a = random(10, 20, 25);
    let measured = &a * DVector::from_column_slice(truth.as_slice());
    let problem = LeastSquares::new(&a, &measured).unwrap();
    let found = nuclear_sense(&problem, [5, 5], 0.02).unwrap();
    let values = singular_values(&found.theta);
    assert!(values[0] > 0.1 && values[2] < 1e-8, "low rank: {values:?}");
    let objective = |m: &DMatrix<f64>| {
        problem.value(&DVector::from_column_slice(m.as_slice())) + 0.02 * singular_values(m).iter().sum::<f64>()
    };
    for seed in 20..40 {
        assert!(objective(&(&found.theta + random(seed, 5, 5) * 1e-3)) > objective(&found.theta));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let problem = correlated(8, 11);
    assert!(matches!(
        lasso(&problem, &[1.0; 10]),
        Err(ConvexError::Length { what: "weights", expected: 11, found: 10 })
    ));
    assert!(matches!(
        group_lasso(&problem, &[0..4, 5..11], &[1.0; 2]),
        Err(ConvexError::Length { what: "groups", .. })
    ));
    assert!(matches!(nuclear_sense(&problem, [3, 4], 1.0), Err(ConvexError::Length { .. })));
    assert!(matches!(LeastSquares::new(&random(1, 3, 2), &column(1, 4)), Err(ConvexError::Rows { .. })));
}
