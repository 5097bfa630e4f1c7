//! `jostle bench --roofline`: the work that the plan counts, and what the command prints and writes.

use std::{path::Path, process::Command};

use crate::common::{device, places::program};
use jostle::{
    gpu::Work,
    graph::{PlanMode, Schedule},
    kernels::{AdapterClass, Target},
    nn::Model,
    ops::Loss,
};
use serde_json::Value;

/// Every kind of a residual network's kernels, in little time.
const MODEL: &str = "resnet18:4";
const BATCH: usize = 2;
/// What a plan counts is the same on all of them but for where a dispatch does the work of two.
const CLASS: AdapterClass = Target::GENERIC.class;

fn schedule(model: &str, batch: usize) -> Schedule {
    let model: Model = model.parse().unwrap();
    Schedule::new(&model.graph, batch, PlanMode::Train, Loss::Nll).unwrap()
}

#[test]
fn work_of_a_linear_layer_is_that_of_its_operands() {
    let schedule = schedule("mlp:12-8-10", 4);
    let forward_work = |name: &str| {
        let step = schedule.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}"));
        let [work] = schedule.work(step, CLASS)[..] else { panic!("{name} is one dispatch") };
        (work, step.call.product())
    };
    // input [4, 12], weight [8, 12], bias [8], output [4, 8]
    let (work, product) = forward_work("fc1 forward");
    assert_eq!((work.flops, product.as_deref()), (2 * 4 * 8 * 12, Some("forward")));
    assert_eq!(work.bytes, 4 * (4 * 12 + 8 * 12 + 8 + 4 * 8));
    let (work, product) = forward_work("fc1 weight gradient");
    assert_eq!((work.flops, product.as_deref()), (2 * 4 * 8 * 12, Some("weight gradient")));
    assert_eq!(work.bytes, 4 * (4 * 8 + 4 * 12 + 8 * 12));
    let (work, product) = forward_work("fc1 bias gradient");
    assert_eq!((work, product), (Work { flops: 4 * 8, bytes: 4 * (4 * 8 + 8) }, None));
}

#[test]
fn work_of_products_adds_up_to_the_schedule_s() {
    for (model, batch) in [("mlp2", 16), ("cnn2", 4), (MODEL, BATCH)] {
        let schedule = schedule(model, batch);
        let products = schedule.steps.iter().filter(|step| step.call.product().is_some());
        let flops: u64 = products.flat_map(|step| schedule.work(step, CLASS)).map(|work| work.flops).sum();
        assert_eq!(flops, schedule.flops(), "{model}");
        for step in &schedule.steps {
            let work: Work = schedule.work(step, CLASS).into_iter().sum();
            assert!(work.bytes > 0, "{model}: {} moves nothing", step.name);
            let moves = ["pack", "flatten", "elementwise"].contains(&step.call.kernel.kind());
            assert!(work.flops > 0 || moves, "{model}: {} computes nothing", step.name);
        }
    }
}

/// Runs the command; gives what it printed as JSON.
fn roofline(out: &Path) -> Value {
    let batch = BATCH.to_string();
    let output = Command::new(program())
        .args(["bench", "--roofline", "--json", "--model", MODEL, "--batch", &batch])
        .args(["--noise", "layer", "--momentum", "0.9", "--timed-steps", "3", "--seconds", "1", "--out"])
        .arg(out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_command_reports_every_kernel_of_a_step_and_draws_them() {
    let folder = tempfile::tempdir().unwrap();
    let report = roofline(folder.path());
    let positive = |report: &Value, key: &str| {
        let value = report[key].as_f64().unwrap_or_else(|| panic!("{key} is {}", report[key]));
        assert!(value.is_finite() && value > 0.0, "{key} is {value}");
        value
    };
    for key in ["step_ms", "host_ms", "kernels_ms"] {
        positive(&report, key);
    }
    for key in ["f32_gflops", "dispatch_us", "submit_us"] {
        positive(&report["ceilings"], key);
    }
    let rungs = report["ceilings"]["bandwidth"].as_array().unwrap();
    assert!(!rungs.is_empty() && rungs.iter().all(|rung| positive(rung, "gigabytes_per_second") > 0.0));

    // An adapter without timestamps has no more to say.
    let kernels = report["kernels"].as_array().unwrap();
    if !report["ceilings"]["timestamps"].as_bool().unwrap() {
        assert!(kernels.is_empty());
        return;
    }
    let target = Target::for_device(device());
    let schedule = schedule(MODEL, BATCH).with_deferred_sums(target.class).unwrap();
    let shares: f64 = kernels.iter().map(|kernel| positive(kernel, "share")).sum();
    assert!((shares - 1.0).abs() < 1e-9, "shares sum to {shares}");
    let products = kernels.iter().filter(|kernel| kernel["product"].is_string());
    let flops: u64 = products.map(|kernel| kernel["flops"].as_u64().unwrap()).sum();
    assert_eq!((flops, Some(flops)), (schedule.flops(), report["product_flops"].as_u64()));
    for kernel in kernels {
        // How near depends on how busy the machine is; a wrong unit would be off by more.
        let percent = positive(kernel, "percent_of_ceiling");
        assert!(percent < 1000.0, "{kernel}");
        assert!(["compute", "memory", "latency"].contains(&kernel["bound"].as_str().unwrap()), "{kernel}");
    }
    assert!(kernels.iter().any(|kernel| kernel["kernel"] == "update_sgd"), "what lies beside the plan counts too");

    // Each step of the plan has the dispatches that it is said to launch.
    let launches = schedule.launches(&target, [3, 32, 32]).unwrap();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), schedule.steps.len());
    for (number, (step, planned)) in steps.iter().zip(&schedule.steps).enumerate() {
        assert_eq!(step["step"].as_str().unwrap(), planned.name);
        let launched = launches.iter().filter(|planned| planned.step == number).count();
        assert_eq!(step["kernels"].as_array().unwrap().len(), launched, "{step}");
    }

    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("roofline.json")).unwrap()).unwrap();
    assert_eq!(written, report);
    assert!(std::fs::read(folder.path().join("roofline.png")).unwrap().starts_with(b"\x89PNG"));
    let svg = std::fs::read_to_string(folder.path().join("roofline.svg")).unwrap();
    for text in ["GFLOP/s", "operations per byte", "f32", "memory", "weight gradient, 3 x 3"] {
        assert!(svg.contains(text), "{text} is not in the SVG");
    }
}
