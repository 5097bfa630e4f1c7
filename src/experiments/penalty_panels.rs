//! Panels of the experiments on the three simple models.

use nalgebra::{DMatrix, DVector};

use crate::{
    noise::Mode,
    report::{AxisScale, Panel, Series, SeriesPoint},
};

use super::{
    convex::singular_values,
    penalty_measurements::{ArmMeasurements, CaseRun},
    simple::{NOISY, SimpleModel},
    statistics::mean,
};

/// Distance over the steps, at the smallest step size.
pub(super) fn course_panel(run: &CaseRun) -> Panel {
    let modes = NOISY.into_iter().chain([Mode::None]);
    let series = modes.filter_map(|mode| {
        let arm = run.measured.finest(mode)?;
        Some(Series::line(mode.name(), arm.curve.iter().copied()))
    });
    Panel {
        title: format!("{}: distance over training", run.solved.case.label),
        x_label: "steps".to_owned(),
        y_label: "relative distance in theta".to_owned(),
        x_scale: AxisScale::Log,
        y_scale: AxisScale::Log,
        series: series.collect(),
        ..Panel::default()
    }
}

/// Distance over the step size.
pub(super) fn step_size_panel(run: &CaseRun) -> Panel {
    let point = |(size, arm): &(f64, &ArmMeasurements)| {
        let distances: Vec<f64> = arm.distances(&run.solved).iter().map(|distance| distance.theta).collect();
        let (low, high) =
            distances.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), distance| (l.min(*distance), h.max(*distance)));
        SeriesPoint { x: *size, y: mean(&distances).value, band: Some((low, high)) }
    };
    let series =
        NOISY.iter().map(|mode| Series::banded(mode.name(), run.measured.constant(*mode).iter().map(point).collect()));
    Panel {
        title: format!("{}: distance over step size", run.solved.case.label),
        x_label: "step size x curvature".to_owned(),
        y_label: "relative distance in theta".to_owned(),
        x_scale: AxisScale::Log,
        y_scale: AxisScale::Log,
        series: series.collect(),
        ..Panel::default()
    }
}

/// Every group's norm, by the solver and by the runs.
pub(super) fn norms_panel(run: &CaseRun) -> Panel {
    let SimpleModel::Group { groups } = &run.solved.case.model else { return Panel::default() };
    let marks = |label: &str, theta: &DVector<f64>| {
        let norm = |group: &std::ops::Range<usize>| theta.rows(group.start, group.len()).norm();
        let points = groups.iter().enumerate().map(|(g, group)| (g as f64 + 1.0, norm(group)));
        Series { scatter: true, ..Series::line(label, points) }
    };
    let solution = run.solved.target(Mode::Model).map(|target| marks("group Lasso", &target.solution));
    let found = run
        .measured
        .finest(Mode::Model)
        .map(|arm| marks("averaged iterate", &arm.theta(run.solved.case.model.coefficients())));
    Panel {
        title: format!("{}: norms of groups", run.solved.case.label),
        x_label: "group".to_owned(),
        y_label: "norm of its coefficients".to_owned(),
        series: solution.into_iter().chain(found).collect(),
        ..Panel::default()
    }
}

/// Singular values over the training of one run of mode `model`, and those of the solution.
pub(super) fn singular_values_panel(run: &CaseRun) -> Panel {
    let SimpleModel::TwoLayer { rows, columns, .. } = run.solved.case.model else { return Panel::default() };
    let values = |theta: &DVector<f64>| singular_values(&DMatrix::from_column_slice(rows, columns, theta.as_slice()));
    let Some(arm) = run.measured.finest(Mode::Model) else { return Panel::default() };
    let steps: Vec<f64> = arm.curve.iter().map(|(step, _)| *step).collect();
    let course: Vec<Vec<f64>> = run.course.iter().map(values).collect();
    let solution = run.solved.target(Mode::Model).map(|target| values(&target.solution)).unwrap_or_default();
    let mut series = Vec::new();
    for k in 0..rows.min(columns) {
        series.push(Series::line("noisy run", steps.iter().zip(&course).map(|(step, values)| (*step, values[k]))));
        if let (Some(value), Some(first), Some(last)) = (solution.get(k), steps.first(), steps.last()) {
            series.push(Series::line("solver", [(*first, *value), (*last, *value)]));
        }
    }
    Panel {
        title: format!("{}: singular values", run.solved.case.label),
        x_label: "steps".to_owned(),
        y_label: "singular value of Theta".to_owned(),
        x_scale: AxisScale::Log,
        series,
        ..Panel::default()
    }
}
