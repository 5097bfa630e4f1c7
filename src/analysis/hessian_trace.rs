//! The trace of a curvature matrix by Hutchinson's estimator.

use crate::gpu::Gpu;

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
    let product = CurvatureProduct::new(gpu, subject, options.curvature)?;
    let spans = subject.arena.layout.spans();
    let mut shares: Vec<Vec<f64>> = Vec::new();
    for probe in 0..options.probes {
        let direction = rademacher(subject, options.seed, probe);
        let curved = product.apply(&direction)?;
        let share = |start: usize, len: usize| {
            direction[start..][..len].iter().zip(&curved[start..][..len]).map(|(v, c)| f64::from(*v) * c).sum()
        };
        shares.push(spans.iter().map(|span| share(span.start, span.len)).collect());
        let so_far = summarise(&shares);
        if probe + 1 >= MIN_PROBES && so_far.standard_error < options.tolerance * so_far.trace.abs() {
            break;
        }
    }
    Ok(summarise(&shares))
}

/// `shares`: per probe, the quotient of each tensor.
fn summarise(shares: &[Vec<f64>]) -> TraceEstimate {
    let count = shares.len().max(1) as f64;
    let quotients: Vec<f64> = shares.iter().map(|tensors| tensors.iter().sum()).collect();
    let trace = quotients.iter().sum::<f64>() / count;
    let squares: f64 = quotients.iter().map(|q| (q - trace).powi(2)).sum();
    let standard_error = if shares.len() > 1 { (squares / (count - 1.0) / count).sqrt() } else { f64::INFINITY };
    let tensors = (0..shares.first().map_or(0, Vec::len))
        .map(|tensor| shares.iter().map(|share| share[tensor]).sum::<f64>() / count)
        .collect();
    TraceEstimate { trace, standard_error, probes: shares.len() as u32, tensors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_has_no_standard_error_to_believe() {
        let one = summarise(&[vec![1.0, 2.0]]);
        assert!(one.trace == 3.0 && one.standard_error.is_infinite());
        let two = summarise(&[vec![1.0, 2.0], vec![2.0, 3.0]]);
        assert!((two.standard_error - 1.0).abs() < 1e-12 && two.tensors == [1.5, 2.5]);
    }
}
