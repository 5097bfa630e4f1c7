//! The figure of a spectrum.

use crate::{
    analysis::Spectrum,
    report::{AxisScale, Figure, Panel, Series},
};

/// Density below which the figure draws nothing.
const LEAST_DENSITY: f64 = 1e-8;

/// The density of the eigenvalues of the Hessian of a model.
#[must_use]
pub fn spectrum_figure(model: &str, spectrum: &Spectrum) -> Figure {
    // Where there is nothing the line breaks: a logarithmic axis has no place for it.
    let place = |(x, density)| (x, if density > LEAST_DENSITY { density } else { f64::NAN });
    let density = spectrum.density(400).into_iter().map(place);
    Figure {
        title: format!("Spectrum of the Hessian: {model}"),
        caption:
            "Density of the eigenvalues by stochastic Lanczos quadrature, each value widened by a hundredth of the \
                  extent; it integrates to 1."
                .to_owned(),
        panels: vec![Panel {
            title: "Density of eigenvalues".to_owned(),
            x_label: "eigenvalue".to_owned(),
            y_label: "density".to_owned(),
            y_scale: AxisScale::Log,
            series: vec![Series::line("Hessian", density)],
            ..Panel::default()
        }],
    }
}
