//! The figure of a run.

use std::path::Path;

use crate::{
    report::{AxisScale, Figure, Panel, Png, Series},
    train::{EpochRecord, StepRecord, Supervisor},
};

use super::ExperimentError;

/// A quantity of an evaluation, where it was measured.
type Quantity = fn(&EpochRecord) -> Option<f64>;

/// A quantity over the epochs, or over the steps where there are evaluations within an epoch.
fn curve(epochs: &[EpochRecord], quantity: Quantity) -> Vec<(f64, f64)> {
    let by_steps = EpochRecord::by_steps(epochs);
    let x = |record: &EpochRecord| if by_steps { record.step } else { record.epoch } as f64;
    epochs.iter().filter_map(|record| Some((x(record), quantity(record)?))).collect()
}

/// A line for each quantity that was measured at all.
fn curves<const N: usize>(epochs: &[EpochRecord], quantities: [(&str, Quantity); N]) -> Vec<Series> {
    let curves = quantities.map(|(name, quantity)| (name, curve(epochs, quantity)));
    curves
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .map(|(name, points)| Series::line(name, points))
        .collect()
}

fn panel(title: &str, y_label: &str, y_scale: AxisScale, series: Vec<Series>) -> Panel {
    let x_label = "epoch".to_owned();
    Panel { title: title.to_owned(), x_label, y_label: y_label.to_owned(), y_scale, series, ..Panel::default() }
}

/// The loss of each logged step's batch, which shows what happens within an epoch.
fn batches(steps: &[StepRecord]) -> Panel {
    let losses = steps.iter().map(|record| (record.step as f64, record.loss));
    let curves = vec![Series::line("batch, noisy weights", losses)];
    Panel { x_label: "step".to_owned(), ..panel("Loss of a batch", "mean loss", AxisScale::Log, curves) }
}

/// The curves of one run.
#[must_use]
pub fn run_figure(title: &str, epochs: &[EpochRecord], steps: &[StepRecord]) -> Figure {
    let x_label = if EpochRecord::by_steps(epochs) { "step" } else { "epoch" };
    let losses = curves(
        epochs,
        [
            ("train", |e| e.scores.train_loss),
            ("validation", |e| e.scores.validation_loss),
            ("test", |e| e.scores.test_loss),
        ],
    );
    let accuracies = curves(
        epochs,
        [
            ("train", |e| e.scores.train_accuracy),
            ("validation", |e| e.scores.validation_accuracy),
            ("test", |e| e.scores.test_accuracy),
        ],
    );
    let l2 = curves(epochs, [("l2 norm of the weights", |e| Some(e.l2_norm))]);
    let mut panels = [
        panel("Loss", "mean loss", AxisScale::Log, losses),
        panel("Accuracy", "accuracy", AxisScale::Linear, accuracies),
        panel("Weights", "l2 norm", AxisScale::Linear, l2),
    ]
    .map(|panel| Panel { x_label: x_label.to_owned(), ..panel })
    .to_vec();
    if !steps.is_empty() {
        panels.push(batches(steps));
    }
    Figure {
        title: title.to_owned(),
        caption: "Loss, accuracy and weight norm at each evaluation, at the clean weights; the loss of each logged step's batch."
            .to_owned(),
        panels,
    }
}

/// Writes the curves of a supervisor's run as `curves.png` and `curves.svg` into a folder, and among its events where there are
/// some; returns the evaluations.
///
/// # Errors
/// [`ExperimentError`] naming figure or file.
pub fn write_curves(supervisor: &Supervisor, out: &Path) -> Result<Vec<EpochRecord>, ExperimentError> {
    let (steps, epochs) = supervisor.metrics()?;
    let config = supervisor.config();
    let title = format!("{} on {}, noise {}", config.model, config.data, config.noise);
    let curves = run_figure(&title, &epochs, &steps);
    curves.save(&out.join("curves"))?;
    if config.tensorboard {
        let Png { width, height, bytes } = curves.to_png()?;
        supervisor.add_picture("curves", epochs.last().map_or(0, |end| end.step), (width, height), &bytes)?;
    }
    Ok(epochs)
}
