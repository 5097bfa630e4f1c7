//! Panels and tables of variances over the width.

use crate::{
    noise::Mode,
    report::{AxisScale, Figure, Panel, Series, SeriesPoint, Table},
};

use super::{
    Definition,
    numbers::short,
    simple::NOISY,
    statistics::{Estimate, mean},
    width_measurements::{Family, Quantity, SECOND_ORDER, TOTALS},
};

fn estimates(family: &Family, mode: Mode, quantity: Quantity) -> Vec<(usize, Estimate)> {
    let estimate = |blocks: &[crate::analysis::BlockVariance]| mean(&blocks.iter().map(quantity).collect::<Vec<_>>());
    family.in_mode(mode).map(|point| (point.width, estimate(&point.blocks))).collect()
}

fn series(label: &str, family: &Family, mode: Mode, quantity: Quantity) -> Series {
    Series::banded(label, estimates(family, mode, quantity).into_iter().map(point).collect())
}

/// A point of a line over the width, on a logarithmic axis.
pub(super) fn point((width, Estimate { value, interval }): (usize, Estimate)) -> SeriesPoint {
    let band = (interval[0] > 0.0 && interval[1].is_finite()).then_some((interval[0], interval[1]));
    SeriesPoint { x: width as f64, y: value, band }
}

/// A cell of a table.
pub(super) fn cell(Estimate { value, interval }: Estimate) -> String {
    format!("{} ± {}", short(value), short((interval[1] - interval[0]) / 2.0))
}

/// Output, loss and gradient, a row a family.
pub(super) fn variances(definition: &Definition, families: &[Family], sigma: f64) -> Figure {
    let panel = |family: &Family, (name, quantity): (&str, Quantity)| {
        let mut lines: Vec<Series> = NOISY.iter().map(|mode| series(mode.name(), family, *mode, quantity)).collect();
        if let Some((_, second)) = SECOND_ORDER.iter().find(|(watched, _)| *watched == name) {
            let part = |mode: Mode| series(&format!("{mode}, second order"), family, mode, *second);
            lines.extend([Mode::Model, Mode::All].map(part));
        }
        Panel {
            title: format!("{}: {name}", family.label),
            x_label: "width".to_owned(),
            y_label: "variance over the noise".to_owned(),
            x_scale: AxisScale::Log,
            y_scale: AxisScale::Log,
            series: lines,
            ..Panel::default()
        }
    };
    Figure {
        title: definition.title.clone(),
        caption: format!(
            "Variance over noise of sigma {sigma} with 95 % bands: of an output (mean over outputs and samples), of the mean \
             loss, of an element of the gradient (mean over all parameters). Second order: the part that is even in the noise."
        ),
        panels: families.iter().flat_map(|family| TOTALS.map(|total| panel(family, total))).collect(),
    }
}

/// Variances of a family.
pub(super) fn table(family: &Family) -> Table {
    let mut rows = Vec::new();
    for mode in NOISY {
        let columns: Vec<Vec<(usize, Estimate)>> =
            TOTALS.iter().chain(&SECOND_ORDER).map(|(_, quantity)| estimates(family, mode, *quantity)).collect();
        for (index, (width, _)) in columns[0].iter().enumerate() {
            let cells = columns.iter().map(|column| cell(column[index].1));
            rows.push([mode.to_string(), width.to_string()].into_iter().chain(cells).collect());
        }
    }
    let headers = ["mode", "width", "output", "loss", "gradient", "output, second order", "loss, second order"];
    Table::new(&format!("Variance over the noise (95 %), {}", family.label), &headers, rows)
}
