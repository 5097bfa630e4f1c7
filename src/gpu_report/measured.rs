//! What the measuring commands print as JSON, as far as the report reads it.
//!
//! Numbers that may be infinite or NaN, which JSON has no word for, are options.

use serde::{Deserialize, Serialize};

/// Of `jostle adapters`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Adapter {
    /// Index for `--adapter`.
    pub index: usize,
    /// The driver's name for the hardware.
    pub name: String,
    /// vulkan, metal or dx12.
    pub backend: String,
    /// discrete, integrated, virtual, software or other.
    pub kind: String,
    /// Driver and its version.
    pub driver: String,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Largest storage binding, bytes.
    pub max_binding_bytes: u64,
    /// Workgroup memory, bytes.
    pub workgroup_bytes: u32,
    /// Largest workgroup, invocations.
    pub workgroup_invocations: u32,
    /// Smallest and largest subgroup.
    pub subgroup_sizes: [u32; 2],
    /// Those that Jostle uses.
    pub features: Vec<String>,
    /// The products that the adapter lists.
    pub cooperative_matrices: Vec<String>,
}

/// Of `jostle bench`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// The adapter.
    pub adapter: String,
    /// The model.
    pub model: String,
    /// Samples a step.
    pub batch: usize,
    /// f32 or f16.
    pub precision: String,
    /// Mode of the noise.
    pub noise: String,
    /// Milliseconds of a step with noise.
    pub median_ms: f64,
    /// Of one without.
    pub clean_median_ms: f64,
    /// What the noise costs, per cent of a step.
    pub noise_cost_percent: f64,
    /// Its standard error.
    pub noise_cost_error: f64,
    /// Pairs of measurements.
    pub rounds: u32,
    /// The host's milliseconds a step.
    pub host_ms: f64,
    /// Until the end of the first step, in which pipelines compile.
    pub first_step_ms: f64,
}

/// Of `jostle bench --variants`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Variants {
    /// f32 or f16.
    pub precision: String,
    /// Each product.
    pub operations: Vec<OperationTimes>,
}

/// A product with its variants.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OperationTimes {
    /// Kind and sizes.
    pub operation: String,
    /// Every variant that was timed.
    pub variants: Vec<Variant>,
}

/// A variant of a product.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Variant {
    /// Its name in the code.
    pub variant: String,
    /// Whether the table takes it.
    pub chosen: bool,
    /// Milliseconds.
    pub median_ms: f64,
    /// 10^9 operations a second.
    pub gflops: Option<f64>,
}

impl OperationTimes {
    /// The variant that the table takes.
    #[must_use]
    pub fn chosen(&self) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.chosen)
    }

    /// The fastest.
    #[must_use]
    pub fn fastest(&self) -> Option<&Variant> {
        self.variants.iter().min_by(|a, b| a.median_ms.total_cmp(&b.median_ms))
    }
}

/// Of `jostle bench --roofline`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Roofline {
    /// The adapter.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// The model.
    pub model: String,
    /// Samples a step.
    pub batch: usize,
    /// f32 or f16.
    pub precision: String,
    /// What the adapter was seen to reach.
    pub ceilings: Ceilings,
    /// Milliseconds of a step as a whole.
    pub step_ms: f64,
    /// Of its kernels, each timed alone.
    pub kernels_ms: f64,
    /// The host's.
    pub host_ms: f64,
    /// Slowest first.
    pub kernels: Vec<KernelLine>,
}

/// Of `jostle bench --roofline`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ceilings {
    /// 10^9 operations a second in f32.
    pub f32_gflops: f64,
    /// In f16.
    pub f16_gflops: Option<f64>,
    /// By the bytes of the operands, the last larger than the caches.
    pub bandwidth: Vec<Bandwidth>,
    /// Microseconds of a dispatch that does nothing.
    pub dispatch_us: f64,
    /// Of a submit that does nothing.
    pub submit_us: f64,
}

/// A ceiling of bandwidth.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Bandwidth {
    /// Bytes of all operands.
    pub bytes: u64,
    /// 10^9 bytes a second.
    pub gigabytes_per_second: f64,
}

/// A kernel's part of a step.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KernelLine {
    /// Entry points.
    pub kernel: String,
    /// Which product.
    pub product: Option<String>,
    /// Dispatches a step.
    pub dispatches: u64,
    /// Milliseconds a step.
    pub ms: f64,
    /// Of all kernels' time.
    pub share: Option<f64>,
    /// Bytes that it has to move at least.
    pub bytes: Option<u64>,
    /// 10^9 operations a second.
    pub gflops: Option<f64>,
    /// 10^9 bytes a second.
    pub gigabytes_per_second: Option<f64>,
    /// What bounds it.
    pub bound: Option<String>,
    /// The least time by the ceilings over its time.
    pub percent_of_ceiling: Option<f64>,
}

/// A line of `torch_step.py`, or of another peer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum TorchLine {
    /// A step or a product was timed.
    Timed(Torch),
    /// It could not be.
    Failed {
        /// The options that were given.
        options: String,
        /// Why.
        failed: String,
    },
}

