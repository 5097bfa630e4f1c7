//! The figure of a run.

use jostle::{
    report::{AxisScale, Figure, Panel, Series},
    train::{EpochRecord, StepRecord},
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

/// The loss of each logged step's batch, which shows what happens within an epoch.
fn batches(steps: &[StepRecord]) -> Panel {
    let losses = steps.iter().map(|record| (record.step as f64, record.loss));
    let of_batch = vec![Series::line("batch, noisy weights", losses)];
    Panel { x_label: "step".to_owned(), ..panel("Loss of a batch", "mean loss", AxisScale::Log, of_batch) }
}

/// The curves of one run.
pub(super) fn run(title: &str, epochs: &[EpochRecord], steps: &[StepRecord]) -> Figure {
    let pair = |train: Quantity, test: Quantity| {
        vec![Series::line("train", curve(epochs, train)), Series::line("test", curve(epochs, test))]
    };
    let l2 = vec![Series::line("l2 norm of the weights", curve(epochs, |e| e.l2_norm))];
    let mut panels = vec![
        panel("Loss", "mean loss", AxisScale::Log, pair(|e| e.train_loss, |e| e.test_loss)),
        panel("Accuracy", "accuracy", AxisScale::Linear, pair(|e| e.train_accuracy, |e| e.test_accuracy)),
        panel("Weights", "l2 norm", AxisScale::Linear, l2),
    ];
    if !steps.is_empty() {
        panels.push(batches(steps));
    }
    Figure {
        title: title.to_owned(),
        caption: "Loss, accuracy and weight norm after each epoch, at the clean weights; the loss of each logged step's batch."
            .to_owned(),
        panels,
    }
}
