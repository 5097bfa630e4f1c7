//! `jostle plan`: what it lists of a GPU that is only described, where no adapter can be opened.

use std::process::Command;

use crate::common::places::program;
use serde_json::Value;

fn plan(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = Command::new(program())
        .args(["--json", "plan"])
        .args(arguments)
        .env("VK_DRIVER_FILES", "none.json")
        .env("JOSTLE_ADAPTER", "none")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), errors)
}

#[test]
fn a_described_gpu_needs_no_adapter() {
    let resnet = ["--gpu", "generic", "--model", "resnet18", "--batch", "128", "--data", "cifar10"];
    let (status, plan, errors) = plan(&resnet);
    assert_eq!(status, Some(0), "{errors}");
    let dispatches = plan["dispatches"].as_array().unwrap();
    let count = |kernel: &str| dispatches.iter().filter(|line| line["kernel"] == kernel).count();
    for kernel in ["moments", "finish_apply", "gradient_moments", "finish_gradient"] {
        assert_eq!(count(&format!("batch_norm_{kernel}")), 20, "20 batch norms, {kernel}");
    }
    let passes = count("winograd_weight") + count("winograd_weight_gradient");
    assert!(count("winograd_input") >= passes, "each pass transforms its images");
    assert_eq!(count("update_sgd"), 1);
    assert_eq!(dispatches.last().unwrap()["step"], "update, and perturb of the next step");
    for line in dispatches {
        assert!(line["threads"].as_u64() <= Some(256) && line["bytes"].as_u64() > Some(0), "{line}");
        assert!(line["chain"].as_u64() >= Some(1) && line["workgroups"][0].as_u64() >= Some(1), "{line}");
    }
}

#[test]
fn data_decide_on_shape_and_classes() {
    let (_, plan, errors) = plan(&["--gpu", "generic", "--model", "cnn1", "--data", "fashion-mnist"]);
    let convolution = plan["dispatches"].as_array().unwrap().iter().find(|line| line["kind"] == "convolution");
    let shape = convolution.unwrap()["shape"].as_str().unwrap();
    assert!(shape.contains("128 x 1 x 28 x 28"), "{shape}: {errors}");
}

#[test]
fn times_are_estimated_for_a_gpu_that_is_described() {
    let resnet = ["--gpu", "h100", "--model", "resnet18", "--batch", "128", "--data", "cifar10", "--precision", "f16"];
    let (status, plan, errors) = plan(&resnet);
    assert_eq!(status, Some(0), "{errors}");
    assert_eq!(plan["target"], "NVIDIA H100 SXM");
    let dispatches = plan["dispatches"].as_array().unwrap();
    let us: f64 = dispatches.iter().map(|line| line["estimate"]["total_us"].as_f64().unwrap()).sum();
    let step = plan["estimate"]["step_ms"].as_f64().unwrap();
    assert!((1e-3 * us / step - 1.0).abs() < 1e-3, "{us} us of dispatches, {step} ms a step");
    assert!(dispatches.iter().any(|line| line["kernel"] == "conv_coop"), "it has cooperative matrices");
    let kernels = plan["estimate"]["kernels"].as_array().unwrap();
    let ms: f64 = kernels.iter().map(|kernel| kernel["ms"].as_f64().unwrap()).sum();
    assert!((ms / step - 1.0).abs() < 1e-9, "{ms} ms of kernels");
    assert!(plan["estimate"]["idle"]["metrics_sum"] == 1, "a kernel of one workgroup is idle");
}

/// What the estimate has come down to, by the bars that were set for it: milliseconds of a step, dispatches, and what rounds wait for
/// each other.
#[test]
fn steps_stay_within_their_bars_on_an_h100() {
    for (model, data, precision, most_ms, most_dispatches) in [
        ("resnet18", "cifar10", "f32", 9.0, 330),
        ("resnet18", "cifar10", "f16", 4.5, 180),
        ("mlp2", "mnist", "f32", 2.0, 330),
    ] {
        let options = ["--gpu", "h100", "--model", model, "--batch", "128", "--data", data, "--precision", precision];
        let (status, plan, errors) = plan(&options);
        assert_eq!(status, Some(0), "{errors}");
        let estimate = |field: &str| plan["estimate"][field].as_f64().unwrap();
        let (step, dispatches) = (estimate("step_ms"), plan["dispatches"].as_array().unwrap().len());
        println!("{model} in {precision}: {step} ms, {dispatches} dispatches");
        assert!(step <= most_ms && dispatches <= most_dispatches, "{model}, {precision}: {step} ms, {dispatches}");
        let (waiting, most) = (estimate("latency_excess_ms"), estimate("latency_excess_most_us"));
        assert!(waiting <= 0.02 * step && most <= 20.0, "{model}, {precision}: {waiting} ms, at most {most} us");
    }
}

#[test]
fn a_gpu_that_is_not_known_is_an_error_of_usage() {
    let (status, _, errors) = plan(&["--gpu", "voodoo2", "--model", "mlp1"]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("gpu: expected one of h100") && errors.contains("found voodoo2"), "{errors}");
}
