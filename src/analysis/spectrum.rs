//! The spectrum of a curvature matrix by stochastic Lanczos quadrature, and its largest eigenvalues.

use crate::{gpu::Gpu, noise::probe};

use super::{AnalysisError, Curvature, CurvatureProduct, Ritz, Subject, lanczos};

/// How to look at a spectrum.
#[derive(Clone, Copy, Debug)]
pub struct SpectrumOptions {
    /// Lanczos steps, each a product over all samples.
    pub steps: usize,
    /// Random starts.
    pub starts: u32,
    /// Seed of the starts.
    pub seed: u64,
    /// Of which matrix.
    pub curvature: Curvature,
}

/// What products with random starts tell of a spectrum.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Spectrum {
    /// The quadrature of each start: values with weights that sum to 1.
    pub quadratures: Vec<Vec<Ritz>>,
}

/// Lanczos' method from Rademacher starts.
///
/// Source: Ubaru, Chen, Saad, SIAM J. Matrix Anal. 2017; for networks Ghorbani, Krishnan, Xiao, ICML 2019.
///
/// # Errors
/// Those of the device.
pub fn spectrum(gpu: &Gpu, subject: &Subject<'_>, options: SpectrumOptions) -> Result<Spectrum, AnalysisError> {
    let product = CurvatureProduct::new(gpu, subject, options.curvature)?;
    let quadrature = |start| lanczos(&rademacher(subject, options.seed, start), options.steps, |v| product.apply(v));
    Ok(Spectrum { quadratures: (0..options.starts).map(quadrature).collect::<Result<_, _>>()? })
}

/// A Rademacher vector laid out as the arenas, 0 in their padding.
pub(super) fn rademacher(subject: &Subject<'_>, seed: u64, number: u32) -> Vec<f32> {
    let mut direction = vec![0.0; subject.arena.layout.words()];
    for (tensor, span) in subject.arena.layout.spans().iter().enumerate() {
        for (element, v) in direction[span.start..][..span.len].iter_mut().enumerate() {
            *v = probe(seed, number, tensor as u32, element);
        }
    }
    direction
}

impl Spectrum {
    /// The `count` values of the first start that are largest in size.
    #[must_use]
    pub fn largest(&self, count: usize) -> Vec<Ritz> {
        let mut values = self.quadratures.first().cloned().unwrap_or_default();
        values.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
        values.truncate(count);
        values
    }

    /// (eigenvalue, density) at `points` places, the mean over starts, each value widened to a normal of a hundredth of
    /// the spectrum's extent; the density integrates to 1.
    #[must_use]
    pub fn density(&self, points: usize) -> Vec<(f64, f64)> {
        let values = || self.quadratures.iter().flatten().map(|ritz| ritz.value);
        let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
        if low > high {
            return Vec::new();
        }
        let width = (0.01 * (high - low)).max(f64::MIN_POSITIVE.sqrt());
        let (low, high) = (low - 4.0 * width, high + 4.0 * width);
        let height = 1.0 / (width * std::f64::consts::TAU.sqrt() * self.quadratures.len() as f64);
        let at = |x: f64| -> f64 {
            let bump = |ritz: &Ritz| ritz.weight * (-0.5 * ((x - ritz.value) / width).powi(2)).exp();
            height * self.quadratures.iter().flatten().map(bump).sum::<f64>()
        };
        let place = |i: usize| low + (high - low) * i as f64 / points.saturating_sub(1).max(1) as f64;
        (0..points).map(place).map(|x| (x, at(x))).collect()
    }
}
