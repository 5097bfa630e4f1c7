//! Whether a distance above its bar is still on the way down, and how many steps would decide.

use nalgebra::{DMatrix, DVector};

use crate::noise::Mode;

use super::{
    outcome::short,
    penalties::CaseMeasurements,
    penalty_claims::Part,
    simple::{ArmSettings, Posed, SimpleModel},
    statistics::{CONFIDENCE, Uncertain},
};

/// A mode of a case.
pub(super) struct OnTheWay<'a> {
    pub(super) of: &'a CaseMeasurements,
    pub(super) posed: &'a Posed,
    pub(super) settings: &'a ArmSettings,
    pub(super) mode: Mode,
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

/// Why a distance above `bar` refutes nothing yet; `None` where the distance has arrived, and stays above.
pub(super) fn advice(way: &OnTheWay<'_>, part: Part, bar: f64) -> Option<String> {
    let Advice { why, steps, size } =
        by_step_size(way, part, bar).or_else(|| by_steps(way, part, bar)).or_else(|| by_rate(way))?;
    if steps.is_nan() || steps > MOST_TIMES {
        return Some(format!("at these steps: {why}; not within {MOST_TIMES} times as many"));
    }
    let settings = way.settings;
    let mut text = format!("at these steps: {why}; run --set arms.steps={:.0}", (settings.steps as f64 * steps).ceil());
    if size < 1.0 {
        let sizes: Vec<String> = settings.step_sizes.iter().map(|of| short(of * size)).collect();
        text.push_str(&format!(" --set 'arms.step_sizes=[{}]'", sizes.join(", ")));
    }
    Some(text)
}

/// The distance at step size 0 by the two smallest, where it falls in proportion to the step size.
fn by_step_size(way: &OnTheWay<'_>, part: Part, bar: f64) -> Option<Advice> {
    let arms = way.of.constant(way.mode);
    let [.., (larger, coarse), (smaller, fine)] = arms.as_slice() else { return None };
    let of = |arm: &super::penalties::ArmMeasurements| {
        Uncertain::mean(&arm.distances(way.posed).iter().map(part).collect::<Vec<_>>())
    };
    let (coarse, fine, ratio) = (of(coarse), of(fine), larger / smaller);
    let limit = fine.times(ratio / (ratio - 1.0)).plus(coarse.times(-1.0 / (ratio - 1.0)));
    let falls = coarse.value > fine.value && limit.at(CONFIDENCE).interval[0] <= bar;
    let power = ((coarse.value / fine.value).ln() / ratio.ln()).clamp(0.25, 1.0);
    let steps = (fine.value / (AIM * bar)).powf(1.0 / power);
    let why = format!("the distance still falls with the step size, to {} at none", short(limit.value.max(0.0)));
    falls.then_some(Advice { why, steps, size: 1.0 / steps })
}

/// The distance after any number of steps by those after half and after all, where it falls like 1 / steps.
fn by_steps(way: &OnTheWay<'_>, part: Part, bar: f64) -> Option<Advice> {
    let arm = way.of.finest(way.mode)?;
    let coefficients = way.posed.case.model.coefficients();
    let of = |theta: DVector<f64>| part(&way.posed.distance(way.mode, &theta));
    let (half, end) = (of(arm.halfway.theta(coefficients)), of(arm.theta(coefficients)));
    let limit = 2.0 * end - half;
    let power = ((half / end).ln() / 2.0_f64.ln()).clamp(0.25, 1.0);
    let steps = (end / (AIM * bar)).powf(1.0 / power).max(2.0);
    let why = format!("the distance still falls with the steps, from {} at half of them", short(half));
    (half > end && limit <= bar).then_some(Advice { why, steps, size: 1.0 })
}

/// Too few steps for the slowest of the coefficients that count.
fn by_rate(way: &OnTheWay<'_>) -> Option<Advice> {
    let smallest = way.settings.step_sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let rate = slowest_rate(way.posed, way.mode)? * smallest * way.posed.units.step;
    let times = rate * way.settings.steps as f64 / 2.0;
    let why = format!("half of them are {} time constants of the slowest coefficients", short(times));
    (times < LEAST_TIMES).then_some(Advice { why, steps: 2.0 * LEAST_TIMES / times, size: 1.0 })
}

/// The curvature of the loss in the factors along the slowest coefficients of the target, of those that are not small: the
/// least eigenvalue of D^(1/2) H D^(1/2), D being what the factors of a coefficient multiply its curvature with.
fn slowest_rate(posed: &Posed, mode: Mode) -> Option<f64> {
    let theta = &posed.target(mode)?.solution;
    let weights: Vec<f64> = match &posed.case.model {
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
            let mean = posed.loss.hessian.trace() / posed.loss.hessian.nrows() as f64;
            return Some(2.0 * least * mean);
        }
    };
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let support: Vec<usize> = (0..weights.len()).filter(|at| weights[*at] > SMALL * largest).collect();
    let scaled = DMatrix::from_fn(support.len(), support.len(), |i, j| {
        let (a, b) = (support[i], support[j]);
        (weights[a] * weights[b]).sqrt() * posed.loss.hessian[(a, b)]
    });
    (!support.is_empty()).then(|| scaled.symmetric_eigenvalues().min())
}

/// Coefficients below this share of the largest hardly count in a distance.
const SMALL: f64 = 0.1;
