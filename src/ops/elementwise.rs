//! Elementwise steps as calls.

use std::sync::Arc;

use crate::{
    gpu::{GpuError, Launch},
    graph::{Binding, Call, GraphError, Kernel, LaunchContext, Record, Tangent, Tangents},
    kernels::{Activation, Elementwise, activation_tangent, activation_tangent_launch, elementwise},
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
        }
    }

    fn sum_tangent(pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let result = call.operand(OUTPUT).ok_or_else(|| GraphError::no_derivative(name))?;
        match [LEFT, RIGHT].map(|place| pass.tangent_at(call, place)) {
            [Some(left), Some(right)] => {
                let sum = pass.target(result).next_term();
                pass.push(name, Arc::new(Self(Elementwise::Add)), [left, sum, right]);
            }
            [Some(term), None] | [None, Some(term)] => {
                let sum = pass.target(result).next_term();
                pass.push(name, Arc::new(Self(Elementwise::Copy)), [term, sum]);
            }
            [None, None] => {}
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
        match (pass.tangent(left.tensor), curved) {
            (Some(tangent), Some(saved_tangent)) => {
                let result = pass.target(&output).next_term();
                let operands = [left, tangent, saved, saved_tangent, result];
                pass.push(name, Arc::new(ActivationTangent(activation)), operands);
            }
            (Some(tangent), None) => {
                let result = pass.target(&output).next_term();
                pass.push(name, Arc::new(Self(Elementwise::ActivationGradient(activation))), [tangent, result, saved]);
            }
            // The gradient has a tangent wherever what forward saved has one.
            (None, Some(_)) => return Err(GraphError::no_derivative(name)),
            (None, None) => {}
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
            Elementwise::Activate(_) | Elementwise::Add => 1,
            Elementwise::ActivationGradient(_) => 2,
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

/// The tangent of an [`Elementwise::ActivationGradient`]; operands: left, its tangent, what forward saved, its tangent, output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ActivationTangent(Activation);

/// Place of its output.
const TANGENT: usize = 4;

impl Kernel for ActivationTangent {
    fn kind(&self) -> &'static str {
        "activation tangent"
    }

    fn sizes(&self) -> String {
        self.0.to_string()
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    /// Two derivatives, three products, a sum.
    fn flops(&self, call: &Call) -> u64 {
        (6 + u64::from(call.adds(TANGENT))) * call.len(TANGENT) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![activation_tangent_launch(&context.target, self.0, call.len(TANGENT), call.adds(TANGENT))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(0)?, binding.view(1)?, binding.view(2)?, binding.view(3)?, binding.view(TANGENT)?];
        Ok(Box::new(activation_tangent(binding.gpu, self.0, views, call.adds(TANGENT))?))
    }
}
