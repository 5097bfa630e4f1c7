//! What was measured, drawn and tabled.

use crate::{
    experiments::statistics::{Estimate, mean, paired_differences},
    noise::Mode,
    report::{AxisScale, Figure, MeanSd, Panel, Series, SeriesPoint, Table},
};

use super::{
    measurements::{Family, Level, Measurements, Tested, Tuned},
    settings::MODES,
};

/// A quantity of each run of an arm.
type Quantity = fn(&Tested) -> Vec<f64>;

/// Test accuracy over the width, a panel a depth.
pub(super) fn over_widths(families: &[Family], data: &str) -> Figure {
    let panel = |family: &Family| {
        let widths = family.widths();
        let mode_lines = |mode: Mode| {
            let tested = widths.iter().filter_map(|width| Some((*width as f64, family.tested(*width, mode)?)));
            // Bars side by side, or one would hide the other.
            lines(mode, tested, |x, place| x * (0.07 * place).exp2(), Tested::accuracies)
        };
        Panel {
            title: format!("{}, sigma {}{}", family.label, family.sigma, breaks_down(family)),
            x_label: "width".to_owned(),
            y_label: "test accuracy %".to_owned(),
            x_scale: AxisScale::Log,
            series: MODES.into_iter().flat_map(mode_lines).collect(),
            ..Panel::default()
        }
    };
    let percent = families.first().map_or(0.0, |family| 100.0 * family.label_noise);
    let runs =
        families.iter().flat_map(|family| &family.points).map(|point| point.tested.test.len()).min().unwrap_or(0);
    Figure {
        title: format!("Noise on the weights over the width: {data}, {percent:.0} % of the training labels replaced"),
        caption: format!(
            "Test accuracy at the clean weights without noise, with noise on all layers, and on one layer a step: mean and \
             standard deviation over {runs} seeds, each with its own images, labels and weights. A line breaks where a run \
             diverges."
        ),
        panels: families.iter().map(panel).collect(),
    }
}

/// Where mode all diverges, for a title.
fn breaks_down(family: &Family) -> String {
    let broken = |width: &usize| family.tested(*width, Mode::All).is_some_and(|tested| tested.diverged() > 0);
    let first = family.widths().into_iter().find(broken);
    first.map_or(String::new(), |width| format!(" (all diverges at {width})"))
}

/// A line through the means, and bars of one standard deviation either way; a mean over runs that are left would show the
/// lucky ones, so that the line breaks where one diverged.
fn lines<'a>(
    mode: Mode,
    tested: impl Iterator<Item = (f64, &'a Tested)>,
    aside: impl Fn(f64, f64) -> f64,
    quantity: Quantity,
) -> [Series; 2] {
    let place = MODES.iter().position(|other| *other == mode).map_or(0.0, |at| at as f64 - 1.0);
    let point = |(x, tested): (f64, &Tested)| {
        let MeanSd { mean, sd, count } = MeanSd::new(quantity(tested));
        let y = if count == tested.test.len() { mean } else { f64::NAN };
        let band = sd.map(|sd| (mean - sd, mean + sd)).filter(|_| y.is_finite());
        SeriesPoint { x: aside(x, place), y, band }
    };
    let bars: Vec<SeriesPoint> = tested.map(point).collect();
    let line = Series::line(mode.name(), bars.iter().map(|point| (point.x, point.y)));
    [line, Series { scatter: true, ..Series::banded(mode.name(), bars) }]
}

/// Test accuracy and loss over the share of replaced labels.
pub(super) fn over_levels(levels: &[Level], data: &str) -> Figure {
    let panel = |(title, y_label, quantity): (&str, &str, Quantity)| {
        let mode_lines = |mode: Mode| {
            let tested = levels.iter().filter_map(|level| Some((100.0 * level.label_noise, level.tested(mode)?)));
            lines(mode, tested, |x, place| x + 0.5 * place, quantity)
        };
        Panel {
            title: title.to_owned(),
            x_label: "labels replaced %".to_owned(),
            y_label: y_label.to_owned(),
            series: MODES.into_iter().flat_map(mode_lines).collect(),
            ..Panel::default()
        }
    };
    Figure {
        title: format!("Noise on the weights over label noise: {data}"),
        caption:
            "Test accuracy and loss at the clean weights, sigma chosen by validation for each share and mode: mean and \
                  standard deviation over seeds."
                .to_owned(),
        panels: vec![
            panel(("Test accuracy", "test accuracy %", Tested::accuracies)),
            panel(("Test loss", "mean loss", Tested::losses)),
        ],
    }
}

/// Mean and deviation, and how many runs diverged where some did.
fn cell(tested: &Tested, quantity: Quantity, decimals: usize) -> String {
    let text = MeanSd::new(quantity(tested)).text(decimals);
    match tested.diverged() {
        0 => text,
        count => format!("{text} ({count} of {} diverged)", tested.test.len()),
    }
}

