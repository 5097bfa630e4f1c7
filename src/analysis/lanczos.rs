//! Lanczos' method: extreme eigenvalues of a symmetric matrix, and a quadrature of its spectrum, from products alone.

use nalgebra::{DMatrix, SymmetricEigen};

/// An eigenvalue of the small matrix that Lanczos' method builds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ritz {
    /// The value.
    pub value: f64,
    /// Its weight in the quadrature of the start's spectral measure; the weights sum to 1.
    pub weight: f64,
    /// Norm of the residual, with the rounding of the directions to f32: an eigenvalue lies within this distance.
    pub residual: f64,
}

/// Share of the largest coefficient below which the next direction is rounding: the start's invariant subspace is
/// complete.
const BREAKDOWN: f64 = 1e-6;

fn dot(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum()
}

/// At most `steps` steps from `start`, every direction made orthogonal to all before it, twice. Largest values first.
///
/// The directions are f32, as the products take them; dot products and the small matrix are f64.
/// Source: Golub and Van Loan, Matrix Computations, section 10.1; quadrature: Golub and Welsch, Math. Comp. 1969.
///
/// # Errors
/// Those of `apply`.
pub fn lanczos<E>(
    start: &[f32],
    steps: usize,
    mut apply: impl FnMut(&[f32]) -> Result<Vec<f64>, E>,
) -> Result<Vec<Ritz>, E> {
    let mut basis: Vec<Vec<f32>> = Vec::new();
    let (mut diagonal, mut off) = (Vec::new(), Vec::new());
    let mut next: Vec<f64> = start.iter().map(|x| f64::from(*x)).collect();
    let mut norm = next.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut largest = 0.0_f64;
    for step in 0..steps.min(start.len()) {
        if norm <= BREAKDOWN * largest || norm == 0.0 {
            break;
        }
        if step > 0 {
            off.push(norm);
        }
        let direction: Vec<f32> = next.iter().map(|x| (x / norm) as f32).collect();
        next = apply(&direction)?;
        diagonal.push(dot(&direction, &next));
        basis.push(direction);
        for _ in 0..2 {
            for before in &basis {
                let along = dot(before, &next);
                next.iter_mut().zip(before).for_each(|(x, b)| *x -= along * f64::from(*b));
            }
        }
        norm = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        largest = largest.max(norm).max(diagonal[step].abs());
    }
    let rounding = f64::from(f32::EPSILON) * largest;
    Ok(ritz(&diagonal, &off, norm)
        .into_iter()
        .map(|pair| Ritz { residual: pair.residual + rounding, ..pair })
        .collect())
}

/// Eigenvalues of the symmetric tridiagonal matrix; `beyond` is the element that would come next beside the diagonal.
fn ritz(diagonal: &[f64], off: &[f64], beyond: f64) -> Vec<Ritz> {
    let n = diagonal.len();
    if n == 0 {
        return Vec::new();
    }
    let matrix = DMatrix::from_fn(n, n, |i, j| match i.abs_diff(j) {
        0 => diagonal[i],
        1 => off[i.min(j)],
        _ => 0.0,
    });
    let eigen = SymmetricEigen::new(matrix);
    let pair = |i: usize| Ritz {
        value: eigen.eigenvalues[i],
        weight: eigen.eigenvectors[(0, i)].powi(2),
        residual: (beyond * eigen.eigenvectors[(n - 1, i)]).abs(),
    };
    let mut values: Vec<Ritz> = (0..n).map(pair).collect();
    values.sort_by(|a, b| b.value.total_cmp(&a.value));
    values
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A diagonal matrix has its elements as eigenvalues, and the start's squared components as weights.
    #[test]
    fn a_whole_space_gives_every_eigenvalue_and_weight() {
        let eigenvalues = [9.0, 4.0, 1.5, 1.0, 0.0, -2.0];
        let start = [1.0_f32, 2.0, 0.5, 1.0, 3.0, 1.0];
        let norm2: f64 = start.iter().map(|x| f64::from(*x).powi(2)).sum();
        let apply = |v: &[f32]| -> Result<Vec<f64>, Infallible> {
            Ok(v.iter().zip(eigenvalues).map(|(v, e)| f64::from(*v) * e).collect())
        };
        let Ok(found) = lanczos(&start, 50, apply);
        assert_eq!(found.len(), eigenvalues.len());
        for ((ritz, value), x) in found.iter().zip(eigenvalues).zip(start) {
            assert!((ritz.value - value).abs() < 1e-5, "{found:?}");
            assert!((ritz.weight - f64::from(x).powi(2) / norm2).abs() < 1e-5, "{found:?}");
        }
    }

    /// The largest eigenvalues converge first, and an eigenvalue lies within the residual.
    #[test]
    fn residuals_bound_the_error() {
        let n = 400;
        let eigenvalue = |i: usize| 1.0 / (1.0 + i as f64);
        let start: Vec<f32> = (0..n).map(|i| 1.0 + (i % 7) as f32 * 0.1).collect();
        let apply = |v: &[f32]| -> Result<Vec<f64>, Infallible> {
            Ok(v.iter().enumerate().map(|(i, v)| f64::from(*v) * eigenvalue(i)).collect())
        };
        let Ok(found) = lanczos(&start, 30, apply);
        assert_eq!(found.len(), 30);
        assert!((found[0].value - 1.0).abs() < 1e-6 && found[0].residual < 1e-5, "{:?}", found[0]);
        for ritz in &found {
            let nearest = (0..n).map(|i| (eigenvalue(i) - ritz.value).abs()).fold(f64::MAX, f64::min);
            assert!(nearest <= ritz.residual, "{ritz:?}, {nearest}");
        }
        assert!((found.iter().map(|ritz| ritz.weight).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn an_invariant_subspace_ends_it() {
        let apply = |v: &[f32]| -> Result<Vec<f64>, Infallible> { Ok(v.iter().map(|v| 3.0 * f64::from(*v)).collect()) };
        let Ok(found) = lanczos(&[1.0, 2.0, 3.0], 3, apply);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!((found[0].value - 3.0).abs() < 1e-6);
        let Ok(nothing) = lanczos(&[0.0; 3], 3, apply);
        assert!(nothing.is_empty());
    }
}
