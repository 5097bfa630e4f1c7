//! What was measured, in tables and sentences.

use crate::{
    experiments::statistics::{Estimate, mean, paired_differences},
    report::{MeanSd, Table},
};

use super::measurements::{
    ArmMeasurements, BRIER, ECE, EIGENVALUE, Measurements, Quantity, TEST_ACCURACY, TEST_LOSS, TRACE, TRAIN_LOSS,
};

const QUANTITIES: [Quantity; 7] = [TEST_ACCURACY, TEST_LOSS, BRIER, ECE, TRAIN_LOSS, TRACE, EIGENVALUE];

pub(super) fn title(measured: &Measurements) -> String {
    format!("Rules: {} on {}", measured.model, measured.data)
}

fn table(measured: &Measurements, title: &str, head: &[&str], row: impl Fn(&ArmMeasurements) -> Vec<String>) -> Table {
    let headers: Vec<&str> = head.iter().copied().chain(QUANTITIES.iter().map(|q| q.name)).collect();
    Table::new(title, &headers, measured.arms.iter().map(row).collect())
}

pub(super) fn ends(measured: &Measurements) -> Table {
    let row = |arm: &ArmMeasurements| {
        let quantities = QUANTITIES.iter().map(|q| MeanSd::new(arm.values(q)).text(q.decimals));
        let milliseconds = format!("{:.2}", arm.step_milliseconds);
        let head = [arm.arm.clone(), arm.runs.len().to_string(), arm.diverged().to_string(), milliseconds];
        head.into_iter().chain(quantities).collect()
    };
    let title = "After the last epoch, clean weights: mean ± sd over seeds; milliseconds a step";
    table(measured, title, &["arm", "seeds", "diverged", "ms a step"], row)
}

pub(super) fn differences(measured: &Measurements) -> Table {
    let row = |arm: &ArmMeasurements| {
        let cell = |q: &Quantity| {
            let plain = measured.arms.first().map_or(Vec::new(), |plain| plain.values(q));
            let Estimate { value, interval: [low, high] } = mean(&paired_differences(&arm.values(q), &plain));
            let d = q.decimals;
            format!("{value:+.d$} ({low:+.d$} to {high:+.d$})")
        };
        [arm.arm.clone()].into_iter().chain(QUANTITIES.iter().map(cell)).collect()
    };
    let title = "Difference to plain training, paired over seeds, with 95 % interval (Student's t; exploratory, each interval for \
                 itself)";
    let mut table = table(measured, title, &["arm"], row);
    // The first is what the others are compared with.
    table.rows.drain(..table.rows.len().min(1));
    table
}

pub(super) fn costs(measured: &Measurements) -> Table {
    let row = |arm: &ArmMeasurements| {
        let own = if arm.own.is_empty() { "-".to_owned() } else { arm.own.clone() };
        let cost = [format!("{:.2}", arm.step_milliseconds), format!("{:.2}", arm.gradient_evaluations)];
        [arm.arm.clone(), own].into_iter().chain(cost).chain([arm.passes.to_string()]).collect()
    };
    let headers = ["arm", "of its own", "ms a step", "gradient evaluations a sample", "passes"];
    Table::new("What each arm is, and costs", &headers, measured.arms.iter().map(row).collect())
}

/// How the arms end up, in the order of their test losses: measured, not claimed.
pub(super) fn notes(measured: &Measurements) -> Vec<String> {
    let ends = measured.arms.iter().map(|arm| (mean(&arm.values(&TEST_LOSS)).value, arm));
    let mut ends: Vec<(f64, &ArmMeasurements)> = ends.collect();
    ends.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let end = |(loss, arm): &(f64, &ArmMeasurements)| {
        let accuracy = mean(&arm.values(&TEST_ACCURACY)).value;
        format!("{} {loss:.4} ({accuracy:.2} %, {:.2} ms a step)", arm.arm, arm.step_milliseconds)
    };
    let ends: Vec<String> = ends.iter().map(end).collect();
    vec![format!("Mean test loss, with test accuracy and cost, from the lowest: {}.", ends.join("; "))]
}
