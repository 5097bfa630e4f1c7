//! Figures of runs.

use jostle::{
    report::{AxisScale, Figure, Panel, Series, band},
    train::{ArmRuns, EpochRecord},
};

/// An epoch's quantity.
type Quantity = fn(&EpochRecord) -> f64;

fn curve(epochs: &[EpochRecord], quantity: Quantity) -> Vec<(f64, f64)> {
    epochs.iter().map(|record| (record.epoch as f64, quantity(record))).collect()
}

fn panel(title: &str, y_label: &str, y_scale: AxisScale, series: Vec<Series>) -> Panel {
    let x_label = "epoch".to_owned();
    Panel { title: title.to_owned(), x_label, y_label: y_label.to_owned(), y_scale, series, ..Panel::default() }
}

/// The curves of one run.
pub(super) fn run(title: &str, epochs: &[EpochRecord]) -> Figure {
    let pair = |train: Quantity, test: Quantity| {
        vec![Series::line("train", curve(epochs, train)), Series::line("test", curve(epochs, test))]
    };
    let l2 = vec![Series::line("l2 norm of the weights", curve(epochs, |e| e.l2_norm))];
    Figure {
        title: title.to_owned(),
        caption: "Loss, accuracy and weight norm after each epoch, at the clean weights.".to_owned(),
        panels: vec![
            panel("Loss", "mean loss", AxisScale::Log, pair(|e| e.train_loss, |e| e.test_loss)),
            panel("Accuracy", "accuracy", AxisScale::Linear, pair(|e| e.train_accuracy, |e| e.test_accuracy)),
            panel("Weights", "l2 norm", AxisScale::Linear, l2),
        ],
    }
}

/// Arms side by side, mean and standard deviation over seeds.
pub(super) fn arms(title: &str, arms: &[ArmRuns]) -> Figure {
    let series = |quantity: Quantity| -> Vec<Series> {
        let of = |arm: &ArmRuns| {
            let curves: Vec<_> = arm.runs.iter().map(|run| curve(&run.epochs, quantity)).collect();
            Series::banded(&arm.arm.label, band(&curves))
        };
        arms.iter().map(of).collect()
    };
    let mut panels = vec![
        panel("Test accuracy", "accuracy", AxisScale::Linear, series(|e| e.test_accuracy)),
        panel("Test loss", "mean loss", AxisScale::Log, series(|e| e.test_loss)),
        panel("Training loss", "mean loss", AxisScale::Log, series(|e| e.train_loss)),
    ];
    if arms.iter().any(|arm| !arm.traces.is_empty()) {
        panels.push(traces(arms));
    }
    Figure {
        title: title.to_owned(),
        caption: "Mean over seeds after each epoch, at the clean weights; bands: one standard deviation over seeds. \
                  Hessian trace of the training loss at the end, a mark a seed, arms in the order of the legend."
            .to_owned(),
        panels,
    }
}

/// The Hessian trace of every run, a column of marks an arm.
fn traces(arms: &[ArmRuns]) -> Panel {
    let marks = |(index, arm): (usize, &ArmRuns)| {
        let points = arm.traces.iter().map(|of| (index as f64 + 1.0, of.trace));
        Series { scatter: true, ..Series::line(&arm.arm.label, points) }
    };
    Panel {
        title: "Hessian trace at the end".to_owned(),
        x_label: "arm".to_owned(),
        y_label: "trace of the Hessian".to_owned(),
        series: arms.iter().enumerate().map(marks).collect(),
        ..Panel::default()
    }
}
