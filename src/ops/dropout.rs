//! Dropout: random zeros in training, the same forward and backward.
//!
//! ```text
//! output[i] = input[i] mask[i] / (1 - probability),   mask a function of (seed, step, layer, i)
//! ```

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    gpu::{Dispatch, GpuError, Launch, Recorder},
    graph::{
        Backward, BatchInfo, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId,
        ParamSpec, Record, Saved, StatId, Tangent, ValueId, ValueShape,
    },
    kernels::{self, Elementwise},
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
        Ok(vec![kernels::DropoutDispatch::launch(&context.target, call.len(1), call.adds(1))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (views, Dropout { probability, layer }) = ([binding.view(0)?, binding.view(1)?], self.0);
        Ok(Box::new(kernels::DropoutDispatch::new(binding.gpu, views, layer, probability, call.adds(1))?))
    }
}

impl Record for kernels::DropoutDispatch {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
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
        if !(0.0..1.0).contains(&self.probability) {
            return Err(inputs.refusal(format!("probability {} is not in [0, 1)", self.probability)));
        }
        Ok(inputs.first())
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
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

impl Graph {
    /// Adds a dropout.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a probability outside of [0, 1).
    pub fn dropout(&mut self, input: ValueId, probability: f32) -> Result<ValueId, GraphError> {
        let layer = self.nodes().iter().filter(|node| node.op_as::<Dropout>().is_some()).count();
        self.add_op(Arc::new(Dropout { probability, layer }), "", &[input])
    }
}
