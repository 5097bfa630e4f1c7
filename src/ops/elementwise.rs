//! Elementwise steps as calls.

use std::sync::Arc;

use crate::{
    gpu::{GpuError, Launch},
    graph::{Binding, Call, GraphError, Kernel, LaunchContext, Record, Tangent, Tangents},
    kernels::{Activation, Elementwise, elementwise},
};

/// Places of the operands; the right one is there for operations that read two.
const LEFT: usize = 0;
const OUTPUT: usize = 1;
const RIGHT: usize = 2;

/// output (+)= operation(left, right); operands: left, output, and right where the operation reads two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementwiseStep(pub Elementwise);

impl ElementwiseStep {
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        match self.0 {
            Elementwise::Copy => pass.linear(name, call, &[LEFT]),
            Elementwise::Add => Self::sum_tangent(pass, name, call),
            Elementwise::Activate(activation) => Self::activation_tangent(pass, name, call, activation),
            Elementwise::ActivationGradient(activation) => Self::gradient_tangent(pass, name, call, activation),
            // Made by tangents alone.
            Elementwise::Multiply | Elementwise::ActivationCurvature(_) => Err(GraphError::no_derivative(name)),
        }
    }

    fn sum_tangent(pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let terms: Vec<_> = [LEFT, RIGHT].into_iter().filter_map(|place| pass.tangent_at(call, place)).collect();
        let result = call.operand(OUTPUT).ok_or_else(|| GraphError::no_derivative(name))?;
        if !terms.is_empty() {
            let mut target = pass.target(result);
            for term in terms {
                pass.push(name, Arc::new(Self(Elementwise::Copy)), [term, target.next_term()]);
            }
        }
        Ok(())
    }

    fn activation_tangent(
        pass: &mut dyn Tangents,
        name: &str,
        call: &Call,
        activation: Activation,
    ) -> Result<(), GraphError> {
        let (Some(left), Some(output)) = (call.operand(LEFT), call.operand(OUTPUT)) else {
            return Err(GraphError::no_derivative(name));
        };
        let saved = if activation.saves_input() { left.read() } else { output.read() };
        if let Some(tangent) = pass.tangent(left.tensor) {
            let result = pass.target(output).next_term();
            pass.push(name, Arc::new(Self(Elementwise::ActivationGradient(activation))), [tangent, result, saved]);
        }
        Ok(())
    }

    /// g a'(s) gives g' a'(s) + g a''(s) s'.
    fn gradient_tangent(
        pass: &mut dyn Tangents,
        name: &str,
        call: &Call,
        activation: Activation,
    ) -> Result<(), GraphError> {
        let operands = [LEFT, OUTPUT, RIGHT].map(|place| call.operand(place).copied());
        let [Some(left), Some(output), Some(saved)] = operands else { return Err(GraphError::no_derivative(name)) };
        let curved = pass.tangent(saved.tensor).filter(|_| !activation.is_piecewise_linear());
        let tangent = pass.tangent(left.tensor);
        if tangent.is_none() && curved.is_none() {
            return Ok(());
        }
        let mut target = pass.target(&output);
        if let Some(tangent) = tangent {
            let gradient = Arc::new(Self(Elementwise::ActivationGradient(activation)));
            pass.push(name, gradient, [tangent, target.next_term(), saved]);
        }
        if let Some(saved_tangent) = curved {
            let product = pass.words("curved", left.len);
            pass.push(name, Arc::new(Self(Elementwise::Multiply)), [left, product, saved_tangent]);
            let curvature = Arc::new(Self(Elementwise::ActivationCurvature(activation)));
            pass.push(name, curvature, [product.read(), target.next_term(), saved]);
        }
        Ok(())
    }
}

impl Kernel for ElementwiseStep {
    fn kind(&self) -> &'static str {
        "elementwise"
    }

    fn sizes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, call: &Call) -> u64 {
        let own = match self.0 {
            Elementwise::Copy => 0,
            Elementwise::Activate(_) | Elementwise::Add | Elementwise::Multiply => 1,
            Elementwise::ActivationGradient(_) | Elementwise::ActivationCurvature(_) => 2,
        };
        (own + u64::from(call.adds(OUTPUT))) * call.len(OUTPUT) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.launch(&context.target, call.len(OUTPUT), call.adds(OUTPUT))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(LEFT)?, &binding.view_or_unused(RIGHT)?, binding.view(OUTPUT)?];
        Ok(Box::new(elementwise(binding.gpu, self.0, views, call.adds(OUTPUT))?))
    }
}
