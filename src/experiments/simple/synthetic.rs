//! Synthetic problems for the simple models, pure functions of their settings.

use std::ops::Range;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::{
    experiments::ExperimentError,
    noise::{Distribution, unit_noise},
};

use super::{Regression, SimpleModel};

/// Which part of a problem a draw is for.
#[derive(Clone, Copy)]
enum Part {
    Design = 1,
    Truth = 2,
    LabelNoise = 3,
    Left = 4,
    Right = 5,
    Order = 6,
}

/// A standard normal.
fn normal(seed: u64, part: Part, i: usize) -> f64 {
    f64::from(unit_noise(Distribution::Gaussian, seed, 0, part as u32, i))
}

fn normals(seed: u64, part: Part, rows: usize, columns: usize) -> DMatrix<f64> {
    DMatrix::from_fn(rows, columns, |i, j| normal(seed, part, i * columns + j))
}

fn targets(x: &DMatrix<f64>, theta: &DVector<f64>, noise: f64, seed: u64) -> DVector<f64> {
    x * theta + DVector::from_fn(x.nrows(), |i, _| noise * normal(seed, Part::LabelNoise, i))
}

fn is_deviation(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A few of `count`, evenly spread.
fn spread(few: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..few).map(move |k| (2 * k + 1) * count / (2 * few.max(1)))
}

/// Sparse regression.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sparse {
    /// n
    pub samples: usize,
    /// d
    pub features: usize,
    /// Coefficients that are not 0: of alternating sign, sizes 1 to 2.
    pub nonzeros: usize,
    /// Standard deviation of the labels' noise.
    pub label_noise: f64,
}

impl Sparse {
    /// Refuses what is not a problem.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] naming the setting.
    pub fn check(&self, experiment: &str, correlations: &[f64]) -> Result<(), ExperimentError> {
        let checks = [
            (self.samples == 0 || self.features == 0, "problem.samples and problem.features have to be at least 1"),
            (!is_deviation(self.label_noise), "problem.label_noise has to be 0 or more"),
            (correlations.is_empty(), "correlations has to name at least one"),
            (
                !correlations.iter().all(|correlation| correlation.abs() < 1.0),
                "correlations have to be between -1 and 1",
            ),
        ];
        ExperimentError::unless_right(experiment, &checks)
    }

    /// X with standard normal rows whose neighbouring columns have this correlation (autoregressive), and y.
    #[must_use]
    pub fn problem(&self, correlation: f64, seed: u64) -> (SimpleModel, Regression) {
        let (n, d) = (self.samples, self.features);
        let mut x = normals(seed, Part::Design, n, d);
        let fresh = (1.0 - correlation * correlation).sqrt();
        for j in 1..d {
            let column = x.column(j - 1) * correlation + x.column(j) * fresh;
            x.set_column(j, &column);
        }
        let mut theta = DVector::zeros(d);
        for (k, i) in spread(self.nonzeros, d).enumerate() {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            theta[i] = sign * (1.0 + normal(seed, Part::Truth, k).abs().min(2.0) / 2.0);
        }
        let y = targets(&x, &theta, self.label_noise, seed);
        (SimpleModel::Diagonal { features: d }, Regression { x, y })
    }
}

/// Regression with groups, of which few count.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grouped {
    /// n
    pub samples: usize,
    /// Sizes of the groups, over and over.
    pub sizes: Vec<usize>,
    /// Number of groups.
    pub groups: usize,
    /// Groups whose coefficients are not 0.
    pub nonzeros: usize,
    /// h_g of the groups, over and over: X_g'X_g / n = h_g I.
    pub scales: Vec<f64>,
    /// Standard deviation of the labels' noise.
    pub label_noise: f64,
}

impl Grouped {
    /// Refuses what is not a problem.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] naming the setting.
    pub fn check(&self, experiment: &str) -> Result<(), ExperimentError> {
        let checks = [
            (self.samples == 0 || self.groups == 0, "problem.samples and problem.groups have to be at least 1"),
            (self.sizes.is_empty() || self.sizes.contains(&0), "problem.sizes has to name sizes of at least 1"),
            (
                self.scales.is_empty() || !self.scales.iter().all(|h| h.is_finite() && *h > 0.0),
                "problem.scales has to name positive numbers",
            ),
            (!is_deviation(self.label_noise), "problem.label_noise has to be 0 or more"),
        ];
        ExperimentError::unless_right(experiment, &checks)
    }

