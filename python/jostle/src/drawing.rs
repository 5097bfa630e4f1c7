//! Figures of one's own numbers, in the report's style.

use jostle::report::{AxisScale, Figure, Panel, Series};
use pyo3::prelude::*;

use crate::failure::Failure;

/// A pair of axes.
#[derive(Debug, FromPyObject)]
pub struct Axes {
    #[pyo3(item)]
    title: String,
    #[pyo3(item)]
    x_label: String,
    #[pyo3(item)]
    y_label: String,
    /// Logarithmic ordinates.
    #[pyo3(item)]
    log: bool,
    /// Label, abscissas and ordinates of each line.
    #[pyo3(item)]
    lines: Vec<(String, Vec<f64>, Vec<f64>)>,
}

/// Panels of lines as SVG.
#[pyfunction]
pub fn draw(py: Python<'_>, title: String, panels: Vec<Axes>) -> PyResult<String> {
    let panel = |axes: Axes| Panel {
        title: axes.title,
        x_label: axes.x_label,
        y_label: axes.y_label,
        y_scale: if axes.log { AxisScale::Log } else { AxisScale::Linear },
        series: axes.lines.into_iter().map(|(label, x, y)| Series::line(&label, x.into_iter().zip(y))).collect(),
        ..Panel::default()
    };
    let figure = Figure { title, caption: String::new(), panels: panels.into_iter().map(panel).collect() };
    Ok(py.detach(|| figure.to_svg()).map_err(Failure::from)?)
}
