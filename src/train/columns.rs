//! The columns of a run's metrics: what CSV files and TensorBoard call them. `docs/metrics.md` explains each.

use super::{EpochRecord, Scores, StepRecord};

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ColumnValue {
    /// A count, or a place counted from 0.
    Whole(u64),
    /// Anything else; NaN where it was not finite.
    Number(f64),
}

impl ColumnValue {
    /// As TensorBoard takes it.
    pub(super) fn single(self) -> f32 {
        match self {
            Self::Whole(whole) => whole as f32,
            Self::Number(number) => number as f32,
        }
    }

    /// With as many digits as it takes to read it back to the bit.
    fn text(self) -> String {
        match self {
            Self::Whole(whole) => whole.to_string(),
            Self::Number(number) => format!("{number:?}"),
        }
    }
}

/// A column of rows of one kind.
#[derive(Debug)]
pub struct Column<R: 'static> {
    /// As the key in `metrics.jsonl`, after that of the object and a dot where it lies within one.
    pub name: &'static str,
    /// Of a row, where it has one.
    pub value: fn(&R) -> Option<ColumnValue>,
}

const fn column<R>(name: &'static str, value: fn(&R) -> Option<ColumnValue>) -> Column<R> {
    Column { name, value }
}

fn whole(value: u64) -> Option<ColumnValue> {
    Some(ColumnValue::Whole(value))
}

fn number(value: f64) -> Option<ColumnValue> {
    Some(ColumnValue::Number(value))
}

/// Of scores that may not have been taken.
fn score(scores: Option<&Scores>, value: fn(&Scores) -> Option<f64>) -> Option<ColumnValue> {
    scores.and_then(value).map(ColumnValue::Number)
}

/// The columns of logged steps.
pub static STEP_COLUMNS: [Column<StepRecord>; 8] = [
    column("step", |row| whole(row.step)),
    column("epoch", |row| whole(row.epoch)),
    column("lr", |row| number(row.lr)),
    column("momentum", |row| row.momentum.and_then(number)),
    column("sigma", |row| number(row.sigma)),
    column("group", |row| row.group.and_then(|group| whole(group as u64))),
    column("loss", |row| number(row.loss)),
    column("slope", |row| row.slope.and_then(|slope| number(slope.into()))),
];

/// The columns of evaluations.
pub static EPOCH_COLUMNS: [Column<EpochRecord>; 28] = [
    column("epoch", |row| whole(row.epoch)),
    column("step", |row| whole(row.step)),
    column("train_loss", |row| score(Some(&row.scores), |scores| scores.train_loss)),
    column("train_accuracy", |row| score(Some(&row.scores), |scores| scores.train_accuracy)),
    column("validation_loss", |row| score(Some(&row.scores), |scores| scores.validation_loss)),
    column("validation_accuracy", |row| score(Some(&row.scores), |scores| scores.validation_accuracy)),
    column("test_loss", |row| score(Some(&row.scores), |scores| scores.test_loss)),
    column("test_accuracy", |row| score(Some(&row.scores), |scores| scores.test_accuracy)),
    column("quality.nll", |row| row.quality.and_then(|quality| number(quality.nll))),
    column("quality.brier", |row| row.quality.and_then(|quality| number(quality.brier))),
    column("quality.ece", |row| row.quality.and_then(|quality| number(quality.ece))),
    column("noisy.train_loss", |row| score(row.noisy.as_ref(), |scores| scores.train_loss)),
    column("noisy.train_accuracy", |row| score(row.noisy.as_ref(), |scores| scores.train_accuracy)),
    column("noisy.validation_loss", |row| score(row.noisy.as_ref(), |scores| scores.validation_loss)),
    column("noisy.validation_accuracy", |row| score(row.noisy.as_ref(), |scores| scores.validation_accuracy)),
    column("noisy.test_loss", |row| score(row.noisy.as_ref(), |scores| scores.test_loss)),
    column("noisy.test_accuracy", |row| score(row.noisy.as_ref(), |scores| scores.test_accuracy)),
    column("average.train_loss", |row| score(row.average.as_ref(), |scores| scores.train_loss)),
    column("average.train_accuracy", |row| score(row.average.as_ref(), |scores| scores.train_accuracy)),
    column("average.validation_loss", |row| score(row.average.as_ref(), |scores| scores.validation_loss)),
    column("average.validation_accuracy", |row| score(row.average.as_ref(), |scores| scores.validation_accuracy)),
    column("average.test_loss", |row| score(row.average.as_ref(), |scores| scores.test_loss)),
    column("average.test_accuracy", |row| score(row.average.as_ref(), |scores| scores.test_accuracy)),
    column("loss_scale", |row| row.loss_scale.and_then(|scale| number(scale.into()))),
    column("skipped_steps", |row| row.skipped_steps.and_then(|steps| whole(steps.into()))),
    column("l1_norm", |row| number(row.l1_norm)),
    column("l2_norm", |row| number(row.l2_norm)),
    column("samples_per_second", |row| number(row.samples_per_second)),
];

/// Rows as CSV: a line of the columns' names, then one a row; empty where a row has no value.
#[must_use]
pub fn csv<R>(columns: &[Column<R>], rows: &[R]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let mut text = format!("{}\n", names.join(","));
    for row in rows {
        let values = columns.iter().map(|column| (column.value)(row).map_or(String::new(), ColumnValue::text));
        text.push_str(&values.collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}
