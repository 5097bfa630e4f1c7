//! Norms within a sample as calls.

use std::sync::Arc;

use crate::{
    gpu::{GpuError, Launch},
    graph::{Binding, Call, GraphError, Kernel, LaunchContext, OperandAccess, Record, Tangent, Tangents},
    kernels::AdapterClass,
};

use super::{
    super::affine::Affine,
    kernels::{NormAffine, NormCurvatureViews, group_normalise, group_normalise_curvature, group_normalise_gradient},
    shape::NormShape,
};

/// Each group of a sample to zero mean and unit variance, then a weight and, where there is one, a bias; operands: input, xhat,
/// 1 / standard deviation of each group, weight, output, bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GroupNormalise(pub(super) NormShape);

const SCALE: usize = 3;
const OUTPUT: usize = 4;
const SHIFT: usize = 5;

impl GroupNormalise {
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let operands = [0, 1, 2, SCALE, OUTPUT].map(|place| call.operand(place).copied());
        let [Some(input), Some(xhat), Some(inv_std), Some(scale), Some(output)] = operands else {
            return Err(GraphError::no_derivative(name));
        };
        // The gradient's own tangent takes the input's.
        pass.note(xhat.tensor, input);
        if let Some(tangent) = pass.tangent(input.tensor) {
            let result = pass.fresh_target(&xhat).next_term();
            let operands = [tangent, xhat.read(), inv_std.read(), result];
            pass.push(name, Arc::new(GroupNormaliseGradient(self.0)), operands);
        }
        let operands = [xhat.read(), scale, output].into_iter().chain(call.operand(SHIFT).copied()).collect();
        Affine(self.0).differentiate(pass, name, &Call { kernel: Arc::new(Affine(self.0)), operands })
    }
}

impl Kernel for GroupNormalise {
    fn kind(&self) -> &'static str {
        "group norm"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    /// Sum, mean's difference, square, sum of squares, scale; weight and bias.
    fn flops(&self, call: &Call) -> u64 {
        7 * call.len(1) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.group_normalise_launch(&context.target, [true, call.operand(SHIFT).is_some()])?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (class, views) = (AdapterClass::for_device(binding.gpu), [binding.view(0)?, binding.view(1)?]);
        let (scale, output) = (binding.view(SCALE)?, binding.view(OUTPUT)?);
        let affine = NormAffine { scale, shift: binding.views.get(SHIFT), output };
        Ok(Box::new(group_normalise(binding.gpu, class, &self.0, views, binding.view(2)?, Some(affine))?))
    }
}

/// The derivative of [`GroupNormalise`] applied to a gradient; operands: grad, xhat, inv_std, output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GroupNormaliseGradient(pub(super) NormShape);

impl GroupNormaliseGradient {
    /// The derivative P(g): P(g') and, where the norm's input has a tangent, P'(g).
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [Some(grad), Some(xhat), Some(inv_std), Some(output)] =
            [0, 1, 2, 3].map(|place| call.operand(place).copied())
        else {
            return Err(GraphError::no_derivative(name));
        };
        let input = pass.noted(xhat.tensor).and_then(|input| pass.tangent(input.tensor));
        let curved = input.zip(pass.tangent(xhat.tensor));
        let grad_tangent = pass.tangent(grad.tensor);
        if grad_tangent.is_none() && curved.is_none() {
            return Ok(());
        }
        let mut target = pass.target(&output);
        if let Some(tangent) = grad_tangent {
            pass.push(name, Arc::new(self), [tangent, xhat, inv_std, target.next_term()]);
        }
        if let Some((input_tangent, xhat_tangent)) = curved {
            let result = target.next_term();
            debug_assert!(result.adds(), "the gradient has a tangent wherever the norm's input has one");
            let operands = [grad, xhat, input_tangent, xhat_tangent, inv_std, result];
            pass.push(name, Arc::new(GroupNormaliseCurvature(self.0)), operands);
        }
        Ok(())
    }
}

impl Kernel for GroupNormaliseGradient {
    fn kind(&self) -> &'static str {
        "group norm gradient"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    /// Two sums, one of them of products, then grad - mean - xhat * slope, scaled.
    fn flops(&self, call: &Call) -> u64 {
        7 * call.len(3) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.group_normalise_gradient_launch(&context.target, call.adds(3))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (class, views) =
            (AdapterClass::for_device(binding.gpu), [binding.view(0)?, binding.view(1)?, binding.view(3)?]);
        Ok(Box::new(group_normalise_gradient(binding.gpu, class, &self.0, views, binding.view(2)?, call.adds(3))?))
    }
}

/// The tangent of [`GroupNormaliseGradient`] at a fixed gradient, added to the output; operands: grad, xhat, tangent of the
/// input, tangent of xhat, inv_std, output.
#[derive(Clone, Copy, Debug, PartialEq)]
struct GroupNormaliseCurvature(NormShape);

impl Kernel for GroupNormaliseCurvature {
    fn kind(&self) -> &'static str {
        "group norm curvature"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        14 * call.len(5) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.group_normalise_curvature_launch(&context.target)?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        debug_assert_eq!(call.operand(5).map(|output| output.access), Some(OperandAccess::Add));
        let views = NormCurvatureViews {
            grad: binding.view(0)?,
            xhat: binding.view(1)?,
            x_tangent: binding.view(2)?,
            xhat_tangent: binding.view(3)?,
            inv_std: binding.view(4)?,
            output: binding.view(5)?,
        };
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(group_normalise_curvature(binding.gpu, class, &self.0, &views)?))
    }
}
