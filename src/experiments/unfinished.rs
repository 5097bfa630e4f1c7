//! Whether a distance above its bar is still on the way down, and how many steps would decide.

use nalgebra::{DMatrix, DVector};

use crate::noise::Mode;

use super::{
    numbers::short,
    penalty_measurements::{ArmMeasurements, CaseMeasurements, Part},
    simple::{ArmSettings, SimpleModel, SolvedCase, Steps},
    statistics::mean,
};

/// An arm of a mode of a case.
pub(super) struct OnTheWay<'a> {
    pub(super) measured: &'a CaseMeasurements,
    pub(super) solved: &'a SolvedCase,
    pub(super) settings: &'a ArmSettings,
    pub(super) mode: Mode,
    /// Whose distance it is.
    pub(super) arm: &'a ArmMeasurements,
}

/// What is aimed at, as a share of the bar: the interval has to fit below it.
const AIM: f64 = 0.7;

/// Times as many steps beyond which a bar is not within reach.
const MOST_TIMES: f64 = 1000.0;

/// Time constants of the slowest coefficients in half a run, fewer than which have gone nowhere yet.
const LEAST_TIMES: f64 = 3.0;

/// Steps and step sizes that would bring a distance below the bar, where it falls with either of them.
struct Advice {
    why: String,
    /// Times as many steps.
    steps: f64,
    /// Step sizes, as a share of those now.
    size: f64,
}

/// Why a distance above `bar` refutes nothing yet; `None` where the distance has arrived, and stays above. What the arms of
/// constant steps say of each other excuses none of decaying steps: only its own course and step sizes do.
pub(super) fn advice(way: &OnTheWay<'_>, part: Part, bar: f64) -> Option<String> {
    let found = match way.arm.steps {
        Steps::Constant(_) => {
            by_step_size(way, part, bar).or_else(|| by_steps(way, part, bar)).or_else(|| by_rate(way))
        }
        Steps::Decaying(_) => by_steps(way, part, bar).or_else(|| by_rate(way)),
    };
    let Advice { why, steps, size } = found.filter(|advice| advice.steps > 1.0)?;
    if steps > MOST_TIMES {
        return Some(format!("at these steps: {why}; not within {MOST_TIMES} times as many"));
    }
    let settings = way.settings;
    let mut text = format!("at these steps: {why}; run --set arms.steps={:.0}", (settings.steps as f64 * steps).ceil());
    if size < 1.0 {
        let sizes: Vec<String> = settings.step_sizes.iter().map(|step_size| short(step_size * size)).collect();
        text.push_str(&format!(" --set 'arms.step_sizes=[{}]'", sizes.join(", ")));
    }
    Some(text)
}

/// The distance at step size 0, extrapolated from the two smallest.
fn by_step_size(way: &OnTheWay<'_>, part: Part, bar: f64) -> Option<Advice> {
    let arms = way.measured.constant(way.mode);
    let [.., (larger, coarse), (smaller, fine)] = arms.as_slice() else { return None };
    let (theta, ratio) = (way.theta(fine), larger / smaller);
    let mean = |arm: &ArmMeasurements| mean(&arm.distances(way.solved).iter().map(part).collect::<Vec<_>>()).value;
    let (far, near) = (mean(coarse), mean(fine));
    let least = way.least(part, &way.theta(coarse), &theta, 1.0 / (ratio - 1.0));
    let power = ((far / near).ln() / ratio.ln()).clamp(SLOWEST_POWER, 1.0);
    let steps = (near / (AIM * bar)).powf(1.0 / power);
    let why = format!("the distance still falls with the step size, from {} at the next larger", short(far));
    (far > near && near > bar && least <= bar).then_some(Advice { why, steps, size: 1.0 / steps })
}

