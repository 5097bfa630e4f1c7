//! Arms of training runs side by side, over seeds.

use crate::{
    analysis::TraceEstimate,
    report::{AxisScale, Figure, Panel, Series, band},
    train::{ArmRuns, EpochRecord, Traces},
};

/// A quantity of an evaluation, where it was measured.
type Quantity = fn(&EpochRecord) -> Option<f64>;

/// Accuracies, losses, norms of the weights, and traces where there are any: mean and standard deviation over seeds.
#[must_use]
pub fn arm_figure(title: &str, arms: &[ArmRuns]) -> Figure {
    let quantities: [(&str, &str, AxisScale, Quantity); 8] = [
        ("Test accuracy", "accuracy", AxisScale::Linear, |e| e.scores.test_accuracy),
        ("Test loss", "mean loss", AxisScale::Log, |e| e.scores.test_loss),
        ("L1 norm of the weights", "l1 norm", AxisScale::Linear, |e| Some(e.l1_norm)),
        ("Training accuracy", "accuracy", AxisScale::Linear, |e| e.scores.train_accuracy),
        ("Training loss", "mean loss", AxisScale::Log, |e| e.scores.train_loss),
        ("L2 norm of the weights", "l2 norm", AxisScale::Linear, |e| Some(e.l2_norm)),
        ("Validation accuracy", "accuracy", AxisScale::Linear, |e| e.scores.validation_accuracy),
        ("Validation loss", "mean loss", AxisScale::Log, |e| e.scores.validation_loss),
    ];
    let records = || arms.iter().flat_map(|arm| &arm.runs).flat_map(|run| &run.epochs);
    let mut panels: Vec<Panel> = quantities
        .into_iter()
        .filter(|(.., quantity)| records().any(|record| quantity(record).is_some()))
        .map(|(title, y, scale, quantity)| curves(title, y, scale, arms, quantity))
        .collect();
    if arms.iter().any(|arm| !arm.traces.is_empty()) {
        panels.push(marks("Hessian trace at the end", arms, |traces| &traces.hessian));
        panels.push(marks("Gauss-Newton trace at the end", arms, |traces| &traces.gauss_newton));
    }
    Figure {
        title: title.to_owned(),
        caption: "Mean over seeds at each evaluation, at the clean weights; bands: one standard deviation over seeds. \
                  Traces of the training loss at the end, a mark a seed."
            .to_owned(),
        panels,
    }
}

fn curves(title: &str, y_label: &str, y_scale: AxisScale, arms: &[ArmRuns], quantity: Quantity) -> Panel {
    let by_steps = arms.iter().flat_map(|arm| &arm.runs).any(|run| EpochRecord::by_steps(&run.epochs));
    let x = |record: &EpochRecord| if by_steps { record.step } else { record.epoch } as f64;
    let curve =
        |epochs: &[EpochRecord]| epochs.iter().filter_map(|record| Some((x(record), quantity(record)?))).collect();
    let series = |arm: &ArmRuns| {
        let curves: Vec<Vec<(f64, f64)>> = arm.runs.iter().map(|run| curve(&run.epochs)).collect();
        Series::banded(&arm.arm.label, band(&curves))
    };
    Panel {
        title: title.to_owned(),
        x_label: if by_steps { "step" } else { "epoch" }.to_owned(),
        y_label: y_label.to_owned(),
        y_scale,
        series: arms.iter().map(series).collect(),
        ..Panel::default()
    }
}

/// The trace of every run, a column of marks an arm.
fn marks(title: &str, arms: &[ArmRuns], trace: fn(&Traces) -> &TraceEstimate) -> Panel {
    let marks = |(index, arm): (usize, &ArmRuns)| {
        let points = arm.traces.iter().map(|traces| (index as f64 + 1.0, trace(traces).trace));
        Series { scatter: true, ..Series::line(&arm.arm.label, points) }
    };
    Panel {
        title: title.to_owned(),
        x_label: "arm".to_owned(),
        y_label: "trace".to_owned(),
        x_names: arms.iter().map(|arm| arm.arm.label.clone()).collect(),
        series: arms.iter().enumerate().map(marks).collect(),
        ..Panel::default()
    }
}
