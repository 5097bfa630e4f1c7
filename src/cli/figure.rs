//! The figure of a run.

use jostle::{
    report::{AxisScale, Figure, Panel, Series},
    train::EpochRecord,
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
