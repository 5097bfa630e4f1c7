//! The three simple models: coefficients that are products of factors.

use std::ops::Range;

use nalgebra::DMatrix;

use crate::{
    experiments::convex::{ConvexError, LeastSquares, Penalty},
    noise::Mode,
};

/// A linear model theta whose parameters are two tensors u and v.
#[derive(Clone, Debug, PartialEq)]
pub enum SimpleModel {
    /// theta = u * u - v * v; u, v `[d]`.
    Diagonal {
        /// Coefficients.
        features: usize,
    },
    /// theta_g = u_g v_g; u `[groups]`, v `[d]`.
    Group {
        /// Consecutive ranges that cover the coefficients.
        groups: Vec<Range<usize>>,
    },
    /// Theta = U V', by columns; U [rows, width], V [columns, width].
    TwoLayer {
        /// p: rows of Theta.
        rows: usize,
        /// q: columns of Theta.
        columns: usize,
        /// m: columns of U and V; from min(p, q) on every Theta is within reach.
        width: usize,
    },
}

/// The share of the full noise's penalty that a mode adds: `all` divides the variance by the two groups, and `layer`
/// averages over the steps that perturb the one and the other.
#[must_use]
pub fn penalty_share(mode: Mode) -> f64 {
    match mode {
        Mode::None => 0.0,
        Mode::Model => 1.0,
        Mode::All | Mode::Layer => 0.5,
    }
}

impl SimpleModel {
    /// Elements of theta.
    #[must_use]
    pub fn coefficients(&self) -> usize {
        match self {
            Self::Diagonal { features } => *features,
            Self::Group { groups } => groups.last().map_or(0, |group| group.end),
            Self::TwoLayer { rows, columns, .. } => rows * columns,
        }
    }

    /// Elements of u and of v.
    #[must_use]
    pub fn factors(&self) -> [usize; 2] {
        match self {
            Self::Diagonal { features } => [*features; 2],
            Self::Group { groups } => [groups.len(), self.coefficients()],
            Self::TwoLayer { rows, columns, width } => [rows * width, columns * width],
        }
    }

    /// The largest curvature that R has in the factors of balanced coefficients, over the largest eigenvalue of H:
    /// 4 |theta|_inf (diagonal), |theta_g| (sqrt(d_g) + 1 / sqrt(d_g)) (group), 2 |Theta|_2 (two-layer).
    #[must_use]
    pub fn size(&self, theta: &nalgebra::DVector<f64>) -> f64 {
        match self {
            Self::Diagonal { .. } => 4.0 * theta.amax(),
            Self::Group { groups } => {
                let curvature = |group: &Range<usize>| {
                    let root = (group.len() as f64).sqrt();
                    theta.rows(group.start, group.len()).norm() * (root + 1.0 / root)
                };
                groups.iter().map(curvature).fold(0.0, f64::max)
            }
            Self::TwoLayer { rows, columns, .. } => {
                2.0 * DMatrix::from_column_slice(*rows, *columns, theta.as_slice()).singular_values().max()
            }
        }
    }

    /// Factors to start from, of the size `scale`: u = v (diagonal) and v = 0 (group) make theta 0; U and V (two-layer)
    /// are `scale` times the unit normals that `draw` gives, over sqrt(width).
    pub(super) fn start(&self, scale: f64, draw: &mut dyn FnMut() -> f64) -> [Vec<f32>; 2] {
        let lens = self.factors();
        let fill = |len: usize, value: f64| vec![value as f32; len];
        match self {
            Self::Diagonal { .. } => lens.map(|len| fill(len, scale)),
            Self::Group { .. } => [fill(lens[0], scale), fill(lens[1], 0.0)],
            Self::TwoLayer { width, .. } => {
                let size = scale / (*width as f64).sqrt();
                lens.map(|len| (0..len).map(|_| (size * draw()) as f32).collect())
            }
        }
    }

