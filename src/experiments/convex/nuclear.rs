//! Problems with the nuclear norm: singular value soft thresholding, and proximal gradient around it.

use nalgebra::{DMatrix, DVector};

use super::{ConvexError, LeastSquares, MOST_ITERATIONS, Solution, TOLERANCE, expect_len, finish};

/// The singular values, largest first.
#[must_use]
pub fn singular_values(matrix: &DMatrix<f64>) -> Vec<f64> {
    let mut values: Vec<f64> = matrix.singular_values().iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// Minimises h/2 |Y - Theta|_F^2 + weight |Theta|_*: every singular value of Y less weight / h, at least 0.
///
/// Source: Cai, Candes, Shen, SIAM J. Optim. 2010.
#[must_use]
pub fn nuclear_denoise(y: &DMatrix<f64>, h: f64, weight: f64) -> DMatrix<f64> {
    let svd = y.clone().svd(true, true);
    let (Some(u), Some(v_t)) = (svd.u, svd.v_t) else { return DMatrix::zeros(y.nrows(), y.ncols()) };
    let shrunk = svd.singular_values.map(|s| (s - weight / h).max(0.0));
    u * DMatrix::from_diagonal(&shrunk) * v_t
}

/// Minimises R(Theta) + weight |Theta|_* with R the mean of squares of y_k - <A_k, Theta>, over 2; `problem` is in
/// vec(Theta) by columns, [rows * columns]. Accelerated proximal gradient with restarts.
///
/// Source: Beck, Teboulle, SIAM J. Imaging Sci. 2009; restarts: O'Donoghue, Candes, Found. Comput. Math. 2015.
///
/// # Errors
/// [`ConvexError::Length`]; [`ConvexError::Unfinished`] if the optimality conditions are not met.
pub fn nuclear_sense(
    problem: &LeastSquares,
    [rows, columns]: [usize; 2],
    weight: f64,
) -> Result<Solution<DMatrix<f64>>, ConvexError> {
    expect_len("unknowns", problem.linear.len(), rows * columns)?;
    let curvature = problem.hessian.symmetric_eigenvalues().max().max(f64::MIN_POSITIVE);
    let matrix = |theta: &DVector<f64>| DMatrix::from_column_slice(rows, columns, theta.as_slice());
    let vector = |theta: &DMatrix<f64>| DVector::from_column_slice(theta.as_slice());
    let scale = problem.linear.norm();
    let mut theta = DMatrix::zeros(rows, columns);
    let (mut ahead, mut momentum) = (theta.clone(), 1.0_f64);
    let mut iterations = 0;
    let mut violation = nuclear_violation(&theta, &matrix(&problem.gradient(&vector(&theta))), weight);
    while violation > TOLERANCE * scale && iterations < MOST_ITERATIONS {
        let gradient = matrix(&problem.gradient(&vector(&ahead)));
        let next = nuclear_denoise(&(&ahead - &gradient / curvature), curvature, weight);
        let forward = &next - &theta;
        let uphill = (&ahead - &next).dot(&forward) > 0.0;
        let grown = if uphill { 1.0 } else { (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0 };
        ahead = if uphill { next.clone() } else { &next + &forward * ((momentum - 1.0) / grown) };
        (theta, momentum) = (next, grown);
        iterations += 1;
        violation = nuclear_violation(&theta, &matrix(&problem.gradient(&vector(&theta))), weight);
    }
    finish(Solution { theta, iterations, violation }, scale)
}

/// Singular values of Theta below this share of the largest count as 0.
const RANK_TOLERANCE: f64 = 1e-9;

/// Violation of: -gradient = weight (U V' + W) with U, V Theta's singular vectors, W orthogonal to them, |W| <= 1.
#[must_use]
pub fn nuclear_violation(theta: &DMatrix<f64>, gradient: &DMatrix<f64>, weight: f64) -> f64 {
    let svd = theta.clone().svd(true, true);
    let (Some(u), Some(v_t)) = (svd.u, svd.v_t) else { return f64::INFINITY };
    let largest = svd.singular_values.max();
    let kept: Vec<usize> =
        (0..svd.singular_values.len()).filter(|i| svd.singular_values[*i] > RANK_TOLERANCE * largest).collect();
    let (u, v_t) = (u.select_columns(&kept), v_t.select_rows(&kept));
    let outside_rows = |m: &DMatrix<f64>| m - &u * (u.transpose() * m);
    let outside_columns = |m: &DMatrix<f64>| m - (m * v_t.transpose()) * &v_t;
    let rest = outside_columns(&outside_rows(gradient));
    let inside = gradient - &rest + &u * &v_t * weight;
    let excess = (rest.singular_values().max() - weight).max(0.0);
    inside.norm().max(excess)
}
