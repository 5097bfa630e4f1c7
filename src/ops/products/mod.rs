//! The products that linear layers and convolutions are made of, as calls.

mod conv;
mod cut;
mod matmul;
mod parts;

use std::sync::Arc;

use crate::{
    gpu::{GpuError, View},
    graph::{Binding, Call, GraphError, Kernel, LaunchContext, Operand, TangentTarget, Tangents},
    kernels::{Activation, Elementwise, Epilogue, Place, ProductOperands},
};

use super::elementwise::ElementwiseStep;

pub use conv::{ConvProduct, PackWeights};
pub use matmul::MatrixProduct;

/// Places of a product's operands: the left one, the right one, the result, then what the epilogue takes (a bias, or what
/// forward saved), then the pre-activation that it keeps.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;
pub(super) const C: usize = 2;
pub(super) const AUX: usize = 3;
pub(super) const PRE: usize = 4;

/// The views of a product's operands, and what it keeps for itself.
fn operands<'a>(binding: &'a Binding<'_>, scratch: &'a View) -> Result<ProductOperands<'a>, GpuError> {
    Ok(ProductOperands {
        a: binding.view(A)?,
        b: binding.view(B)?,
        aux: binding.views.get(AUX),
        c: binding.view(C)?,
        pre: binding.views.get(PRE),
        scratch: Some(scratch),
    })
}

/// Operands two by two, of a call that does a job for each: what it reads, then what it writes.
fn pairs(call: &Call) -> impl Iterator<Item = [&Operand; 2]> {
    call.operands.as_chunks::<2>().0.iter().map(<[Operand; 2]>::each_ref)
}

/// Where they lie.
fn places(call: &Call, context: &LaunchContext) -> Vec<[Place; 2]> {
    pairs(call).map(|job| job.map(|operand| context.places.place(operand))).collect()
}

/// The tangent of a product with an epilogue; one without is bilinear. C = A B gives the tangents A' B + A B' (a prime for a
/// tangent), then the epilogue's derivative; `kernel` is the product with another epilogue.
///
/// # Errors
/// [`GraphError::NoDerivative`] for an activation's derivative in the epilogue, which a backward that is differentiated does
/// not fuse.
fn product_tangent(
    pass: &mut dyn Tangents,
    name: &str,
    call: &Call,
    epilogue: Epilogue,
    kernel: &dyn Fn(Epilogue) -> Arc<dyn Kernel>,
) -> Result<(), GraphError> {
    let tangents = [A, B].map(|place| pass.tangent_at(call, place));
    let [a, b, c] = [A, B, C].map(|place| call.operand(place).copied());
    let (Some(a), Some(b), Some(c)) = (a, b, c) else { return Err(GraphError::no_derivative(name)) };
    let [a_tangent, b_tangent] = tangents;
    if a_tangent.is_none() && b_tangent.is_none() {
        return Ok(());
    }
    let whole = sums(pass, call, epilogue, &c).ok_or_else(|| GraphError::no_derivative(name))?;
    let mut terms = whole;
    if let Some(b) = b_tangent {
        let bias = pass.tangent_at(call, AUX);
        let epilogue = match bias {
            Some(_) => Epilogue::BiasActivation { activation: Activation::Identity, store_pre: false },
            None => Epilogue::Plain,
        };
        let operands = [a, b, terms.next_term()].into_iter().chain(bias);
        pass.push(name, kernel(epilogue), operands.collect::<Vec<_>>());
    }
    if let Some(a) = a_tangent {
        pass.push(name, kernel(Epilogue::Plain), [a, b, terms.next_term()]);
    }
    through_activation(pass, name, call, epilogue, (whole, c));
    Ok(())
}

/// Where the tangent of a product's sums goes: to that of the result, unless an activation comes between.
fn sums(pass: &mut dyn Tangents, call: &Call, epilogue: Epilogue, c: &Operand) -> Option<TangentTarget> {
    match epilogue {
        Epilogue::BiasActivation { activation: Activation::Identity, .. } => Some(pass.fresh_target(c)),
        Epilogue::BiasActivation { .. } => Some(match call.operand(PRE) {
            Some(pre) => pass.fresh_target(pre),
            None => pass.new_target("sums tangent", c.len),
        }),
        Epilogue::Plain | Epilogue::ActivationGradient(_) => None,
    }
}

/// The tangent of a product's result from that of its sums.
fn through_activation(
    pass: &mut dyn Tangents,
    name: &str,
    call: &Call,
    epilogue: Epilogue,
    (sums, c): (TangentTarget, Operand),
) {
    let Epilogue::BiasActivation { activation, .. } = epilogue else { return };
    if activation == Activation::Identity {
        return;
    }
    let saved = call.operand(PRE).copied().unwrap_or(c).read();
    let result = pass.fresh_target(&c).next_term();
    let kernel = ElementwiseStep(Elementwise::ActivationGradient(activation));
    pass.push(name, Arc::new(kernel), [sums.read(), result, saved]);
}

/// What an epilogue takes along of an activation's derivative.
pub(super) fn gradient_epilogue(fused: Option<(Activation, Operand)>) -> Epilogue {
    fused.map_or(Epilogue::Plain, |(activation, _)| Epilogue::ActivationGradient(activation))
}
