//! How long a step would take on a GPU that is described, in a few lines.

use std::collections::BTreeMap;

use jostle::{
    estimate::{Estimate, GpuDescription, StepEstimate},
    report::Table,
};
use serde::Serialize;

use super::lines::Line;

/// The estimate of a step.
#[derive(Serialize)]
pub(super) struct Summary {
    step_ms: f64,
    launches_ms: f64,
    /// What rounds that wait for each other take beyond launches, bytes and operations, in all and in one dispatch.
    latency_excess_ms: f64,
    latency_excess_most_us: f64,
    kernels: Vec<KernelSummary>,
    /// Kernels with fewer workgroups than there are multiprocessors, and how many dispatches of them.
    idle: BTreeMap<&'static str, usize>,
    multiprocessors: u32,
    sources: Vec<String>,
}

/// All dispatches of a kernel.
#[derive(Serialize)]
struct KernelSummary {
    kernel: &'static str,
    dispatches: usize,
    ms: f64,
    latency_excess_ms: f64,
}

impl Summary {
    pub(super) fn new(gpu: &GpuDescription, lines: &[Line], step: &StepEstimate) -> Self {
        let mut by_kernel: BTreeMap<&'static str, Vec<&Estimate>> = BTreeMap::new();
        for (line, estimate) in lines.iter().zip(&step.dispatches) {
            by_kernel.entry(line.kernel).or_default().push(estimate);
        }
        let sum = |all: &[&Estimate], part: fn(&Estimate) -> f64| 1e3 * all.iter().map(|one| part(one)).sum::<f64>();
        let mut kernels: Vec<_> = by_kernel
            .into_iter()
            .map(|(kernel, all)| KernelSummary {
                kernel,
                dispatches: all.len(),
                ms: sum(&all, Estimate::seconds),
                latency_excess_ms: sum(&all, Estimate::excess),
            })
            .collect();
        kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        let mut idle = BTreeMap::new();
        for number in &step.idle {
            *idle.entry(lines[*number].kernel).or_default() += 1;
        }
        let [excess, most] = step.excess();
        Self {
            step_ms: 1e3 * step.seconds(),
            launches_ms: 1e3 * step.launches(),
            latency_excess_ms: 1e3 * excess,
            latency_excess_most_us: 1e6 * most,
            kernels,
            idle,
            multiprocessors: gpu.multiprocessors,
            sources: gpu.sources.clone(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let share = |ms: f64| format!("{:.1}", 100.0 * ms / self.step_ms);
        let row = |kernel: &KernelSummary| {
            let excess = format!("{:.3}", kernel.latency_excess_ms);
            let count = kernel.dispatches.to_string();
            vec![kernel.kernel.to_owned(), count, format!("{:.3}", kernel.ms), share(kernel.ms), excess]
        };
        let headers = ["kernel", "dispatches", "ms", "%", "waiting, ms"];
        let mut text = Table::new("Estimate by kernel", &headers, self.kernels.iter().map(row).collect()).to_text();
        let dispatches: usize = self.kernels.iter().map(|kernel| kernel.dispatches).sum();
        text.push_str(&format!(
            "estimate: {:.2} ms a step, {dispatches} dispatches, {:.2} ms of it launches; rounds that wait for each other take {:.3} ms \
             ({} %) beyond launches, bytes and operations, {:.1} us in one dispatch at most\n",
            self.step_ms,
            self.launches_ms,
            self.latency_excess_ms,
            share(self.latency_excess_ms),
            self.latency_excess_most_us,
        ));
        let idle: Vec<_> = self.idle.iter().map(|(kernel, count)| format!("{count} x {kernel}")).collect();
        if !idle.is_empty() {
            let all = self.multiprocessors;
            text.push_str(&format!("fewer workgroups than {all} multiprocessors: {}\n", idle.join(", ")));
        }
        text.push_str("by arithmetic, not measured; the GPU's figures are from:\n");
        for source in &self.sources {
            text.push_str(&format!("  {source}\n"));
        }
        text
    }
}
