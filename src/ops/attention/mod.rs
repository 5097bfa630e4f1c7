//! Multi-head attention over packed queries, keys and values.
//!
//! ```text
//! S = Q K' / sqrt(d),   P = softmax of the rows of S,   output = P V                          for each head of each sample
//! ```
//!
//! Where it is causal a query sees its own position and those before it alone. Dropout zeroes elements of P, as
//! `torch.nn.functional.scaled_dot_product_attention` does.
//!
//! Source: Vaswani et al., "Attention is all you need", NeurIPS 2017.

mod calls;
mod materialised;
mod product;
mod rows;
mod shape;

use std::sync::Arc;

use serde::Deserialize;

use crate::graph::{
    Backward, Forward, Graph, GraphError, Inputs, Op, OpPass, ParamId, ParamSpec, Saved, StatId, ValueId, ValueShape,
};

use super::{
    dropout::{self, Dropout},
    layer::{LayerKind, keys},
};

pub use product::{AttentionProduct, attention_product};
pub use rows::{attention_softmax, attention_softmax_curvature, attention_softmax_gradient};
pub use shape::AttentionShape;

use materialised::Materialised;

/// The kernels of all forms.
pub(super) const SPECS: &[&crate::gpu::KernelSpec] = &[
    &product::BLOCK.elements,
    &product::BLOCK.vectors,
    &product::SOFTWARE.elements,
    &product::SOFTWARE.vectors,
    &rows::SOFTMAX,
    &rows::SOFTMAX_GRADIENT,
    &rows::SOFTMAX_CURVATURE,
];

/// An attention's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Heads, which have to divide the channels.
    pub heads: usize,
    /// Whether a query sees its own position and those before it alone.
    pub causal: bool,
    /// Chance of a zero among the probabilities, in training alone.
    pub dropout: f32,
}

/// An attention without parameters: linear layers before and after it have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Its settings.
    pub options: AttentionOptions,
    /// Number of its mask among the graph's dropouts, which each have their own stream.
    pub layer: usize,
}

impl Attention {
    /// What it computes by.
    fn form<State>(&self, pass: &OpPass<'_, State>) -> Result<Materialised, GraphError> {
        let AttentionOptions { heads, causal, dropout } = self.options;
        let (length, features) = (pass.input_shape(0).pixels(), pass.output_shape().channels());
        let shape = AttentionShape::new([pass.batch(), length, heads, features / heads], causal)
            .map_err(|error| pass.refusal(&error))?;
        let drops = self.draws_masks() && pass.mode().trains();
        Ok(Materialised { shape, dropout: drops.then_some(Dropout { probability: dropout, layer: self.layer }) })
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        let AttentionOptions { heads, causal, dropout } = self.options;
        let mask = if self.draws_masks() { format!(" dropout {dropout} layer {}", self.layer) } else { String::new() };
        format!("attention heads {heads} causal {causal}{mask}")
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let [length, head_dim] = shape::packed(inputs, self.options.heads)?;
        dropout::check(inputs, self.options.dropout)?;
        Ok(ValueShape::Sequence { length, features: self.options.heads * head_dim })
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn draws_masks(&self) -> bool {
        self.options.dropout > 0.0
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        Ok(self.form(pass)?.forward(pass))
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        self.form(pass)?.backward(pass)
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "attention",
    stem: None,
    add: |site, table| {
        let AttentionKeys { heads, causal, dropout } = keys(table)?;
        Ok(site.graph.attention(site.input, AttentionOptions { heads, causal, dropout })?)
    },
}];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttentionKeys {
    heads: usize,
    #[serde(default)]
    causal: bool,
    #[serde(default)]
    dropout: f32,
}

impl Graph {
    /// Adds an attention: from a sequence of 3 C features, the queries, keys and values of C each with the heads one after the
    /// other in each, a sequence of C features.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for an input that is no sequence or whose features 3 does not divide, for heads that do not divide C,
    /// or a dropout outside of [0, 1).
    pub fn attention(&mut self, input: ValueId, options: AttentionOptions) -> Result<ValueId, GraphError> {
        let layer = dropout::next_layer(self);
        self.add_op(Arc::new(Attention { options, layer }), "", &[input])
    }
}
