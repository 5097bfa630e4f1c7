//! The group Lasso by cyclic block soft thresholding.

use std::ops::Range;

use nalgebra::DVector;

use super::{ConvexError, LeastSquares, MOST_ITERATIONS, Solution, TOLERANCE, expect_len, finish, shrink};

/// Minimises R(theta) + sum_g weights_g |theta_g|_2; `groups` are consecutive ranges that cover theta.
///
/// A block's step is exact where its Hessian is a multiple of the identity (an orthonormal group), and minimises an upper
/// bound otherwise. Source: Yuan, Lin, J. R. Stat. Soc. B 2006.
///
/// # Errors
/// [`ConvexError::Length`] for groups that do not cover theta or weights that are not one per group;
/// [`ConvexError::Unfinished`] if the optimality conditions are not met.
pub fn group_lasso(
    problem: &LeastSquares,
    groups: &[Range<usize>],
    weights: &[f64],
) -> Result<Solution<DVector<f64>>, ConvexError> {
    let d = problem.linear.len();
    expect_len("weights", groups.len(), weights.len())?;
    let covered = groups.iter().fold(0, |end, group| if group.start == end { group.end } else { usize::MAX });
    expect_len("groups", d, covered)?;
    let curvature: Vec<f64> = groups
        .iter()
        .map(|group| {
            let block = problem.hessian.view((group.start, group.start), (group.len(), group.len()));
            block.symmetric_eigenvalues().max()
        })
        .collect();
    let scale = problem.linear.amax();
    let mut theta = DVector::zeros(d);
    let mut gradient = -&problem.linear;
    let mut iterations = 0;
    let mut violation = group_lasso_violation(&theta, &gradient, groups, weights);
    while violation > TOLERANCE * scale && iterations < MOST_ITERATIONS {
        for ((group, weight), curvature) in groups.iter().zip(weights).zip(&curvature) {
            if *curvature <= 0.0 {
                continue;
            }
            let rows = |vector: &DVector<f64>| vector.rows(group.start, group.len()).into_owned();
            let target = rows(&theta) - rows(&gradient) / *curvature;
            let change = &target * shrink(target.norm(), weight / curvature) - rows(&theta);
            if change.amax() != 0.0 {
                let mut block = theta.rows_mut(group.start, group.len());
                block += &change;
                gradient += problem.hessian.columns(group.start, group.len()) * &change;
            }
        }
        iterations += 1;
        gradient = problem.gradient(&theta);
        violation = group_lasso_violation(&theta, &gradient, groups, weights);
    }
    finish(Solution { theta, iterations, violation }, scale)
}

/// Largest distance of 0 from the subdifferential: |g_g + w_g theta_g / |theta_g||, or (|g_g| - w_g)_+ where theta_g is 0.
#[must_use]
pub fn group_lasso_violation(
    theta: &DVector<f64>,
    gradient: &DVector<f64>,
    groups: &[Range<usize>],
    weights: &[f64],
) -> f64 {
    let violation = |(group, weight): (&Range<usize>, &f64)| {
        let (t, g) = (theta.rows(group.start, group.len()), gradient.rows(group.start, group.len()));
        let norm = t.norm();
        if norm == 0.0 { (g.norm() - weight).max(0.0) } else { (g + t * (weight / norm)).norm() }
    };
    groups.iter().zip(weights).map(violation).fold(0.0, f64::max)
}