/// The distance after any number of steps, extrapolated from half of them and all.
fn by_steps(way: &OnTheWay<'_>, part: Part, bar: f64) -> Option<Advice> {
    let arm = way.arm;
    let (half, end) = (arm.halfway.theta(way.solved.case.model.coefficients()), way.theta(arm));
    let distance = |theta: &DVector<f64>| part(&way.solved.distance(way.mode, theta));
    let (far, near) = (distance(&half), distance(&end));
    let least = way.least(part, &half, &end, 1.0);
    let power = ((far / near).ln() / 2.0_f64.ln()).clamp(SLOWEST_POWER, 1.0);
    let steps = (near / (AIM * bar)).powf(1.0 / power).max(2.0);
    let why = format!("the distance still falls with the steps, from {} at half of them", short(far));
    (far > near && near > bar && least <= bar).then_some(Advice { why, steps, size: 1.0 })
}

/// A distance that falls more slowly than with this power of steps or step size is extrapolated as if with it.
const SLOWEST_POWER: f64 = 0.25;

/// Points of an extrapolation that are looked at.
const PLACES: usize = 20;

impl OnTheWay<'_> {
    fn theta(&self, arm: &ArmMeasurements) -> DVector<f64> {
        arm.theta(self.solved.case.model.coefficients())
    }

    /// How near the means over the runs come to the target if they continue in the direction from `far` to `near`, by up to
    /// `most` times as much. What is left falls like the first power of steps or step size, or faster, so that this is as far
    /// as they can go; and towards another point than where they go they do not come near.
    fn least(&self, part: Part, far: &DVector<f64>, near: &DVector<f64>, most: f64) -> f64 {
        let at = |place: usize| near + (near - far) * (most * place as f64 / PLACES as f64);
        (0..=PLACES).map(|place| part(&self.solved.distance(self.mode, &at(place)))).fold(f64::INFINITY, f64::min)
    }
}

/// Too few steps for the slowest of the coefficients that count.
fn by_rate(way: &OnTheWay<'_>) -> Option<Advice> {
    let decay_to = way.settings.decay_to;
    let size = match way.arm.steps {
        Steps::Constant(size) => size,
        // Mean over the run: step t of T has size / sqrt(1 + (decay_to^-2 - 1) t / T).
        Steps::Decaying(size) => size * 2.0 * decay_to / (1.0 + decay_to),
    };
    let rate = slowest_rate(way.solved, way.mode)?.max(0.0) * size * way.solved.units.step;
    let times = rate * way.settings.steps as f64 / 2.0;
    let why = format!("half of them are {} time constants of the slowest coefficients", short(times));
    (times < LEAST_TIMES).then_some(Advice { why, steps: 2.0 * LEAST_TIMES / times, size: 1.0 })
}

/// The curvature of the loss in the factors along the slowest coefficients of the target, of those that are not small: the
/// least eigenvalue of D^(1/2) H D^(1/2), D being what the factors of a coefficient multiply its curvature with.
fn slowest_rate(solved: &SolvedCase, mode: Mode) -> Option<f64> {
    let theta = &solved.target(mode)?.solution;
    let weights: Vec<f64> = match &solved.case.model {
        SimpleModel::Diagonal { .. } => theta.iter().map(|x| 4.0 * x.abs()).collect(),
        SimpleModel::Group { groups } => {
            let weight = |group: &std::ops::Range<usize>| {
                let norm = theta.rows(group.start, group.len()).norm();
                std::iter::repeat_n(norm / (group.len() as f64).sqrt(), group.len())
            };
            groups.iter().flat_map(weight).collect()
        }
        SimpleModel::TwoLayer { rows, columns, .. } => {
            let matrix = DMatrix::from_column_slice(*rows, *columns, theta.as_slice());
            let values = super::convex::singular_values(&matrix);
            let least = values.iter().copied().filter(|value| *value > SMALL * values[0]).fold(f64::INFINITY, f64::min);
            let mean = solved.loss.hessian.trace() / solved.loss.hessian.nrows() as f64;
            return Some(2.0 * least * mean);
        }
    };
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let support: Vec<usize> = (0..weights.len()).filter(|at| weights[*at] > SMALL * largest).collect();
    let scaled = DMatrix::from_fn(support.len(), support.len(), |i, j| {
        let (a, b) = (support[i], support[j]);
        (weights[a] * weights[b]).sqrt() * solved.loss.hessian[(a, b)]
    });
    (!support.is_empty()).then(|| scaled.symmetric_eigenvalues().min())
}

/// Coefficients below this share of the largest hardly count in a distance.
const SMALL: f64 = 0.1;
