//! `jostle bench --hessian`: what plans of products cost beside the gradient's, and what the command prints. Nothing here is
//! about time.

use std::process::{Command, Output};

use crate::common::{device, places::program};
use jostle::{
    graph::{PlanMode, Schedule, memory},
    kernels::{AdapterClass, Target},
    nn::Model,
    ops::Loss,
};
use serde_json::Value;

const MODEL: &str = "gpt:1x2x8@6";
const BATCH: usize = 3;
/// Bytes of a buffer: llvmpipe's limit.
const BUFFER_BYTES: u64 = 128 << 20;

fn schedule(model: &str, batch: usize, mode: PlanMode, class: AdapterClass) -> Schedule {
    let model: Model = model.parse().unwrap();
    let schedule = Schedule::new(&model.graph, batch, mode, Loss::Nll).unwrap();
    if mode.trains() { schedule.with_deferred_sums(class).unwrap() } else { schedule }
}

fn words(schedule: &Schedule) -> usize {
    schedule.placement(memory::bank_words(BUFFER_BYTES)).words
}

#[test]
fn a_product_of_gpt_mini_takes_little_more_than_twice_a_gradient_s_memory() {
    let plan = |mode| schedule("gpt-mini", 12, mode, Target::GENERIC.class);
    let gradient = plan(PlanMode::Train);
    for (mode, memory, flops) in [(PlanMode::HessianProduct, 2.2, 2.7), (PlanMode::GaussNewtonProduct, 1.2, 1.7)] {
        let product = plan(mode);
        let ratio = words(&product) as f64 / words(&gradient) as f64;
        assert!(ratio <= memory, "{mode:?} takes {ratio:.2} of the gradient's memory");
        let ratio = product.flops() as f64 / gradient.flops() as f64;
        assert!(ratio <= flops, "{mode:?} takes {ratio:.2} of the gradient's operations");
    }
}

fn bench(more: &[&str]) -> Output {
    let batch = BATCH.to_string();
    let mut command = Command::new(program());
    command.args(["bench", "--hessian", "--json", "--model", MODEL, "--batch", &batch]);
    command.args(["--timed-steps", "3", "--rounds", "3", "--seconds", "1"]).args(more).output().unwrap()
}

#[test]
fn the_command_reports_both_products_beside_the_gradient() {
    let output = bench(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["batch"].as_u64(), report["rounds"].as_u64()), (Some(BATCH as u64), Some(3)));
    let class = AdapterClass::for_device(device());
    let check = |found: &Value, mode| {
        let planned = schedule(MODEL, BATCH, mode, class);
        assert_eq!(found["calls"].as_u64(), Some(planned.steps.len() as u64));
        assert_eq!(found["product_flops"].as_u64(), Some(planned.flops()));
        assert_eq!(found["activation_bytes"].as_u64(), Some(4 * words(&planned) as u64));
        assert!(found["median_ms"].as_f64().is_some_and(|ms| ms.is_finite() && ms > 0.0));
        assert!(found.get("kernels").is_none(), "nobody asked for them");
    };
    let gradient = &report["gradient"];
    check(gradient, PlanMode::Train);
    let products = report["products"].as_array().unwrap();
    let modes = [("hessian", PlanMode::HessianProduct), ("gauss-newton", PlanMode::GaussNewtonProduct)];
    assert_eq!(products.len(), modes.len());
    for (product, (name, mode)) in products.iter().zip(modes) {
        assert_eq!(product["curvature"], name);
        check(product, mode);
        let memory = product["activation_bytes"].as_f64().unwrap() / gradient["activation_bytes"].as_f64().unwrap();
        assert_eq!(product["memory_ratio"].as_f64(), Some(memory));
        assert!(product["time_ratio"].as_f64().is_some_and(|ratio| ratio.is_finite() && ratio > 0.0));
    }
}

#[test]
fn products_in_f16_are_refused() {
    let output = bench(&["--precision", "f16"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("found f16") && message.contains("in f32"), "{message}");
}
