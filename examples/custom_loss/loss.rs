//! The Brier score as a loss: what `src/ops/loss.rs` holds of each of the engine's own.

use std::sync::Arc;

use jostle::{
    gpu::{Access, Dispatch, GpuError, Grid, KernelSpec, Launch, Recorder},
    graph::{BatchInfo, Binding, Call, Kernel, LaunchContext, LossFunction, OutputShape, Record, Tangent, TargetKind},
};

static BRIER: KernelSpec = KernelSpec {
    entry: "brier",
    source: include_str!("brier.wgsl"),
    bindings: &[
        ("outputs", Access::ReadWrite),
        ("gradient", Access::ReadWrite),
        ("row_stats", Access::ReadWrite),
        ("labels", Access::Index),
        ("indices", Access::Index),
    ],
    immediate_bytes: 20,
};

/// Invocations of a workgroup, as the WGSL says.
const THREADS: usize = 64;

/// sum over the classes of (softmax(outputs) - one-hot target)^2, the mean over the samples; in f32.
#[derive(Clone, Copy, Debug)]
pub struct Brier;

impl LossFunction for Brier {
    fn name(&self) -> &'static str {
        "brier"
    }

    fn outputs_are_logits(&self) -> bool {
        true
    }

    fn kernel(&self, outputs: OutputShape, _scaled: bool) -> Arc<dyn Kernel> {
        Arc::new(BrierKernel { batch: outputs.batch, width: outputs.width })
    }
}

/// Operands: outputs, gradient, row statistics, labels, indices.
#[derive(Clone, Copy, Debug)]
struct BrierKernel {
    batch: usize,
    width: usize,
}

impl Kernel for BrierKernel {
    fn kind(&self) -> &'static str {
        "loss"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.batch)
    }

    /// Its own second derivative is left out: products with the Hessian are refused.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        12 * call.len(0) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let grid = Grid::fold(BRIER.entry, self.batch, THREADS, context.target.limits.workgroups)?;
        Ok(vec![Launch::new(&BRIER, &[], grid, THREADS)])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        // One class a sample: no vectors, and no tokens, whose outputs have several rows a sample.
        if !matches!(binding.data.target_kind, TargetKind::Classes(classes) if classes <= self.width) {
            let shape = format!("{:?} for {} outputs", binding.data.target_kind, self.width);
            return Err(GpuError::Shape { kernel: "brier", shape, reason: "the score is one of classes" });
        }
        let launch = self.launches(call, &binding.context())?.remove(0);
        let views = [0, 1, 2, 3, 4].map(|place| binding.view(place));
        let [outputs, gradient, row_stats, labels, indices] = views;
        let views = [outputs?, gradient?, row_stats?, labels?, indices?];
        let dispatch = binding.gpu.bind(&launch, &views, &[])?;
        Ok(Box::new(BoundBrier { dispatch, batch: self.batch as u32, width: self.width as u32 }))
    }
}

/// What changes from batch to batch goes in as immediates.
#[derive(Debug)]
struct BoundBrier {
    dispatch: Dispatch,
    batch: u32,
    width: u32,
}

impl Record for BoundBrier {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![&self.dispatch]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        let scale = 1.0 / batch.terms.mean_over.max(1) as f32;
        let values = [batch.first, batch.valid, self.batch, self.width, scale.to_bits()];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        recorder.run_with(&self.dispatch, &bytes);
    }
}