    /// X with orthogonal columns within each group, and y. Groups of more columns than samples are cut short.
    #[must_use]
    pub fn problem(&self, seed: u64) -> (SimpleModel, Regression) {
        let n = self.samples;
        let mut groups: Vec<Range<usize>> = Vec::new();
        for size in self.sizes.iter().cycle().take(self.groups) {
            let start = groups.last().map_or(0, |group| group.end);
            groups.push(start..start + (*size).clamp(1, n.max(1)));
        }
        let d = groups.last().map_or(0, |group| group.end);
        let mut x = normals(seed, Part::Design, n, d);
        for (group, h) in groups.iter().zip(self.scales.iter().cycle()) {
            let columns = x.columns(group.start, group.len()).into_owned().qr().q() * (h * n as f64).sqrt();
            x.columns_mut(group.start, group.len()).copy_from(&columns);
        }
        let mut theta = DVector::zeros(d);
        for g in spread(self.nonzeros, groups.len()) {
            // Norm sqrt(2): neither the size nor the scale of a group decides whether it is found.
            let draw = DVector::from_fn(groups[g].len(), |i, _| normal(seed, Part::Truth, groups[g].start + i));
            theta.rows_mut(groups[g].start, groups[g].len()).copy_from(&(draw.normalize() * 2.0_f64.sqrt()));
        }
        let y = targets(&x, &theta, self.label_noise, seed);
        (SimpleModel::Group { groups }, Regression { x, y })
    }
}

/// A matrix of low rank, seen whole, through random measurements, or in part.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LowRank {
    /// p
    pub rows: usize,
    /// q
    pub columns: usize,
    /// Of the truth.
    pub rank: usize,
    /// Random measurements.
    pub measurements: usize,
    /// Entries seen.
    pub entries: usize,
    /// Standard deviation of the noise of an entry or a measurement.
    pub label_noise: f64,
}

/// How the matrix is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Every entry once: R = h/2 |Y - Theta|_F^2 with h = 1.
    Full,
    /// <A_k, Theta> with standard normal A_k.
    Sensing,
    /// Some entries.
    Completion,
}

impl LowRank {
    /// Refuses what is not a problem.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] naming the setting.
    pub fn check(&self, experiment: &str) -> Result<(), ExperimentError> {
        let sizes = [self.rows, self.columns, self.rank, self.measurements, self.entries];
        let checks = [
            (sizes.contains(&0), "problem.rows, columns, rank, measurements and entries have to be at least 1"),
            (!is_deviation(self.label_noise), "problem.label_noise has to be 0 or more"),
        ];
        ExperimentError::unless_right(experiment, &checks)
    }

    /// X, a row a measurement A_k by columns, and y. The model's width is min(p, q).
    #[must_use]
    pub fn problem(&self, observation: Observation, seed: u64) -> (SimpleModel, Regression) {
        let (p, q) = (self.rows, self.columns);
        let left = normals(seed, Part::Left, p, self.rank);
        let theta = left * normals(seed, Part::Right, q, self.rank).transpose() / (self.rank as f64).sqrt();
        let all = p * q;
        let (x, scale) = match observation {
            Observation::Full => (DMatrix::identity(all, all) * (all as f64).sqrt(), (all as f64).sqrt()),
            Observation::Sensing => (normals(seed, Part::Design, self.measurements, all), 1.0),
            Observation::Completion => self.mask(seed),
        };
        let y = targets(&x, &DVector::from_column_slice(theta.as_slice()), scale * self.label_noise, seed);
        (SimpleModel::TwoLayer { rows: p, columns: q, width: p.min(q) }, Regression { x, y })
    }

    /// Rows that see one entry each, chosen at random, times sqrt(entries): R = |Y - Theta|^2 / 2 over the entries seen.
    fn mask(&self, seed: u64) -> (DMatrix<f64>, f64) {
        let all = self.rows * self.columns;
        let entries = self.entries.min(all);
        let mut order: Vec<usize> = (0..all).collect();
        order.sort_by(|a, b| normal(seed, Part::Order, *a).total_cmp(&normal(seed, Part::Order, *b)));
        let scale = (entries as f64).sqrt();
        let mut x = DMatrix::zeros(entries, all);
        for (row, entry) in order.into_iter().take(entries).enumerate() {
            x[(row, entry)] = scale;
        }
        (x, scale)
    }
}