/// What PyTorch, or another peer, took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Torch {
    /// Which peer.
    #[serde(default = "pytorch")]
    pub peer: String,
    /// Of the peer.
    pub version: String,
    /// The device.
    pub adapter: String,
    /// f32, tf32, f16 or what autocast took.
    pub precision: String,
    /// The network of a step.
    #[serde(default)]
    pub model: String,
    /// Samples of a step.
    #[serde(default)]
    pub batch: usize,
    /// Mode of the noise of a step.
    #[serde(default)]
    pub noise: String,
    /// Side of a product.
    pub matmul: Option<usize>,
    /// Whether images lie channels last.
    #[serde(default)]
    pub channels_last: bool,
    /// The mode of torch.compile.
    pub compile: Option<String>,
    /// Milliseconds.
    pub median_ms: f64,
    /// 10^9 operations a second of a product.
    pub gflops: Option<f64>,
    /// Until the end of the first step.
    pub first_step_ms: f64,
}

/// The peer of lines that do not name theirs.
fn pytorch() -> String {
    "torch".to_owned()
}

impl Torch {
    /// Whether it is PyTorch's.
    pub(super) fn is_pytorch(&self) -> bool {
        self.peer == pytorch()
    }
}

/// Of `jostle experiment`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Experiment {
    /// Holds, fails, inconclusive or does-not-apply.
    pub verdict: String,
    /// Each.
    pub claims: Vec<Claim>,
}

/// A claim of an experiment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claim {
    /// Human-readable.
    pub statement: String,
    /// What was measured.
    pub measured: Option<f64>,
    /// Its interval.
    pub interval: Option<[Option<f64>; 2]>,
    /// As the experiment's.
    pub verdict: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::{bench, noise::Mode, train::Precision};

    fn read<T: serde::de::DeserializeOwned>(written: &impl Serialize) -> T {
        serde_json::from_str(&serde_json::to_string(written).unwrap()).unwrap()
    }

    /// The writer's types and these must not drift apart.
    #[test]
    fn what_the_benches_print_can_be_read() {
        let step: Step = read(&bench::StepReport {
            adapter: "GPU".to_owned(),
            model: "mlp1".to_owned(),
            batch: 128,
            precision: Precision::F16,
            noise: Mode::Layer,
            median_ms: 2.0,
            p10_ms: 1.0,
            p90_ms: 3.0,
            samples_per_second: 1.0,
            gflops: f64::INFINITY,
            gigabytes_per_second: 1.0,
            clean_median_ms: 1.5,
            noise_cost_percent: 0.25,
            noise_cost_error: 0.125,
            rounds: 3,
            host_ms: 0.5,
            first_step_ms: 9.0,
            first_step_after_start_ms: 10.0,
            kernels: None,
        });
        assert_eq!((step.noise.as_str(), step.precision.as_str(), step.clean_median_ms), ("layer", "f16", 1.5));
        let time = bench::VariantTime {
            variant: "Block64".to_owned(),
            chosen: true,
            median_ms: 1.0,
            min_ms: 1.0,
            gflops: f64::NAN,
        };
        let operation = bench::OperationReport { operation: "Forward".to_owned(), variants: vec![time] };
        let report =
            bench::VariantReport { adapter: "GPU".to_owned(), precision: Precision::F32, operations: vec![operation] };
        let variants: Variants = read(&report);
        assert_eq!(variants.operations[0].chosen().unwrap().gflops, None);
    }

    #[test]
    fn a_kernel_too_short_for_the_clock_can_be_read() {
        let line = bench::KernelLine {
            kernel: "batch_norm_finish".to_owned(),
            product: None,
            dispatches: 20,
            ms: 0.0,
            share: f64::NAN,
            against: Some(bench::Against {
                work: crate::gpu::Work { flops: 1, bytes: 2 },
                gflops: f64::INFINITY,
                gigabytes_per_second: f64::INFINITY,
                intensity: 0.5,
                bound: bench::Bound::Latency,
                percent_of_ceiling: Some(f64::INFINITY),
            }),
        };
        let line: KernelLine = read(&line);
        assert_eq!((line.bytes, line.percent_of_ceiling, line.bound.as_deref()), (Some(2), None, Some("latency")));
    }

    #[test]
    fn lines_of_torch_are_times_or_reasons() {
        let timed = r#"{"peer": "torch", "version": "2.9", "adapter": "cuda", "precision": "f16", "median_ms": 0.25,
            "first_step_ms": 9.0, "matmul": 4096, "gflops": 500000.0}"#;
        assert!(matches!(serde_json::from_str(timed).unwrap(), TorchLine::Timed(Torch { matmul: Some(4096), .. })));
        let failed = r#"{"options": "--model cnn2", "failed": "out of memory"}"#;
        assert!(matches!(serde_json::from_str(failed).unwrap(), TorchLine::Failed { .. }));
    }
}
