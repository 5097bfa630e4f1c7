//! A scale and a shift by channel or element as calls, and their gradients: the second half of norms.

use std::sync::Arc;

use crate::{
    gpu::{Element, GpuError, Launch},
    graph::{Backward, Binding, Call, Forward, GraphError, Kernel, LaunchContext, Operand, Record, Tangent, Tangents},
    kernels::{AdapterClass, NormShape, affine, affine_gradient},
};

/// output (+)= input scale [+ shift]; operands: input, scale, output, and shift where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine(pub(super) NormShape);

impl Affine {
    /// y = x s + t gives x' s + x s' + t'.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [Some(input), Some(scale), Some(output)] = [0, 1, 2].map(|place| call.operand(place).copied()) else {
            return Err(GraphError::no_derivative(name));
        };
        let [input_tangent, scale_tangent, shift_tangent] = [0, 1, 3].map(|place| pass.tangent_at(call, place));
        if input_tangent.is_none() && scale_tangent.is_none() {
            return Ok(());
        }
        let mut target = pass.target(&output);
        if let Some(scale) = scale_tangent {
            let operands = [input, scale, target.next_term()].into_iter().chain(shift_tangent);
            pass.push(name, Arc::new(self), operands.collect::<Vec<_>>());
        }
        if let Some(input) = input_tangent {
            pass.push(name, Arc::new(self), [input, scale, target.next_term()]);
        }
        Ok(())
    }
}

impl Kernel for Affine {
    fn kind(&self) -> &'static str {
        "affine"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, call: &Call) -> u64 {
        2 * call.len(2) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.affine_launch(&context.target, call.operand(3).is_some(), call.adds(2))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (views, shift) = ([binding.view(0)?, binding.view(2)?], binding.views.get(3));
        Ok(Box::new(affine(binding.gpu, &self.0, views, binding.view(1)?, shift, call.adds(2))?))
    }
}

/// grad_scale (+)= sum grad input and, where there is one, grad_shift (+)= sum grad; operands: grad, input, grad_scale, and
/// grad_shift.
#[derive(Clone, Copy, Debug, PartialEq)]
struct AffineGradient(NormShape);

impl AffineGradient {
    /// sum g x and sum g give sum (g' x + g x') and sum g'.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [Some(grad), Some(input), Some(scale)] = [0, 1, 2].map(|place| call.operand(place).copied()) else {
            return Err(GraphError::no_derivative(name));
        };
        let [grad_tangent, input_tangent] = [grad, input].map(|operand| pass.tangent(operand.tensor));
        if grad_tangent.is_none() && input_tangent.is_none() {
            return Ok(());
        }
        let mut target = pass.fresh_target(&scale);
        if let Some(grad) = grad_tangent {
            let shift = call.operand(3).map(|shift| pass.fresh_target(shift).next_term());
            let operands = [grad, input, target.next_term()].into_iter().chain(shift);
            pass.push(name, Arc::new(self), operands.collect::<Vec<_>>());
        }
        if let Some(input) = input_tangent {
            pass.push(name, Arc::new(self), [grad, input, target.next_term()]);
        }
        Ok(())
    }
}

impl Kernel for AffineGradient {
    fn kind(&self) -> &'static str {
        "affine gradient"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, call: &Call) -> u64 {
        3 * call.len(0) as u64
    }

    fn scratch_words(&self, class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(self.0.gradient_scratch_words(class))
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let has_shift = call.operand(3).is_some();
        self.0.affine_gradient_launches(&context.target, [has_shift, call.adds(2)], context.element)
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let class = AdapterClass::for_device(binding.gpu);
        let scratch = binding.scratch(self.0.gradient_scratch_words(class))?;
        let views = [binding.view(0)?, binding.view(1)?, &scratch];
        let (scale, shift) = (binding.view(2)?, binding.views.get(3));
        Ok(Box::new(affine_gradient(binding.gpu, class, &self.0, views, scale, shift, call.adds(2))?))
    }
}

/// Places of a norm's parameters.
const WEIGHT: usize = 0;
const BIAS: usize = 1;

/// Pushes output = xhat weight + bias, the output being the operation's.
pub(super) fn push_affine(pass: &mut Forward<'_>, shape: NormShape, xhat: Operand) {
    let operands = [xhat.read(), pass.param(WEIGHT), pass.output(), pass.param(BIAS)];
    pass.push(&format!("{} affine", pass.name()), Arc::new(Affine(shape)), operands);
}

/// Pushes the gradients of weight and bias; the gradient of what they were applied to.
pub(super) fn push_affine_gradient(pass: &mut Backward<'_, '_>, shape: NormShape, xhat: Operand) -> Operand {
    let (name, grad) = (pass.name(), pass.gradient());
    let operands = [grad, xhat, pass.param_gradient(WEIGHT), pass.param_gradient(BIAS)];
    pass.push(&format!("{name} affine gradient"), Arc::new(AffineGradient(shape)), operands);
    let result = pass.activation("gradient", pass.input_shape(0).words());
    let operands = [grad, pass.param(WEIGHT), result];
    pass.push(&format!("{name} backward"), Arc::new(Affine(shape)), operands);
    result.read()
}