    /// What noise of the given variance on every parameter adds to R(theta), minimised over the factors, exactly:
    ///
    /// - diagonal: 2 variance sum_i H_ii |theta_i|
    /// - group: variance sum_g sqrt(tr H_gg) |H_gg^(1/2) theta_g|, which is h_g sqrt(d_g) |theta_g| for H_gg = h_g I
    /// - two-layer: variance |Q^(1/2) Theta P^(1/2)|_* with P_jj' = sum_i H_(ij)(ij') and Q_ii' = sum_j H_(ij)(i'j),
    ///   which is h sqrt(p q) |Theta|_* for H = h I
    ///
    /// Derivation: for the second, E |X theta|^2 has v_g' H_gg v_g + u_g^2 tr H_gg beside constants, and the least of
    /// a / t + b t is 2 sqrt(a b); the third is the same for matrices. The suite's
    /// `closed_forms.rs` checks all by quadrature.
    #[must_use]
    pub fn penalty(&self, problem: &LeastSquares, variance: f64) -> Penalty {
        let h = &problem.hessian;
        match self {
            Self::Diagonal { .. } => Penalty::l1(h.diagonal().iter().map(|h| 2.0 * variance * h).collect()),
            Self::Group { groups } => {
                let blocks = groups
                    .iter()
                    .map(|group| h.view((group.start, group.start), (group.len(), group.len())).into_owned());
                Penalty::group(groups.clone(), blocks.map(|block| (block.clone(), variance * block.trace().sqrt())))
            }
            Self::TwoLayer { rows, columns, .. } => {
                let [q, p] = blocks(h, *rows, *columns);
                Penalty::nuclear(&q, &p, variance)
            }
        }
    }

    /// Q [p, p] and P [q, q] of the two-layer model's penalty; `None` for another model.
    #[must_use]
    pub fn two_layer_blocks(&self, hessian: &DMatrix<f64>) -> Option<[DMatrix<f64>; 2]> {
        match self {
            Self::TwoLayer { rows, columns, .. } => Some(blocks(hessian, *rows, *columns)),
            _ => None,
        }
    }

    /// The convex problem of a mode at this sigma: R plus the share of the penalty that the mode adds.
    ///
    /// # Errors
    /// Those of the solver.
    pub fn target(&self, problem: &LeastSquares, mode: Mode, sigma: f64) -> Result<ConvexTarget, ConvexError> {
        ConvexTarget::new(self.penalty(problem, penalty_share(mode) * sigma * sigma), problem)
    }
}

/// Q_ii' = sum_j H_(ij)(i'j) and P_jj' = sum_i H_(ij)(ij').
fn blocks(h: &DMatrix<f64>, p: usize, q: usize) -> [DMatrix<f64>; 2] {
    let over_columns = |i: usize, k: usize| (0..q).map(|j| h[(i + p * j, k + p * j)]).sum::<f64>();
    let over_rows = |j: usize, k: usize| (0..p).map(|i| h[(i + p * j, i + p * k)]).sum::<f64>();
    [DMatrix::from_fn(p, p, over_columns), DMatrix::from_fn(q, q, over_rows)]
}

/// Where noisy gradient descent should end.
#[derive(Clone, Debug)]
pub struct ConvexTarget {
    /// What the noise adds.
    pub penalty: Penalty,
    /// The minimiser of R + penalty.
    pub solution: nalgebra::DVector<f64>,
    /// The least value.
    pub objective: f64,
    /// Of the optimality conditions.
    pub violation: f64,
}

/// How far coefficients are from a target.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distance {
    /// |theta - target| / |target|
    pub theta: f64,
    /// (objective - least) / least
    pub objective: f64,
}

impl ConvexTarget {
    /// Minimises R + penalty.
    ///
    /// # Errors
    /// Those of the solver.
    pub fn new(penalty: Penalty, problem: &LeastSquares) -> Result<Self, ConvexError> {
        let solution = penalty.minimise(problem)?;
        let objective = problem.value(&solution.theta) + penalty.value(&solution.theta);
        Ok(Self { penalty, solution: solution.theta, objective, violation: solution.violation })
    }

    /// How far `theta` is.
    #[must_use]
    pub fn distance(&self, problem: &LeastSquares, theta: &nalgebra::DVector<f64>) -> Distance {
        let value = problem.value(theta) + self.penalty.value(theta);
        Distance {
            theta: (theta - &self.solution).norm() / self.solution.norm(),
            objective: (value - self.objective) / self.objective,
        }
    }
}
