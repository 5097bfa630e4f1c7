//! Dropout: random zeros in training, the same forward and backward; with the host side of `shaders/dropout.wgsl`.
//!
//! ```text
//! output[i] = input[i] mask[i] / (1 - probability),   mask a function of (seed, step, layer, i)
//! ```

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View},
    graph::{
        Backward, BatchInfo, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId,
        ParamSpec, Record, Saved, StatId, Tangent, ValueId, ValueShape,
    },
    kernels::{Elementwise, Target, flag, index_u32},
};

use super::{
    elementwise::ElementwiseStep,
    layer::{LayerKind, keys},
};

/// A dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Chance of a zero.
    pub probability: f32,
    /// Number among the graph's dropouts: each has its own stream.
    pub layer: usize,
}

/// Random zeros; operands: input, output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutMask(pub Dropout);

impl Kernel for DropoutMask {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn sizes(&self) -> String {
        format!("p {}", self.0.probability)
    }

    /// Products with the Hessian are those of the network without dropout, in whose place they have copies.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        call.len(1) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![DropoutDispatch::launch(&context.target, call.len(1), call.adds(1))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (views, Dropout { probability, layer }) = ([binding.view(0)?, binding.view(1)?], self.0);
        Ok(Box::new(DropoutDispatch::new(binding.gpu, views, layer, probability, call.adds(1))?))
    }
}

impl Record for DropoutDispatch {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![&self.dispatch]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.seed, batch.step);
    }
}

impl Dropout {
    /// The kernel: a copy where the schedule is not of training.
    fn kernel(self, trains: bool) -> Arc<dyn Kernel> {
        if trains { Arc::new(DropoutMask(self)) } else { Arc::new(ElementwiseStep(Elementwise::Copy)) }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        format!("dropout probability {} layer {}", self.probability, self.layer)
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        check(inputs, self.probability)?;
        Ok(inputs.first())
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn draws_masks(&self) -> bool {
        true
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let operands = [pass.input(0), pass.output()];
        pass.push("dropout", self.kernel(pass.mode().trains()), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        if let Some(result) = pass.input_gradient(0) {
            pass.push("dropout", self.kernel(pass.mode().trains()), [pass.gradient(), result]);
        }
        Ok(())
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "dropout",
    stem: None,
    add: |site, table| {
        let DropoutKeys { probability } = keys(table)?;
        Ok(site.graph.dropout(site.input, probability)?)
    },
}];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropoutKeys {
    probability: f32,
}

/// Refuses a chance that is none.
pub(super) fn check(inputs: &Inputs<'_>, probability: f32) -> Result<(), GraphError> {
    if (0.0..1.0).contains(&probability) {
        return Ok(());
    }
    Err(inputs.refusal(format!("probability {probability} is not in [0, 1)")))
}

/// The number that the next operation with a mask has among the graph's.
pub(super) fn next_layer(graph: &Graph) -> usize {
    graph.nodes().iter().filter(|node| node.op.draws_masks()).count()
}

impl Graph {
    /// Adds a dropout.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a probability outside of [0, 1).
    pub fn dropout(&mut self, input: ValueId, probability: f32) -> Result<ValueId, GraphError> {
        let layer = next_layer(self);
        self.add_op(Arc::new(Dropout { probability, layer }), "", &[input])
    }
}

static DROPOUT: KernelSpec = KernelSpec {
    entry: "dropout",
    source: concat!(
        include_str!("../../shaders/dropout.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("output", Access::Real)],
    immediate_bytes: size_of::<DropoutValues>() as u32,
};

/// The kernel.
pub(super) const SPECS: &[&KernelSpec] = &[&DROPOUT];

#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct DropoutValues {
    count: u32,
    layer: u32,
    threshold: u32,
    scale: f32,
    step: u32,
    seed_low: u32,
    seed_high: u32,
}

/// A planned dropout; the mask is a pure function of (seed, step, layer, element).
#[derive(Debug)]
pub struct DropoutDispatch {
    dispatch: Dispatch,
    values: DropoutValues,
}

impl DropoutDispatch {
    /// What a dropout of `count` elements launches.
    fn launch(target: &Target, count: usize, accumulate: bool) -> Result<Launch, GpuError> {
        target.launch(&DROPOUT, &[flag("ACCUMULATE", accumulate)], count.div_ceil(4))
    }

    /// Plans `output (+)= input mask / (1 - probability)`; shapes `[count]`.
    ///
    /// # Errors
    /// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] for a probability outside of [0, 1).
    pub fn new(
        gpu: &Gpu,
        [input, output]: [&View; 2],
        layer: usize,
        probability: f32,
        accumulate: bool,
    ) -> Result<Self, GpuError> {
        let kernel = DROPOUT.entry;
        if !(0.0..1.0).contains(&probability) {
            let shape = format!("probability {probability}");
            return Err(GpuError::Shape { kernel, shape, reason: "has to be in [0, 1)" });
        }
        let count = index_u32(kernel, &[output.len()])?;
        input.expect_len(kernel, "input", output.len())?;
        let values = DropoutValues {
            count,
            layer: layer as u32,
            threshold: (f64::from(probability) * 2f64.powi(32)) as u32,
            scale: 1.0 / (1.0 - probability),
            step: 0,
            seed_low: 0,
            seed_high: 0,
        };
        let launch = Self::launch(&Target::for_device(gpu), output.len(), accumulate)?;
        Ok(Self { dispatch: gpu.bind(&launch, &[input, output], &[])?, values })
    }

    /// Records the dropout of a step.
    pub fn record(&self, recorder: &mut Recorder<'_>, seed: u64, step: u64) {
        let values =
            DropoutValues { step: step as u32, seed_low: seed as u32, seed_high: (seed >> 32) as u32, ..self.values };
        recorder.run_with(&self.dispatch, bytemuck::bytes_of(&values));
    }
}
