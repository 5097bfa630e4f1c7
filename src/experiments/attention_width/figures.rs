//! Panels and tables of an attention's variances over the width.

use crate::{
    experiments::{
        Definition,
        numbers::short,
        statistics::{Estimate, mean},
        width_figures::{cell, point},
    },
    report::{AxisScale, Figure, Panel, Series, Table},
};

use super::measurements::{ARMS, Arm, Grouped, Measurements, Quantity, Unit};

fn estimates(measured: &Measurements, arm: Arm, quantity: Quantity) -> Vec<(usize, Estimate)> {
    measured.under(arm).map(|point| (point.width, mean(&point.values(quantity)))).collect()
}

/// A line of a panel: whether its even part is left out where queries and keys are apart, its name behind the grouping's, and what
/// it is of.
type Line = (bool, &'static str, Quantity);

const LOGITS: [Line; 2] = [(false, "", |block| block.logits.odd), (true, ", even", |block| block.logits.even)];
const OUTPUT: [Line; 1] = [(false, "", |block| block.output.total())];
const LOSS: [Line; 1] = [(false, "", |block| block.loss.total())];

/// Logits, output and loss, a row for sigma that is the same at every width, a row for one that falls.
pub(super) fn figure(definition: &Definition, measured: &Measurements, sigma: f64, share: f64) -> Figure {
    let panel = |unit: Unit, title: &str, lines: &[Line]| {
        let arms = Grouped::ALL.map(|grouped| Arm { unit, grouped });
        let drawn = lines.iter().flat_map(|line| arms.map(|arm| (line, arm)));
        let series = drawn.filter(|((even, ..), arm)| !(*even && arm.grouped == Grouped::Projection));
        let series = series.map(|((_, part, quantity), arm)| {
            let points = estimates(measured, arm, *quantity).into_iter().map(point).collect();
            Series::banded(&format!("{}{part}", arm.grouped.words()), points)
        });
        Panel {
            title: format!("{title}, {}", unit.words()),
            x_label: "C".to_owned(),
            y_label: "variance over the noise".to_owned(),
            x_scale: AxisScale::Log,
            y_scale: AxisScale::Log,
            series: series.collect(),
            ..Panel::default()
        }
    };
    let row = |unit| {
        [("Logits", &LOGITS[..]), ("Output", &OUTPUT[..]), ("Loss", &LOSS[..])]
            .map(|(title, lines)| panel(unit, title, lines))
    };
    Figure {
        title: definition.title.clone(),
        caption: format!(
            "Variance over noise of sigma {} (upper row) and of {} / sqrt(C) filter norms (lower row) with 95 % bands: of an attention \
             logit, mean over heads and pairs of tokens, its part that is odd in the noise and the even one (not drawn where it is \
             rounding: layer by projection); of an output, mean over outputs and tokens; of the mean loss.",
            short(sigma),
            short(share)
        ),
        panels: [Unit::Absolute, Unit::Share].into_iter().flat_map(row).collect(),
    }
}

/// Every variance in its two parts, a table for each unit.
pub(super) fn tables(measured: &Measurements) -> Vec<Table> {
    const COLUMNS: [Quantity; 6] = [
        |block| block.logits.odd,
        |block| block.logits.even,
        |block| block.output.odd,
        |block| block.output.even,
        |block| block.loss.odd,
        |block| block.loss.even,
    ];
    let headers =
        ["noise", "C", "logits, odd", "logits, even", "output, odd", "output, even", "loss, odd", "loss, even"];
    let table = |unit: Unit| {
        let mut rows = Vec::new();
        for arm in ARMS.iter().filter(|arm| arm.unit == unit) {
            for point in measured.under(*arm) {
                let cells = COLUMNS.map(|quantity| cell(mean(&point.values(quantity))));
                rows.push([arm.grouped.words(), point.width.to_string()].into_iter().chain(cells).collect());
            }
        }
        Table::new(&format!("Variance over the noise (95 %), {}", unit.words()), &headers, rows)
    };
    Unit::ALL.map(table).into()
}
