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
    layer::{LayerKind, keys, yes},
    products::{MatrixProduct, gradient_epilogue},
};

/// A linear layer; parameters: weight [out_features, in_features] and, if asked for, bias `[out_features]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Width of the output.
    pub out_features: usize,
    /// Whether it adds one.
    pub bias: bool,
    /// Applied in the product's epilogue.
    pub activation: Activation,
}

/// What a linear layer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearOptions {
    /// Width of the output.
    pub features: usize,
    /// Whether it adds a bias.
    pub bias: bool,
}

const WEIGHT: usize = 0;
const BIAS: usize = 1;

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let number = |place: usize| params.get(place).map_or("none".to_owned(), |ParamId(number)| number.to_string());
        format!("linear weight {} bias {} activation {}", number(WEIGHT), number(BIAS), self.activation)
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let (_, output) = inputs.rows(self.out_features)?;
        Ok(output)
    }

    fn matrix(&self) -> Option<usize> {
        Some(WEIGHT)
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        let (fan_in, _) = inputs.rows(self.out_features)?;
        let init = ParamInit::Uniform { fan_in };
        let shape = vec![self.out_features, fan_in];
        let weight = ParamSpec { suffix: "weight", shape, role: ParamRole::Weight, init };
        let bias = ParamSpec { suffix: "bias", shape: vec![self.out_features], role: ParamRole::Bias, init };
        Ok([weight].into_iter().chain(self.bias.then_some(bias)).collect())
    }

    fn kinks(&self) -> Option<&'static str> {
        activation_kinks(self.activation)
    }

    /// The epilogue that activates adds a bias too.
    fn with_activation(&self, activation: Activation, _differentiated: bool) -> Option<Arc<dyn Op>> {
        let takes = self.bias && self.activation == Activation::Identity;
        takes.then(|| Arc::new(Self { activation, ..*self }) as Arc<dyn Op>)
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let pre = pre_activation(pass, self.activation);
        let epilogue = if self.bias {
            Epilogue::BiasActivation { activation: self.activation, store_pre: pre.is_some() }
        } else {
            Epilogue::Plain
        };
        let kernel = MatrixProduct {
            layout: MatmulLayout::Forward,
            shape: [rows(pass.batch(), pass.input_shape(0)), self.out_features, pass.input_shape(0).channels()],
            epilogue,
        };
        let bias = self.bias.then(|| pass.param(BIAS));
        let operands = [pass.input(0), pass.param(WEIGHT), pass.output()].into_iter().chain(bias).chain(pre);
        let operands: Vec<_> = operands.collect();
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
        if self.bias {
            let kernel = ColumnSums { rows, columns: outputs, stride: outputs };
            let operands = [sums, pass.param_gradient(BIAS)];
            pass.push(&format!("{name} bias gradient"), Arc::new(kernel), operands);
        }
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
pub(super) const LAYERS: &[LayerKind] = &[
    LayerKind {
        name: "linear",
        stem: Some("fc"),
        add: |site, table| {
            let LinearKeys { features, bias } = keys(table)?;
            let options = LinearOptions { features: features.unwrap_or(site.classes), bias };
            Ok(site.graph.linear_with(site.input, site.name, options)?)
        },
    },
    LayerKind {
        name: "tied-linear",
        stem: None,
        add: |site, table| {
            let TiedLinearKeys { weight } = keys(table)?;
            Ok(site.graph.tied_linear(site.input, &weight)?)
        },
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearKeys {
    /// The classes of the data if left out.
    features: Option<usize>,
    #[serde(default = "yes")]
    bias: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TiedLinearKeys {
    /// The parameter's name.
    weight: String,
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
        self.add_op(Arc::new(Linear { out_features, bias: true, activation }), name, &[input])
    }

    /// Adds a linear layer `name` with `name.weight` and, if asked for, `name.bias`; without a bias, activations after it are
    /// steps of their own.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn linear_with(
        &mut self,
        input: ValueId,
        name: &str,
        LinearOptions { features, bias }: LinearOptions,
    ) -> Result<ValueId, GraphError> {
        let linear = Linear { out_features: features, bias, activation: Activation::Identity };
        self.add_op(Arc::new(linear), name, &[input])
    }

    /// Adds a linear layer without bias whose weight is a parameter that the graph has already, such as the table of an embedding
    /// [vocabulary, features] for an output head: output[n, v] = sum over c of input[n, c] param[v, c].
    ///
    /// # Errors
    /// [`GraphError::Param`] for the name of none, [`GraphError::Shape`] for one that is no matrix of as many columns as the input
    /// has features.
    pub fn tied_linear(&mut self, input: ValueId, param: &str) -> Result<ValueId, GraphError> {
        let tied = self.param_id(param)?;
        let out_features = self.params()[tied.0].shape.first().copied().unwrap_or(0);
        let linear = Linear { out_features, bias: false, activation: Activation::Identity };
        self.add_tied(Arc::new(linear), &[tied], &[input])
    }
}
