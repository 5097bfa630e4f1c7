//! Measuring steps and products on the adapter at hand, as `jostle bench` and `benches/` do.

mod ceilings;
mod hessian;
mod matmul;
mod roofline;
mod rules;
mod runner;
mod step;
mod stopwatch;
mod turns;
mod variants;

pub use ceilings::{Bandwidth, Bound, Ceilings};
pub use hessian::{HessianBench, HessianReport, PassReport, ProductReport};
pub use matmul::{LayoutReport, MatmulBench, MatmulReport, bench_matmul};
pub use roofline::{Against, KernelLine, RooflineBench, RooflineReport, StepLine};
pub use rules::{RuleAgainst, RuleBench, RuleReport, RuleStep, StepWork};
pub use step::{StepBench, StepReport};
pub use variants::{Operation, OperationReport, VariantReport, VariantTime, bench_variants};

use half::f16;

use crate::gpu::{Element, Gpu, GpuError, View};

/// The value below which a share `q` of the sorted sample lies.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((q * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Standard error of the sorted sample's median, with the standard deviation of a normal of the same quartiles: robust
/// against the outliers of a busy machine.
fn median_error(sorted: &[f64]) -> f64 {
    let sd = (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 1.349;
    (std::f64::consts::PI / 2.0 / sorted.len() as f64).sqrt() * sd
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// A view of `count` numbers around 0.
fn filled(gpu: &Gpu, element: Element, count: usize) -> Result<View, GpuError> {
    let value = |i: usize| (i % 17) as f32 / 17.0 - 0.5;
    let buffer = if element == Element::Half {
        let half = |i: usize| u32::from(f16::from_f32(value(i)).to_bits());
        let words: Vec<u32> = (0..count).step_by(2).map(|i| half(i) | half(i + 1) << 16).collect();
        gpu.upload("operand", &words)?
    } else {
        gpu.upload("operand", &(0..count).map(value).collect::<Vec<_>>())?
    };
    buffer.part(0, element.words(count))?.read_as(element, count)
}
