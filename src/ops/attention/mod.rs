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

mod bounded;
mod calls;
mod flash;
mod flash_calls;
mod flash_gradient;
mod flash_specs;
mod form;
mod known;
mod linear;
mod materialised;
mod product;
mod rows;
mod shape;
mod trial;

use std::{any::Any, sync::Arc};

use serde::Deserialize;

use crate::{
    graph::{
        Backward, Forward, Graph, GraphError, Inputs, Op, OpPass, ParamId, ParamSpec, Saved, StatId, ValueId,
        ValueShape,
    },
    kernels::AdapterClass,
};

use super::{
    dropout::{self, Dropout},
    layer::{LayerKind, keys},
};

pub use flash::{Flash, FlashDispatches, flash};
pub use flash_gradient::{
    FlashGradientTangentViews, FlashGradientViews, FlashTangentViews, flash_gradient, flash_gradient_tangent,
    flash_tangent,
};
pub use form::{AttentionForm, FormChoice};
pub use product::{AttentionProduct, attention_product};
pub use rows::{attention_softmax, attention_softmax_curvature, attention_softmax_gradient};
pub use shape::AttentionShape;

use materialised::Materialised;

/// The kernels of all forms.
pub(super) const SPECS: &[&crate::gpu::KernelSpec] = &[
    &flash_specs::FLASH,
    &flash_specs::FLASH_GRADIENT,
    &flash_specs::FLASH_GRADIENT_TANGENT,
    &flash_specs::FLASH_ROWS,
    &flash_specs::FLASH_TANGENT,
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
    /// How it is computed, which is no part of a model: an adapter's choice, or that of a test or a measurement.
    pub form: FormChoice,
}

/// An attention of a batch in its form.
enum InForm {
    Materialised(Materialised),
    Linear(Flash),
}

impl Attention {
    /// What it computes by.
    fn in_form<State>(&self, pass: &OpPass<'_, State>) -> Result<InForm, GraphError> {
        let AttentionOptions { heads, causal, dropout } = self.options;
        let (length, features) = (pass.input_shape(0).pixels(), pass.output_shape().channels());
        let shape = AttentionShape::new([pass.batch(), length, heads, features / heads], causal)
            .map_err(|error| pass.refusal(&error))?;
        let drops = self.draws_masks() && pass.mode().trains();
        let dropout = drops.then_some(Dropout { probability: dropout, layer: self.layer });
        Ok(match self.form.form(&shape) {
            AttentionForm::Materialised => {
                shape.expect_scores("attention").map_err(|error| pass.refusal(&error))?;
                InForm::Materialised(Materialised { shape, dropout })
            }
            AttentionForm::Linear => InForm::Linear(Flash { shape, dropout }),
        })
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

    fn suited(&self, class: AdapterClass) -> Option<Arc<dyn Op>> {
        let suited = || Arc::new(Self { form: FormChoice::Suited(class), ..*self }) as Arc<dyn Op>;
        matches!(self.form, FormChoice::Suited(_)).then(suited)
    }

    fn ordinary(&self) -> Option<Arc<dyn Op>> {
        let materialised =
            || Arc::new(Self { form: FormChoice::Only(AttentionForm::Materialised), ..*self }) as Arc<dyn Op>;
        matches!(self.form, FormChoice::Suited(_)).then(materialised)
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        Ok(match self.in_form(pass)? {
            InForm::Materialised(attention) => attention.forward(pass),
            InForm::Linear(attention) => attention.forward(pass),
        })
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        match self.in_form(pass)? {
            InForm::Materialised(attention) => attention.backward(pass),
            InForm::Linear(attention) => attention.backward(pass),
        }
    }
}

impl AttentionForm {
    /// The same graph with every attention in this form, whatever the adapter: for tests and measurements.
    #[must_use]
    pub fn everywhere(self, graph: &Graph) -> Graph {
        graph.with_ops(|op: &dyn Op| {
            let op: &dyn Any = op;
            let attention = op.downcast_ref::<Attention>()?;
            Some(Arc::new(Attention { form: FormChoice::Only(self), ..*attention }))
        })
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
        self.add_op(Arc::new(Attention { options, layer, form: FormChoice::default() }), "", &[input])
    }
}
