//! Linear layers.
//!
//! ```text
//! output[n, f] = activation(sum_i input[n, i] weight[f, i] + bias[f])
//! ```
//!
//! Rows n are samples, or the vectors of sequences.

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    graph::{
        Backward, Forward, Graph, GraphError, Inputs, Op, ParamId, ParamInit, ParamRole, ParamSpec, Saved, StatId,
        ValueId, ValueShape,
    },
    kernels::{Activation, Epilogue, MatmulLayout},
};

use super::{
    activation::{activation_kinks, gradient_before_activation, pre_activation},
    column_sum::ColumnSums,
    layer::{LayerKind, keys},
    products::{MatrixProduct, gradient_epilogue},
};

/// A linear layer; parameters: weight [out_features, in_features], bias `[out_features]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Width of the output.
    pub out_features: usize,
    /// Applied in the product's epilogue.
    pub activation: Activation,
}

const WEIGHT: usize = 0;
const BIAS: usize = 1;

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let numbers: Vec<_> = params.iter().map(|ParamId(number)| number.to_string()).collect();
        format!("linear weight {} activation {}", numbers.join(" bias "), self.activation)
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let (_, output) = inputs.rows(self.out_features)?;
        Ok(output)
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        let (fan_in, _) = inputs.rows(self.out_features)?;
        let init = ParamInit::Uniform { fan_in };
        Ok(vec![
            ParamSpec { suffix: "weight", shape: vec![self.out_features, fan_in], role: ParamRole::Weight, init },
            ParamSpec { suffix: "bias", shape: vec![self.out_features], role: ParamRole::Bias, init },
        ])
    }

    fn kinks(&self) -> Option<&'static str> {
        activation_kinks(self.activation)
    }

    fn with_activation(&self, activation: Activation, _differentiated: bool) -> Option<Arc<dyn Op>> {
        (self.activation == Activation::Identity).then(|| Arc::new(Self { activation, ..*self }) as Arc<dyn Op>)
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let pre = pre_activation(pass, self.activation);
        let kernel = MatrixProduct {
            layout: MatmulLayout::Forward,
            shape: [rows(pass.batch(), pass.input_shape(0)), self.out_features, pass.input_shape(0).channels()],
            epilogue: Epilogue::BiasActivation { activation: self.activation, store_pre: pre.is_some() },
        };
        let operands = [pass.input(0), pass.param(WEIGHT), pass.output(), pass.param(BIAS)];
        let operands: Vec<_> = operands.into_iter().chain(pre).collect();
        pass.push(&format!("{} forward", pass.name()), Arc::new(kernel), operands);
        let kept = pre.unwrap_or(pass.output()).slot().filter(|_| self.activation != Activation::Identity);
        Ok(Saved { slots: Vec::new(), activation: kept.map(|slot| (self.activation, slot)) })
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let sums = gradient_before_activation(pass);
        let name = pass.name();
        let (outputs, inputs) = (self.out_features, pass.input_shape(0).channels());
        let rows = rows(pass.batch(), pass.input_shape(0));
        let kernel = MatrixProduct {
            layout: MatmulLayout::WeightGradient,
            shape: [outputs, inputs, rows],
            epilogue: Epilogue::Plain,
        };
        let operands = [sums, pass.input(0), pass.param_gradient(WEIGHT)];
        pass.push(&format!("{name} weight gradient"), Arc::new(kernel), operands);
        let kernel = ColumnSums { rows, columns: outputs, stride: outputs };
        let operands = [sums, pass.param_gradient(BIAS)];
        pass.push(&format!("{name} bias gradient"), Arc::new(kernel), operands);
        let fused = pass.fusable_activation(0);
        if let Some(gradient) = pass.input_gradient_through(0, fused.is_some()) {
            let kernel = MatrixProduct {
                layout: MatmulLayout::DataGradient,
                shape: [rows, inputs, outputs],
                epilogue: gradient_epilogue(fused),
            };
            let operands = [sums, pass.param(WEIGHT), gradient];
            let operands: Vec<_> = operands.into_iter().chain(fused.map(|(_, saved)| saved)).collect();
            pass.push(&format!("{name} data gradient"), Arc::new(kernel), operands);
        }
        Ok(())
    }
}

/// Rows of the products of a batch.
fn rows(batch: usize, input: ValueShape) -> usize {
    batch * input.pixels()
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "linear",
    stem: Some("fc"),
    add: |site, table| {
        let LinearKeys { features } = keys(table)?;
        Ok(site.graph.linear(site.input, site.name, features.unwrap_or(site.classes), Activation::Identity)?)
    },
}];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearKeys {
    /// The classes of the data if left out.
    features: Option<usize>,
}

impl Graph {
    /// Adds a linear layer `name` with parameters `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`GraphError::Empty`] for a width of 0, [`GraphError::TooLarge`] for one past the kernels, [`GraphError::Name`] for a name
    /// taken, [`GraphError::Shape`] for an image or tokens.
    pub fn linear(
        &mut self,
        input: ValueId,
        name: &str,
        out_features: usize,
        activation: Activation,
    ) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Linear { out_features, activation }), name, &[input])
    }
}
