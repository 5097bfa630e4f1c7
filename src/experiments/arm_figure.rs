//! Arms of training runs side by side, over seeds.

use crate::{
    analysis::TraceEstimate,
    report::{AxisScale, Figure, Panel, Series, band},
    train::{ArmRuns, EpochRecord, Traces},
};

/// An epoch's quantity.
type Quantity = fn(&EpochRecord) -> f64;

/// Accuracies, losses, norms of the weights, and traces where there are any: mean and standard deviation over seeds.
#[must_use]
pub fn arm_figure(title: &str, arms: &[ArmRuns]) -> Figure {
    let quantities: [(&str, &str, AxisScale, Quantity); 6] = [
        ("Test accuracy", "accuracy", AxisScale::Linear, |e| e.test_accuracy),
        ("Test loss", "mean loss", AxisScale::Log, |e| e.test_loss),
        ("L1 norm of the weights", "l1 norm", AxisScale::Linear, |e| e.l1_norm),
        ("Training accuracy", "accuracy", AxisScale::Linear, |e| e.train_accuracy),
        ("Training loss", "mean loss", AxisScale::Log, |e| e.train_loss),
        ("L2 norm of the weights", "l2 norm", AxisScale::Linear, |e| e.l2_norm),
    ];
    let mut panels: Vec<Panel> = quantities.map(|(title, y, scale, of)| curves(title, y, scale, arms, of)).into();
    if arms.iter().any(|arm| !arm.traces.is_empty()) {
        panels.push(marks("Hessian trace at the end", arms, |of| &of.hessian));
        panels.push(marks("Gauss-Newton trace at the end", arms, |of| &of.gauss_newton));
    }
    Figure {
        title: title.to_owned(),
        caption: "Mean over seeds after each epoch, at the clean weights; bands: one standard deviation over seeds. \
                  Traces of the training loss at the end, a mark a seed, arms in the order of the legend."
            .to_owned(),
        panels,
    }
}

fn curves(title: &str, y_label: &str, y_scale: AxisScale, arms: &[ArmRuns], of: Quantity) -> Panel {
    let curve = |epochs: &[EpochRecord]| epochs.iter().map(|record| (record.epoch as f64, of(record))).collect();
    let series = |arm: &ArmRuns| {
        let curves: Vec<Vec<(f64, f64)>> = arm.runs.iter().map(|run| curve(&run.epochs)).collect();
        Series::banded(&arm.arm.label, band(&curves))
    };
    Panel {
        title: title.to_owned(),
        x_label: "epoch".to_owned(),
        y_label: y_label.to_owned(),
        y_scale,
        series: arms.iter().map(series).collect(),
        ..Panel::default()
    }
}

/// The trace of every run, a column of marks an arm.
fn marks(title: &str, arms: &[ArmRuns], of: fn(&Traces) -> &TraceEstimate) -> Panel {
    let marks = |(index, arm): (usize, &ArmRuns)| {
        let points = arm.traces.iter().map(|traces| (index as f64 + 1.0, of(traces).trace));
        Series { scatter: true, ..Series::line(&arm.arm.label, points) }
    };
    Panel {
        title: title.to_owned(),
        x_label: "arm".to_owned(),
        y_label: "trace".to_owned(),
        series: arms.iter().enumerate().map(marks).collect(),
        ..Panel::default()
    }
}
