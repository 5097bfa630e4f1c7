//! The norms that noise adds to the loss of the simple models, with the solver that each takes.

use std::ops::Range;

use nalgebra::{DMatrix, DVector};

use super::{ConvexError, LeastSquares, Solution, group_lasso, lasso, nuclear_sense, singular_values};

/// Eigenvalues below this share of the largest count as 0.
const RANK_TOLERANCE: f64 = 1e-10;

/// A convex function of the coefficients.
#[derive(Clone, Debug, PartialEq)]
pub enum Penalty {
    /// sum_i weights_i |theta_i|
    L1 {
        /// One per coefficient.
        weights: Vec<f64>,
    },
    /// sum_g weights_g |roots_g theta_g|
    Group {
        /// Consecutive ranges that cover the coefficients.
        groups: Vec<Range<usize>>,
        /// Roots of each group's matrix.
        roots: Vec<Roots>,
        /// One per group.
        weights: Vec<f64>,
    },
    /// weight |left Theta right|_*, Theta by columns.
    Nuclear {
        /// Root of the rows' matrix.
        left: Roots,
        /// Root of the columns' matrix.
        right: Roots,
        /// Its weight.
        weight: f64,
    },
}

/// Square root of a positive semi-definite matrix, and the root's pseudo-inverse.
#[derive(Clone, Debug, PartialEq)]
pub struct Roots {
    root: DMatrix<f64>,
    inverse: DMatrix<f64>,
}

impl Roots {
    fn new(matrix: &DMatrix<f64>) -> Self {
        let eigen = matrix.clone().symmetric_eigen();
        let least = RANK_TOLERANCE * eigen.eigenvalues.max();
        let with = |f: &dyn Fn(f64) -> f64| {
            let values = eigen.eigenvalues.map(|value| if value > least { f(value.sqrt()) } else { 0.0 });
            &eigen.eigenvectors * DMatrix::from_diagonal(&values) * eigen.eigenvectors.transpose()
        };
        Self { root: with(&|root| root), inverse: with(&|root| 1.0 / root) }
    }
}

impl Penalty {
    /// sum_i weights_i |theta_i|
    #[must_use]
    pub fn l1(weights: Vec<f64>) -> Self {
        Self::L1 { weights }
    }

    /// sum_g weight_g |M_g^(1/2) theta_g| of (M_g, weight_g), M_g positive semi-definite.
    #[must_use]
    pub fn group(groups: Vec<Range<usize>>, weighted: impl Iterator<Item = (DMatrix<f64>, f64)>) -> Self {
        let (roots, weights) = weighted.map(|(matrix, weight)| (Roots::new(&matrix), weight)).unzip();
        Self::Group { groups, roots, weights }
    }

    /// weight |rows^(1/2) Theta columns^(1/2)|_*, both matrices positive semi-definite.
    #[must_use]
    pub fn nuclear(rows: &DMatrix<f64>, columns: &DMatrix<f64>, weight: f64) -> Self {
        Self::Nuclear { left: Roots::new(rows), right: Roots::new(columns), weight }
    }

    /// Its value.
    #[must_use]
    pub fn value(&self, theta: &DVector<f64>) -> f64 {
        match self {
            Self::L1 { weights } => weights.iter().zip(theta).map(|(weight, x)| weight * x.abs()).sum(),
            Self::Group { groups, roots, weights } => {
                let norm =
                    |group: &Range<usize>, roots: &Roots| (&roots.root * theta.rows(group.start, group.len())).norm();
                groups.iter().zip(roots).zip(weights).map(|((group, roots), weight)| weight * norm(group, roots)).sum()
            }
            Self::Nuclear { left, right, weight } => {
                let theta = DMatrix::from_column_slice(left.root.nrows(), right.root.nrows(), theta.as_slice());
                weight * singular_values(&(&left.root * theta * &right.root)).iter().sum::<f64>()
            }
        }
    }

    /// The dual norm: R + penalty is least at 0 exactly where this, of the gradient of R there, is at most 1.
    #[must_use]
    pub fn dual(&self, gradient: &DVector<f64>) -> f64 {
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        match self {
            Self::L1 { weights } => largest(&mut gradient.iter().zip(weights).map(|(g, weight)| g.abs() / weight)),
            Self::Group { groups, roots, weights } => {
                let norm = |group: &Range<usize>, roots: &Roots| {
                    (&roots.inverse * gradient.rows(group.start, group.len())).norm()
                };
                let weighted = groups.iter().zip(roots).zip(weights);
                largest(&mut weighted.map(|((group, roots), weight)| norm(group, roots) / weight))
            }
            Self::Nuclear { left, right, weight } => {
                let gradient = DMatrix::from_column_slice(left.root.nrows(), right.root.nrows(), gradient.as_slice());
                let values = singular_values(&(&left.inverse * gradient * &right.inverse));
                values.first().copied().unwrap_or(0.0) / weight
            }
        }
    }

    /// The coordinates in which the norm is the plain one, as a matrix T: theta = T phi.
    fn whitening(&self, coefficients: usize) -> DMatrix<f64> {
        match self {
            Self::L1 { .. } => DMatrix::identity(coefficients, coefficients),
            Self::Group { groups, roots, .. } => {
                let mut whitening = DMatrix::zeros(coefficients, coefficients);
                for (group, roots) in groups.iter().zip(roots) {
                    whitening
                        .view_mut((group.start, group.start), (group.len(), group.len()))
                        .copy_from(&roots.inverse);
                }
                whitening
            }
            Self::Nuclear { left, right, .. } => right.inverse.kronecker(&left.inverse),
        }
    }

    /// Minimises R(theta) + penalty.
    ///
    /// Where the norm is weighted, in the coordinates in which it is plain: the violation is that of the problem there.
    ///
    /// # Errors
    /// Those of the solver.
    pub fn minimise(&self, problem: &LeastSquares) -> Result<Solution<DVector<f64>>, ConvexError> {
        let whitening = self.whitening(problem.linear.len());
        let plain = LeastSquares {
            hessian: whitening.transpose() * &problem.hessian * &whitening,
            linear: whitening.tr_mul(&problem.linear),
            constant: problem.constant,
        };
        let solution = match self {
            Self::L1 { weights } => lasso(&plain, weights)?,
            Self::Group { groups, weights, .. } => group_lasso(&plain, groups, weights)?,
            Self::Nuclear { left, right, weight } => {
                let found = nuclear_sense(&plain, [left.root.nrows(), right.root.nrows()], *weight)?;
                let theta = DVector::from_column_slice(found.theta.as_slice());
                Solution { theta, iterations: found.iterations, violation: found.violation }
            }
        };
        Ok(Solution { theta: whitening * solution.theta, ..solution })
    }
}
