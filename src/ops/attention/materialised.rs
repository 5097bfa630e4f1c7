//! Attention with its scores in memory: the reference, whose calls are differentiated one by one.
//!
//! ```text
//! S = Q K' / sqrt(d),   P = softmax(S),   P~ = mask P / (1 - p),   output = P~ V
//! dP = mask (dO V') / (1 - p),   dS = P o (dP - rowsum(P o dP))
//! dQ = dS K / sqrt(d),   dK = dS' Q / sqrt(d),   dV = P~' dO
//! ```
//!
//! S and dP are f32 whatever activations are: f16 would leave a score of 10 with an error of 0.4 per cent in its probability.

use std::sync::Arc;

use crate::{
    gpu::Element,
    graph::{Backward, Forward, GraphError, OpPass, Operand, Saved},
};

use super::{
    super::dropout::{Dropout, DropoutMask},
    calls::{InputGradient, Product, Softmax, SoftmaxGradient},
    product::AttentionProduct,
    shape::AttentionShape,
};

/// Attention of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Materialised {
    pub(super) shape: AttentionShape,
    /// The mask of the probabilities, where there is one.
    pub(super) dropout: Option<Dropout>,
}

impl Materialised {
    /// Pushes the forward pass, which leaves the probabilities for backward.
    pub(super) fn forward(&self, pass: &mut Forward<'_>) -> Saved {
        let (packed, len) = (pass.input(0), self.shape.scores());
        let scores = pass.words("scores", len);
        self.push_product(pass, AttentionProduct::Scores, [packed, packed, scores]);
        let probabilities = pass.elements("probabilities", len);
        pass.push("attention softmax", Arc::new(Softmax(self.shape)), [scores.read(), probabilities]);
        let kept = self.masked(pass, probabilities.read());
        let output = pass.output();
        self.push_product(pass, AttentionProduct::Output, [kept, packed, output]);
        Saved::tensors([probabilities])
    }

    /// Pushes the backward pass.
    pub(super) fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let Some(result) = pass.input_gradient(0) else { return Ok(()) };
        let (packed, grad, len) = (pass.input(0), pass.gradient(), self.shape.scores());
        let probabilities = pass.saved(0)?;
        let unmasked = pass.words("probabilities' gradient", len);
        self.push_product(pass, AttentionProduct::ProbabilityGradient, [grad, packed, unmasked]);
        let upstream = self.masked(pass, unmasked.read());
        let scores = pass.elements("scores' gradient", len);
        let softmax = Arc::new(SoftmaxGradient(self.shape));
        pass.push("attention softmax backward", softmax, [probabilities, upstream, scores]);
        let kept = self.masked(pass, probabilities);
        let operands = [packed, kept, scores.read(), grad, result];
        pass.push("attention input gradient", Arc::new(InputGradient(self.shape)), operands);
        Ok(())
    }

    fn push_product<State>(&self, pass: &mut OpPass<'_, State>, product: AttentionProduct, operands: [Operand; 3]) {
        let name = match product {
            AttentionProduct::Scores => "attention scores",
            AttentionProduct::Output => "attention output",
            _ => "attention probabilities gradient",
        };
        pass.push(name, Arc::new(Product { product, shape: self.shape }), operands);
    }

    /// What the mask leaves of probabilities or of their gradient.
    fn masked<State>(&self, pass: &mut OpPass<'_, State>, whole: Operand) -> Operand {
        let Some(dropout) = self.dropout else { return whole };
        let len = self.shape.scores();
        let kept = match whole.element {
            Element::Half => pass.elements("kept", len),
            _ => pass.words("kept", len),
        };
        pass.push("attention dropout", Arc::new(DropoutMask(dropout)), [whole, kept]);
        kept.read()
    }
}
