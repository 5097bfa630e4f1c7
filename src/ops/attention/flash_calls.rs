//! The calls of linear attention, and their tangents.

use std::sync::Arc;

use crate::{
    gpu::{Element, Gpu, GpuError, Launch, Work},
    graph::{Binding, Call, GraphError, Kernel, LaunchContext, Operand, Record, Tangent, Tangents},
    kernels::{AdapterClass, Target},
};

use super::{
    calls::{element, operands, sizes},
    flash::{FORWARD_PRODUCTS, Flash, GRADIENT_PRODUCTS, GRADIENT_TANGENT_PRODUCTS, TANGENT_PRODUCTS, flash},
    flash_gradient::{
        FlashGradientTangentViews, FlashGradientViews, FlashTangentViews, flash_gradient, flash_gradient_tangent,
        flash_tangent,
    },
    trial::Trial,
};

/// The work of the dispatches of a gradient or its tangent, of so many products over queries and over keys.
fn gradient_work(call: &Call, flash: &Flash, products: [usize; 2], tangent: bool) -> Vec<Work> {
    let over = |products: usize| Work { flops: flash.flops(products), bytes: call.traffic() };
    vec![flash.rows_work(tangent), over(products[0]), over(products[1])]
}

/// The trial for a call of the linear form, whose first operand is the packed input.
fn trial(flash: &Flash, call: &Call) -> Result<Trial, GpuError> {
    Trial::new(flash, element(call, 0))
}

/// Attention; operands: packed input, output, L of each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FlashForward(pub(super) Flash);

impl FlashForward {
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [qkv, output, lse] = operands(call, name)?;
        let Some(tangent) = pass.tangent(qkv.tensor) else { return Ok(()) };
        let result = pass.fresh_target(&output).next_term();
        let mu = pass.words("attention mu", lse.len);
        // The gradient's own tangent takes it.
        pass.note(lse.tensor, mu.read());
        let operands = [qkv, tangent, lse.read(), output.read(), result, mu];
        pass.push(name, Arc::new(FlashTangent(self.0)), operands);
        Ok(())
    }
}

impl Kernel for FlashForward {
    fn kind(&self) -> &'static str {
        "linear attention"
    }

    fn sizes(&self) -> String {
        sizes(&self.0.shape)
    }

    /// Products with the Hessian are those of the network without dropout.
    fn tangent(&self) -> Tangent<'_> {
        if self.0.dropout.is_some() {
            return Tangent::Refused;
        }
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, _call: &Call) -> u64 {
        self.0.flops(FORWARD_PRODUCTS)
    }

    fn product(&self) -> Option<String> {
        Some("attention".to_owned())
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.launch(&context.target)?])
    }

    fn admit(&self, call: &Call, gpu: &Gpu) -> Result<(), GpuError> {
        let (trial, target) = (trial(&self.0, call)?, Target::for_device(gpu));
        trial.admit(gpu, &[trial.flash.launch(&target)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        Ok(Box::new(flash(binding.gpu, &self.0, [binding.view(0)?, binding.view(1)?], binding.view(2)?)?))
    }
}

/// The gradient of [`FlashForward`]; operands: packed input, output, L, the output's gradient, the packed input's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FlashGradient(pub(super) Flash);

impl FlashGradient {
    /// Where packed input and output have no tangents it is linear in the gradient.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        const GRAD: usize = 3;
        let [qkv, output, lse, grad, result]: [Operand; 5] = operands(call, name)?;
        let Some(qkv_tangent) = pass.tangent(qkv.tensor) else { return pass.linear(name, call, &[GRAD]) };
        let along = pass.tangent(output.tensor).zip(pass.noted(lse.tensor));
        let (output_tangent, mu) = along.ok_or_else(|| GraphError::no_derivative(name))?;
        let grad_tangent = pass.tangent(grad.tensor);
        let result = pass.target(&result).next_term();
        let operands = [qkv, output, lse, grad, result, qkv_tangent, output_tangent, mu].into_iter();
        pass.push(name, Arc::new(FlashGradientTangent(self.0)), operands.chain(grad_tangent).collect::<Vec<_>>());
        Ok(())
    }
}