/// A mode less another, with the interval of the mean over seeds.
fn difference(with: Option<&Tested>, without: Option<&Tested>, quantity: Quantity, decimals: usize) -> String {
    let (Some(with), Some(without)) = (with, without) else { return "-".to_owned() };
    let Estimate { value, interval: [low, high] } = mean(&paired_differences(&quantity(with), &quantity(without)));
    format!("{value:+.decimals$} ({low:+.decimals$} to {high:+.decimals$})")
}

/// Scores of the tested runs, and the validation scores that chose their sigmas.
pub(super) fn levels_tables(levels: &[Level]) -> Vec<Table> {
    let tested = |level: &Level| -> Vec<Vec<String>> {
        let row = |tested: &Tested| {
            let none = level.tested(Mode::None).filter(|_| tested.mode != Mode::None);
            vec![
                format!("{:.0}", 100.0 * level.label_noise),
                tested.mode.to_string(),
                tested.sigma.to_string(),
                cell(tested, Tested::accuracies, 2),
                cell(tested, Tested::losses, 4),
                difference(Some(tested), none, Tested::accuracies, 2),
                difference(Some(tested), none, Tested::losses, 4),
            ]
        };
        level.tested.iter().map(row).collect()
    };
    let tuned = |level: &Level| -> Vec<Vec<String>> {
        let row = |tuned: &Tuned| {
            let scores = tuned.validation.iter().flatten();
            let accuracy = MeanSd::new(scores.clone().map(|score| 100.0 * score.accuracy));
            let diverged = tuned.validation.iter().filter(|run| run.is_none()).count();
            vec![
                format!("{:.0}", 100.0 * level.label_noise),
                tuned.mode.to_string(),
                tuned.sigma.to_string(),
                MeanSd::new(scores.map(|score| score.loss)).text(4),
                accuracy.text(2),
                diverged.to_string(),
            ]
        };
        level.tuned.iter().map(row).collect()
    };
    let differences = "less none, 95 % (exploratory)";
    let accuracy = format!("accuracy {differences}");
    let loss = format!("loss {differences}");
    let headers = ["labels replaced %", "mode", "sigma", "test accuracy %", "test loss", &accuracy, &loss];
    let title = "Over label noise: test scores, mean ± sd over seeds, and differences paired over them";
    let test_scores = Table::new(title, &headers, levels.iter().flat_map(tested).collect());
    let headers = ["labels replaced %", "mode", "sigma", "validation loss", "validation accuracy %", "diverged"];
    let title = "The choice of sigma: validation scores of the tuning runs, mean ± sd over their seeds";
    vec![test_scores, Table::new(title, &headers, levels.iter().flat_map(tuned).collect())]
}

/// Scores at each width, a row a width.
pub(super) fn widths_table(family: &Family) -> Table {
    let row = |width: usize| {
        let text = |mode: Mode, quantity, decimals| {
            family.tested(width, mode).map_or("-".to_owned(), |tested| cell(tested, quantity, decimals))
        };
        let mut row = vec![width.to_string()];
        row.extend(MODES.map(|mode| text(mode, Tested::accuracies as Quantity, 2)));
        row.extend(MODES.map(|mode| text(mode, Tested::losses as fn(&Tested) -> Vec<f64>, 3)));
        let [none, all, layer] = MODES.map(|mode| family.tested(width, mode));
        row.extend([none, all].map(|other| difference(layer, other, Tested::accuracies, 2)));
        row
    };
    let headers =
        ["width", "accuracy % none", "all", "layer", "loss none", "all", "layer", "layer less none", "layer less all"];
    let title = format!(
        "{}, sigma {}, {:.0} % of labels replaced: test scores, mean ± sd over seeds; accuracies' differences paired over \
         them, 95 % (exploratory, of runs that did not diverge)",
        family.label,
        family.sigma,
        100.0 * family.label_noise
    );
    Table::new(&title, &headers, family.widths().into_iter().map(row).collect())
}

/// How many runs diverged.
pub(super) fn notes(measured: &Measurements) -> Vec<String> {
    let mut notes = Vec::new();
    for family in &measured.families {
        let note = |mode: Mode| {
            let diverged = |width: usize| {
                let tested = family.tested(width, mode)?;
                (tested.diverged() > 0).then(|| format!("{} of {} at {width}", tested.diverged(), tested.test.len()))
            };
            let broken: Vec<String> = family.widths().into_iter().filter_map(diverged).collect();
            (!broken.is_empty()).then(|| format!("{}: runs of {mode} diverged, {}.", family.label, broken.join(", ")))
        };
        notes.extend(MODES.into_iter().filter_map(note));
    }
    notes
}
