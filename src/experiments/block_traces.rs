//! Traces of groups of weights, such as a transformer's blocks, of arms over seeds: a figure and tables.

use crate::{
    report::{AxisScale, Figure, MeanSd, Panel, Series, Table},
    train::{ArmRuns, GroupCurvature},
};

use super::statistics::{Estimate, mean, paired_differences};

/// A trace of a group.
type Trace = fn(&GroupCurvature) -> f64;

const CURVATURES: [(&str, Trace); 2] =
    [("Hessian trace", |group| group.hessian.trace), ("Gauss-Newton trace", |group| group.gauss_newton.trace)];
/// Between the columns of marks of two arms, of the distance between two groups.
const ARMS_APART: f64 = 0.15;

/// Names of the groups; none where no traces of groups were taken.
fn names(arms: &[ArmRuns]) -> Vec<&str> {
    let measured = arms.iter().flat_map(|arm| &arm.traces).next();
    measured.map_or(Vec::new(), |traces| short(traces.groups.iter().map(|group| group.name.as_str()).collect()))
}

/// The names of blocks, and modules for groups of parameters, without what all of them begin with.
fn short(groups: Vec<&str>) -> Vec<&str> {
    let names: Vec<&str> = groups.into_iter().map(module).collect();
    let first = names.first().and_then(|name| name.split_inclusive('.').next());
    let shared = first.filter(|part| part.ends_with('.')).unwrap_or_default();
    names.iter().map(|name| name.strip_prefix(shared)).collect::<Option<Vec<&str>>>().unwrap_or(names)
}

/// The name of a block, or the module of a group's first parameter.
fn module(group: &str) -> &str {
    let first = group.split(" + ").next().unwrap_or(group);
    first.strip_suffix(".weight").unwrap_or(first)
}

/// Of each run; NaN where it diverged.
fn values(arm: &ArmRuns, group: usize, trace: Trace) -> Vec<f64> {
    let value = |(index, run): (usize, &crate::train::RunResult)| {
        let measured = arm.traces.get(index).and_then(|traces| traces.groups.get(group));
        measured.filter(|_| !run.diverged()).map_or(f64::NAN, trace)
    };
    arm.runs.iter().enumerate().map(value).collect()
}

/// A panel for each matrix, a mark for each run; `None` where no traces of groups were taken.
pub(super) fn figure(title: &str, arms: &[ArmRuns]) -> Option<Figure> {
    let names = names(arms);
    let panel = |(matrix, trace): (&str, Trace)| {
        let all = || arms.iter().flat_map(|arm| (0..names.len()).flat_map(move |group| values(arm, group, trace)));
        let positive = all().filter(|value| value.is_finite()).all(|value| value > 0.0);
        let marks = |(index, arm): (usize, &ArmRuns)| {
            let offset = ARMS_APART * (index as f64 - (arms.len() - 1) as f64 / 2.0);
            let x = |group: usize| group as f64 + 1.0 + offset;
            let points =
                (0..names.len()).flat_map(|group| values(arm, group, trace).into_iter().map(move |y| (x(group), y)));
            Series { scatter: true, ..Series::line(&arm.arm.label, points.filter(|(_, y)| y.is_finite())) }
        };
        Panel {
            title: format!("{matrix} by group"),
            x_label: "group of weights".to_owned(),
            y_label: "trace".to_owned(),
            y_scale: if positive { AxisScale::Log } else { AxisScale::Linear },
            x_names: names.iter().map(|name| (*name).to_owned()).collect(),
            series: arms.iter().enumerate().map(marks).collect(),
            ..Panel::default()
        }
    };
    (!names.is_empty()).then(|| Figure {
        title: format!("{title}: traces by group"),
        caption: "Shares of groups of weights in the traces of the training loss at the end: those of their own blocks of the \
                  matrix. A mark a seed, arms in the order of the legend."
            .to_owned(),
        panels: CURVATURES.map(panel).to_vec(),
    })
}

/// A table for each matrix: every arm, and its paired difference to the first; none where no traces of groups were taken.
pub(super) fn tables(title: &str, arms: &[ArmRuns]) -> Vec<Table> {
    let (names, [first, others @ ..]) = (names(arms), arms) else { return Vec::new() };
    if names.is_empty() {
        return Vec::new();
    }
    let table = |(matrix, trace): (&str, Trace)| {
        let difference = |arm: &ArmRuns, group: usize| {
            let differences = paired_differences(&values(arm, group, trace), &values(first, group, trace));
            let Estimate { value, interval: [low, high] } = mean(&differences);
            format!("{value:+.2} ({low:+.2} to {high:+.2})")
        };
        let row = |(group, name): (usize, &&str)| {
            let ends = arms.iter().map(|arm| MeanSd::new(values(arm, group, trace)).text(2));
            let less = others.iter().map(|arm| difference(arm, group));
            [(*name).to_owned()].into_iter().chain(ends).chain(less).collect()
        };
        let less = others.iter().map(|arm| format!("{} less {}", arm.arm.label, first.arm.label));
        let headers: Vec<String> =
            ["group".to_owned()].into_iter().chain(arms.iter().map(|arm| arm.arm.label.clone())).chain(less).collect();
        let title = format!(
            "{title}: {matrix} by group, mean ± sd over seeds, and differences paired over seeds with 95 % interval (Student's \
             t; exploratory, each interval for itself)"
        );
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        Table::new(&title, &headers, names.iter().enumerate().map(row).collect())
    };
    CURVATURES.map(table).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_leave_out_what_all_begin_with() {
        let gpt = ["transformer.wte.weight", "transformer.h.0", "transformer.ln_f.weight + transformer.ln_f.bias"];
        assert_eq!(short(gpt.to_vec()), ["wte", "h.0", "ln_f"]);
        let vit =
            ["cls_token", "patch_embed.proj.weight + patch_embed.proj.bias", "blocks.0", "head.weight + head.bias"];
        assert_eq!(short(vit.to_vec()), ["cls_token", "patch_embed.proj", "blocks.0", "head"]);
        assert!(short(Vec::new()).is_empty());
    }
}