impl Kernel for FlashGradient {
    fn kind(&self) -> &'static str {
        "linear attention gradient"
    }

    fn sizes(&self) -> String {
        sizes(&self.0.shape)
    }

    fn tangent(&self) -> Tangent<'_> {
        if self.0.dropout.is_some() {
            return Tangent::Refused;
        }
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, _call: &Call) -> u64 {
        self.0.flops(GRADIENT_PRODUCTS.iter().sum())
    }

    fn product(&self) -> Option<String> {
        Some("attention gradient".to_owned())
    }

    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        gradient_work(call, &self.0, GRADIENT_PRODUCTS, false)
    }

    fn scratch_words(&self, _class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(self.0.row_words())
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(self.0.gradient_launches(&context.target, call.adds(4))?.to_vec())
    }

    fn admit(&self, call: &Call, gpu: &Gpu) -> Result<(), GpuError> {
        let (trial, target) = (trial(&self.0, call)?, Target::for_device(gpu));
        trial.admit(gpu, &trial.flash.gradient_launches(&target, call.adds(4))?)
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let rows = binding.scratch(self.0.row_words())?;
        let (class, views) = (AdapterClass::for_device(binding.gpu), gradient_views(binding, &rows)?);
        Ok(Box::new(flash_gradient(binding.gpu, class, &self.0, &views, call.adds(4))?))
    }
}

/// The views of a gradient's operands, and of its tangent's first ones.
fn gradient_views<'a>(
    binding: &'a Binding<'_>,
    rows: &'a crate::gpu::View,
) -> Result<FlashGradientViews<'a>, GpuError> {
    Ok(FlashGradientViews {
        qkv: binding.view(0)?,
        output: binding.view(1)?,
        lse: binding.view(2)?,
        grad: binding.view(3)?,
        rows,
        result: binding.view(4)?,
    })
}

/// The tangent of [`FlashForward`]; operands: packed input, its tangent, L, output, its tangent, L's tangent.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FlashTangent(Flash);

impl Kernel for FlashTangent {
    fn kind(&self) -> &'static str {
        "linear attention tangent"
    }

    fn sizes(&self) -> String {
        sizes(&self.0.shape)
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, _call: &Call) -> u64 {
        self.0.flops(TANGENT_PRODUCTS)
    }

    fn product(&self) -> Option<String> {
        Some("attention tangent".to_owned())
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.tangent_launch(&context.target)?])
    }

    fn admit(&self, call: &Call, gpu: &Gpu) -> Result<(), GpuError> {
        let (trial, target) = (trial(&self.0, call)?, Target::for_device(gpu));
        trial.admit(gpu, &[trial.flash.tangent_launch(&target)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = FlashTangentViews {
            qkv: binding.view(0)?,
            qkv_tangent: binding.view(1)?,
            lse: binding.view(2)?,
            output: binding.view(3)?,
            output_tangent: binding.view(4)?,
            mu: binding.view(5)?,
        };
        Ok(Box::new(flash_tangent(binding.gpu, &self.0, &views)?))
    }
}

/// The tangent of [`FlashGradient`]; operands: those of the gradient with the tangent's result, then the tangents of packed input,
/// output and L, and of the output's gradient where that is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FlashGradientTangent(Flash);

impl FlashGradientTangent {
    const GRAD_TANGENT: usize = 8;

    fn has_grad_tangent(call: &Call) -> bool {
        call.operand(Self::GRAD_TANGENT).is_some()
    }
}

impl Kernel for FlashGradientTangent {
    fn kind(&self) -> &'static str {
        "linear attention gradient tangent"
    }

    fn sizes(&self) -> String {
        sizes(&self.0.shape)
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, _call: &Call) -> u64 {
        self.0.flops(GRADIENT_TANGENT_PRODUCTS.iter().sum())
    }

    fn product(&self) -> Option<String> {
        Some("attention gradient tangent".to_owned())
    }

    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        gradient_work(call, &self.0, GRADIENT_TANGENT_PRODUCTS, true)
    }

    fn scratch_words(&self, _class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(self.0.row_words())
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let grad_tangent = Self::has_grad_tangent(call);
        Ok(self.0.gradient_tangent_launches(&context.target, grad_tangent, call.adds(4))?.to_vec())
    }

    fn admit(&self, call: &Call, gpu: &Gpu) -> Result<(), GpuError> {
        let (trial, target) = (trial(&self.0, call)?, Target::for_device(gpu));
        trial.admit(gpu, &trial.flash.gradient_tangent_launches(&target, Self::has_grad_tangent(call), call.adds(4))?)
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let rows = binding.scratch(self.0.row_words())?;
        let views = FlashGradientTangentViews {
            gradient: gradient_views(binding, &rows)?,
            qkv_tangent: binding.view(5)?,
            output_tangent: binding.view(6)?,
            mu: binding.view(7)?,
            grad_tangent: binding.views.get(Self::GRAD_TANGENT),
        };
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(flash_gradient_tangent(binding.gpu, class, &self.0, &views, call.adds(4))?))
    }
}
