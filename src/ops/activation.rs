//! Activations: as operations of their own, and as what products take along.
//!
//! ```text
//! output[i] = activation(input[i])
//! ```

use std::sync::Arc;

use toml::Table;

use crate::{
    graph::{
        Backward, Forward, Fusion, Graph, GraphError, Inputs, Op, Operand, ParamId, ParamSpec, Saved, StatId, ValueId,
        ValueShape,
    },
    kernels::{Activation, Elementwise},
};

use super::{
    elementwise::ElementwiseStep,
    layer::{LayerError, LayerKind, LayerSite, NoKeys, keys},
};

/// An activation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activate(pub Activation);

impl Op for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        format!("activate {}", self.0)
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        Ok(inputs.first())
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        activation_kinks(self.0)
    }

    fn fusion(&self) -> Fusion {
        Fusion::Activation(self.0)
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let (input, output) = (pass.input(0), pass.output());
        let kernel = Arc::new(ElementwiseStep(Elementwise::Activate(self.0)));
        pass.push(&format!("{} forward", self.0), kernel, [input, output]);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let saved = if self.0.saves_input() { pass.input(0) } else { pass.output() };
        if let Some(result) = pass.input_gradient(0) {
            let kernel = Arc::new(ElementwiseStep(Elementwise::ActivationGradient(self.0)));
            pass.push("gradient", kernel, [pass.gradient(), result, saved]);
        }
        Ok(())
    }
}

/// The layers in files.
pub(super) const LAYERS: &[LayerKind] = &[
    LayerKind { name: "relu", stem: None, add: |site, table| add(site, table, Activation::Relu) },
    LayerKind { name: "gelu", stem: None, add: |site, table| add(site, table, Activation::Gelu) },
    LayerKind { name: "gelu_tanh", stem: None, add: |site, table| add(site, table, Activation::GeluTanh) },
    LayerKind { name: "silu", stem: None, add: |site, table| add(site, table, Activation::Silu) },
    LayerKind { name: "tanh", stem: None, add: |site, table| add(site, table, Activation::Tanh) },
    LayerKind { name: "sigmoid", stem: None, add: |site, table| add(site, table, Activation::Sigmoid) },
];

fn add(site: LayerSite<'_>, table: Table, activation: Activation) -> Result<ValueId, LayerError> {
    let NoKeys {} = keys(table)?;
    Ok(site.graph.activate(site.input, activation)?)
}

impl Graph {
    /// Adds an activation. A schedule takes it into the product of the layer before it where nothing else reads that
    /// layer's output; the value activated stays what it was.
    ///
    /// # Errors
    /// None in practice: the shape is that of the input.
    pub fn activate(&mut self, input: ValueId, activation: Activation) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Activate(activation)), "", &[input])
    }
}

/// What in an activation has kinks.
pub(super) fn activation_kinks(activation: Activation) -> Option<&'static str> {
    (activation == Activation::Relu).then_some("ReLU")
}

/// The tensor of the pre-activation, where backward will want it.
pub(super) fn pre_activation(pass: &mut Forward<'_>, activation: Activation) -> Option<Operand> {
    let words = pass.output_shape().words();
    (pass.mode().has_backward() && activation.saves_input()).then(|| pass.activation("pre-activation", words))
}

/// The gradient of a product's sums, its activation undone where no reader's backward has done it.
pub(super) fn gradient_before_activation(pass: &mut Backward<'_, '_>) -> Operand {
    let gradient = pass.gradient();
    let Some((activation, saved)) = pass.activation_left() else { return gradient };
    let sums = pass.activation("grad sums", pass.output_shape().words());
    let kernel = Arc::new(ElementwiseStep(Elementwise::ActivationGradient(activation)));
    pass.push(&format!("{activation} backward"), kernel, [gradient, sums, saved]);
    sums.read()
}
