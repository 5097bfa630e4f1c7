//! The trace of a curvature matrix by Hutchinson's estimator.

use std::ops::Range;

use crate::{gpu::Gpu, noise::NoisePart};

use super::{AnalysisError, Curvature, CurvatureProduct, Subject, spectrum::rademacher};

/// A trace with its statistical error.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TraceEstimate {
    /// Mean over the probes.
    pub trace: f64,
    /// Standard deviation of the mean; infinite for a single probe, which says nothing of the spread.
    pub standard_error: f64,
    /// Probes.
    pub probes: u32,
    /// The share of each parameter tensor, in the model's order.
    pub tensors: Vec<f64>,
}

impl TraceEstimate {
    /// Whether there are probes enough for a standard error; JSON has null where not.
    #[must_use]
    pub fn has_error(&self) -> bool {
        self.standard_error.is_finite()
    }
}

/// The share of a group of weights in a trace: the trace of their own block of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct GroupTrace {
    /// Mean over the probes.
    pub trace: f64,
    /// Standard deviation of the mean; infinite for a single probe.
    pub standard_error: f64,
}

/// How to estimate.
#[derive(Clone, Copy, Debug)]
pub struct TraceOptions {
    /// Most probes: Rademacher vectors.
    pub probes: u32,
    /// Stop once the standard error is below this share of the trace, but not before [`MIN_PROBES`]; 0 for never.
    pub tolerance: f64,
    /// Seed of the probes.
    pub seed: u64,
    /// Of which matrix.
    pub curvature: Curvature,
}

/// Probes before a standard error is believed.
pub const MIN_PROBES: u32 = 8;

impl Default for TraceOptions {
    fn default() -> Self {
        Self { probes: 8, tolerance: 0.0, seed: 0x7261_6365, curvature: Curvature::Hessian }
    }
}

/// tr H = E v' H v over Rademacher v, with exact products H v.
///
/// Source: Hutchinson, Comm. Stat. 1989.
///
/// # Errors
/// Those of the device.
pub fn hessian_trace(gpu: &Gpu, subject: &Subject<'_>, options: TraceOptions) -> Result<TraceEstimate, AnalysisError> {
    grouped_trace(gpu, subject, options, &[]).map(|(estimate, _)| estimate)
}

/// The same with the shares of groups of weights, from the same products: E sum of v_i (H v)_i over a group's elements i is the sum of
/// its H_ii. As many groups as there are cost nothing more; the tolerance is that of the whole trace.
///
/// # Errors
/// Those of the device.
pub fn grouped_trace(
    gpu: &Gpu,
    subject: &Subject<'_>,
    options: TraceOptions,
    groups: &[Vec<NoisePart>],
) -> Result<(TraceEstimate, Vec<GroupTrace>), AnalysisError> {
    let product = CurvatureProduct::new(gpu, subject, options.curvature)?;
    let spans = subject.arena.layout.spans();
    let mut probes: Vec<Shares> = Vec::new();
    for probe in 0..options.probes {
        let direction = rademacher(subject, options.seed, probe);
        let curved = product.apply(&direction)?;
        let share = |elements: Range<usize>| -> f64 {
            direction[elements.clone()].iter().zip(&curved[elements]).map(|(v, c)| f64::from(*v) * c).sum()
        };
        let part = |part: &NoisePart| {
            let start = spans[part.tensor].start;
            share(start + part.elements.start..start + part.elements.end)
        };
        probes.push(Shares {
            tensors: spans.iter().map(|span| share(span.start..span.start + span.len)).collect(),
            groups: groups.iter().map(|group| group.iter().map(part).sum()).collect(),
        });
        let so_far = summarise(&probes);
        if probe + 1 >= MIN_PROBES && so_far.standard_error < options.tolerance * so_far.trace.abs() {
            break;
        }
    }
    let group = |group: usize| mean(&probes.iter().map(|shares| shares.groups[group]).collect::<Vec<_>>());
    Ok((summarise(&probes), (0..groups.len()).map(group).collect()))
}

/// What one probe says of v' H v.
struct Shares {
    tensors: Vec<f64>,
    groups: Vec<f64>,
}

/// Mean over the probes, with its standard error.
fn mean(values: &[f64]) -> GroupTrace {
    let count = values.len().max(1) as f64;
    let trace = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - trace).powi(2)).sum();
    let standard_error = if values.len() > 1 { (squares / (count - 1.0) / count).sqrt() } else { f64::INFINITY };
    GroupTrace { trace, standard_error }
}

fn summarise(probes: &[Shares]) -> TraceEstimate {
    let GroupTrace { trace, standard_error } =
        mean(&probes.iter().map(|shares| shares.tensors.iter().sum()).collect::<Vec<_>>());
    let tensor = |tensor: usize| mean(&probes.iter().map(|shares| shares.tensors[tensor]).collect::<Vec<_>>()).trace;
    let tensors = (0..probes.first().map_or(0, |shares| shares.tensors.len())).map(tensor).collect();
    TraceEstimate { trace, standard_error, probes: probes.len() as u32, tensors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_has_no_standard_error_to_believe() {
        let shares = |tensors: [f64; 2]| Shares { tensors: tensors.to_vec(), groups: Vec::new() };
        let one = summarise(&[shares([1.0, 2.0])]);
        assert!(one.trace == 3.0 && one.standard_error.is_infinite());
        let two = summarise(&[shares([1.0, 2.0]), shares([2.0, 3.0])]);
        assert!((two.standard_error - 1.0).abs() < 1e-12 && two.tensors == [1.5, 2.5]);
    }
}
