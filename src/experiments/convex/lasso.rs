//! The weighted Lasso by cyclic coordinate descent.

use nalgebra::DVector;

use super::{ConvexError, LeastSquares, MOST_ITERATIONS, Solution, TOLERANCE, expect_len, finish, shrink};

/// Minimises R(theta) + sum_i weights_i |theta_i|.
///
/// A coordinate without curvature (a column of zeros) stays 0. Source: Friedman, Hastie, Tibshirani, J. Stat. Softw. 2010.
///
/// # Errors
/// [`ConvexError::Length`]; [`ConvexError::Unfinished`] if the optimality conditions are not met.
pub fn lasso(problem: &LeastSquares, weights: &[f64]) -> Result<Solution<DVector<f64>>, ConvexError> {
    let d = problem.linear.len();
    expect_len("weights", d, weights.len())?;
    let scale = problem.linear.amax();
    let mut theta = DVector::zeros(d);
    let mut gradient = -&problem.linear;
    let mut iterations = 0;
    let mut violation = lasso_violation(&theta, &gradient, weights);
    while violation > TOLERANCE * scale && iterations < MOST_ITERATIONS {
        for i in 0..d {
            let curvature = problem.hessian[(i, i)];
            if curvature <= 0.0 {
                continue;
            }
            let target = theta[i] - gradient[i] / curvature;
            let change = target * shrink(target.abs(), weights[i] / curvature) - theta[i];
            if change != 0.0 {
                theta[i] += change;
                gradient.axpy(change, &problem.hessian.column(i), 1.0);
            }
        }
        iterations += 1;
        // Afresh, so that the updates' rounding does not build up.
        gradient = problem.gradient(&theta);
        violation = lasso_violation(&theta, &gradient, weights);
    }
    finish(Solution { theta, iterations, violation }, scale)
}

/// Largest distance of 0 from the subdifferential: |g_i + w_i sign(theta_i)|, or (|g_i| - w_i)_+ where theta_i is 0.
#[must_use]
pub fn lasso_violation(theta: &DVector<f64>, gradient: &DVector<f64>, weights: &[f64]) -> f64 {
    let violation = |(i, weight): (usize, &f64)| match theta[i] {
        0.0 => (gradient[i].abs() - weight).max(0.0),
        x => (gradient[i] + weight * x.signum()).abs(),
    };
    weights.iter().enumerate().map(violation).fold(0.0, f64::max)
}
