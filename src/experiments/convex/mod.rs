//! The convex problems that the smoothed losses of the three simple models are, solved in f64 without any noise.
//!
//! Orvieto, Raj, Kersting, Bach, AISTATS 2023: with noise of standard deviation sigma on every weight, the loss averaged
//! over the noise and minimised over the factorisation is R(theta) plus a weighted norm (and a constant):
//!
//! | model | prediction | norm | its weights |
//! |---|---|---|---|
//! | diagonal | theta = u * u - v * v | sum of absolute values | 2 sigma^2 H_ii |
//! | group | theta_g = u_g v_g | sum of groups' norms | sigma^2 h_g sqrt(d_g) |
//! | two-layer linear | Theta = U V' | nuclear | h sigma^2 sqrt(p q) |
//!
//! R(theta) = |y - X theta|^2 / 2n, H = X'X / n. The suite's
//! `closed_forms.rs` averages over the noise by brute force.

mod group_lasso;
mod lasso;
mod nuclear;
mod penalty;

use nalgebra::{DMatrix, DVector};

pub use group_lasso::{group_lasso, group_lasso_violation};
pub use lasso::{lasso, lasso_violation};
pub use nuclear::{nuclear_denoise, nuclear_sense, nuclear_violation, singular_values};
pub use penalty::{Penalty, Roots};

/// R(theta) = |y - X theta|^2 / 2n, by its second-order terms.
#[derive(Clone, Debug, PartialEq)]
pub struct LeastSquares {
    /// H = X'X / n [d, d]
    pub hessian: DMatrix<f64>,
    /// X'y / n `[d]`
    pub linear: DVector<f64>,
    /// |y|^2 / 2n
    pub constant: f64,
}

impl LeastSquares {
    /// From a design [n, d] and targets `[n]`.
    ///
    /// # Errors
    /// [`ConvexError::Rows`] if they differ in rows or have none.
    pub fn new(x: &DMatrix<f64>, y: &DVector<f64>) -> Result<Self, ConvexError> {
        if x.nrows() != y.len() || y.is_empty() {
            return Err(ConvexError::Rows { design: x.nrows(), targets: y.len() });
        }
        let n = y.len() as f64;
        Ok(Self { hessian: x.tr_mul(x) / n, linear: x.tr_mul(y) / n, constant: y.norm_squared() / (2.0 * n) })
    }

    /// R(theta).
    #[must_use]
    pub fn value(&self, theta: &DVector<f64>) -> f64 {
        0.5 * theta.dot(&(&self.hessian * theta)) - self.linear.dot(theta) + self.constant
    }

    /// H theta - X'y / n.
    #[must_use]
    pub fn gradient(&self, theta: &DVector<f64>) -> DVector<f64> {
        &self.hessian * theta - &self.linear
    }
}

/// A minimiser, with how far from optimal it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution<T> {
    /// The minimiser.
    pub theta: T,
    /// Sweeps or iterations.
    pub iterations: usize,
    /// Largest violation of the optimality conditions, in the units of a gradient.
    pub violation: f64,
}

/// A problem that cannot be posed or solved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConvexError {
    /// Design and targets do not belong together.
    #[error("the design has {design} rows, the targets have {targets}")]
    Rows {
        /// Rows of the design.
        design: usize,
        /// Targets.
        targets: usize,
    },
    /// A list that should have one entry per unknown or group.
    #[error("{what}: expected {expected} entries, found {found}")]
    Length {
        /// Which list.
        what: &'static str,
        /// Entries needed.
        expected: usize,
        /// Entries given.
        found: usize,
    },
    /// The solver stopped before the conditions held.
    #[error("after {iterations} iterations the optimality conditions are still off by {violation:.2e}")]
    Unfinished {
        /// Iterations.
        iterations: usize,
        /// The violation reached.
        violation: f64,
    },
}

fn expect_len(what: &'static str, expected: usize, found: usize) -> Result<(), ConvexError> {
    if expected == found { Ok(()) } else { Err(ConvexError::Length { what, expected, found }) }
}

/// The violation below which a solver is done, relative to the largest element of the gradient at 0.
const TOLERANCE: f64 = 1e-10;

/// Iterations after which a solver gives up.
const MOST_ITERATIONS: usize = 100_000;

/// The solution if the conditions hold well enough, for a gradient at 0 of this size.
fn finish<T>(solution: Solution<T>, scale: f64) -> Result<Solution<T>, ConvexError> {
    let Solution { iterations, violation, .. } = solution;
    if violation <= TOLERANCE * scale { Ok(solution) } else { Err(ConvexError::Unfinished { iterations, violation }) }
}

/// (1 - by / norm)_+, the factor of a soft threshold.
fn shrink(norm: f64, by: f64) -> f64 {
    if norm > by { 1.0 - by / norm } else { 0.0 }
}
