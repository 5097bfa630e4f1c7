//! The calls of materialised attention, and their tangents.

use std::sync::Arc;

use crate::{
    gpu::{Element, GpuError, Launch, Work},
    graph::{Binding, Call, GraphError, Kernel, LaunchContext, Operand, Record, Tangent, Tangents},
    kernels::AdapterClass,
};

use super::{
    product::{AttentionProduct, attention_product},
    rows::{
        attention_softmax, attention_softmax_curvature, attention_softmax_gradient, curvature_launch, gradient_launch,
        softmax_launch,
    },
    shape::AttentionShape,
};

pub(super) fn sizes(shape: &AttentionShape) -> String {
    let AttentionShape { batch, length, heads, head_dim, causal } = shape;
    let kind = if *causal { ", causal" } else { "" };
    format!("{batch} x {heads} heads, {length} x {head_dim}{kind}")
}

pub(super) fn element(call: &Call, place: usize) -> Element {
    call.operand(place).map_or(Element::Word, |operand| operand.element)
}

/// A call's operands, for a rule that knows how many they are.
pub(super) fn operands<const N: usize>(call: &Call, name: &str) -> Result<[Operand; N], GraphError> {
    call.operands.as_slice().try_into().map_err(|_| GraphError::no_derivative(name))
}

/// The work of a kernel over the scores that are seen, of so many operations each.
fn row_work(call: &Call, shape: &AttentionShape, flops: u64) -> Vec<Work> {
    let len = shape.seen();
    let bytes = call.operands.iter().map(|operand| Operand { len, ..*operand }.bytes()).sum();
    vec![Work { flops: flops * len as u64, bytes }]
}

/// A product for each head; operands: a, b, c as [`AttentionProduct`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) product: AttentionProduct,
    pub(super) shape: AttentionShape,
}

impl Kernel for Product {
    fn kind(&self) -> &'static str {
        "attention product"
    }

    fn sizes(&self) -> String {
        sizes(&self.shape)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Bilinear([0, 1])
    }

    fn flops(&self, _call: &Call) -> u64 {
        AttentionProduct::flops(&self.shape)
    }

    fn product(&self) -> Option<String> {
        Some("attention".to_owned())
    }

    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        vec![self.product.work(&self.shape, [0, 1, 2].map(|place| element(call, place)), call.adds(2))]
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.product.launch(&context.target, &self.shape, call.adds(2))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(0)?, binding.view(1)?, binding.view(2)?];
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(attention_product(binding.gpu, class, self.product, &self.shape, views, call.adds(2))?))
    }
}

/// Softmax of each row; operands: scores, probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Softmax(pub(super) AttentionShape);

impl Softmax {
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [scores, probabilities] = operands(call, name)?;
        if let Some(tangent) = pass.tangent(scores.tensor) {
            let result = pass.fresh_target(&probabilities).next_term();
            pass.push(name, Arc::new(SoftmaxGradient(self.0)), [probabilities.read(), tangent, result]);
        }
        Ok(())
    }
}

impl Kernel for Softmax {
    fn kind(&self) -> &'static str {
        "attention softmax"
    }

    fn sizes(&self) -> String {
        sizes(&self.0)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    /// Comparison, difference, exponential, sum, quotient.
    fn flops(&self, _call: &Call) -> u64 {
        5 * self.0.seen() as u64
    }

    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        row_work(call, &self.0, 5)
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![softmax_launch(&context.target, &self.0)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(attention_softmax(binding.gpu, class, &self.0, [binding.view(0)?, binding.view(1)?])?))
    }
}

/// The derivative of [`Softmax`] applied to a gradient or tangent; operands: probabilities, upstream, output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SoftmaxGradient(pub(super) AttentionShape);

impl SoftmaxGradient {
    /// Linear in upstream; along the probabilities too where they have a tangent, and then upstream, made of the same input, has
    /// one as well.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [probabilities, upstream, output] = operands(call, name)?;
        let Some(tangent) = pass.tangent(probabilities.tensor) else { return pass.linear(name, call, &[1]) };
        let upstream_tangent = pass.tangent(upstream.tensor).ok_or_else(|| GraphError::no_derivative(name))?;
        let result = pass.fresh_target(&output).next_term();
        let operands = [probabilities, upstream, tangent, upstream_tangent, result];
        pass.push(name, Arc::new(SoftmaxCurvature(self.0)), operands);
        Ok(())
    }
}

impl Kernel for SoftmaxGradient {
    fn kind(&self) -> &'static str {
        "attention softmax gradient"
    }

    fn sizes(&self) -> String {
        sizes(&self.0)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    /// Product and sum, then difference and product.
    fn flops(&self, _call: &Call) -> u64 {
        4 * self.0.seen() as u64
    }

    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        row_work(call, &self.0, 4)
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![gradient_launch(&context.target, &self.0)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (class, views) =
            (AdapterClass::for_device(binding.gpu), [binding.view(0)?, binding.view(1)?, binding.view(2)?]);
        Ok(Box::new(attention_softmax_gradient(binding.gpu, class, &self.0, views)?))
    }
}

/// The tangent of [`SoftmaxGradient`]; operands: probabilities, upstream, their tangents, output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SoftmaxCurvature(AttentionShape);

impl Kernel for SoftmaxCurvature {
    fn kind(&self) -> &'static str {
        "attention softmax curvature"
    }

    fn sizes(&self) -> String {
        sizes(&self.0)
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, _call: &Call) -> u64 {
        11 * self.0.seen() as u64
    }

    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        row_work(call, &self.0, 11)
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![curvature_launch(&context.target, &self.0)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let class = AdapterClass::for_device(binding.gpu);
        let views = [binding.view(0)?, binding.view(1)?, binding.view(2)?, binding.view(3)?, binding.view(4)?];
        Ok(Box::new(attention_softmax_curvature(binding.gpu, class, &self.0, views)?))
    }
}

/// The packed input's gradient from those of the scores and of the output, a product for each of its parts; operands: packed input,
/// probabilities that the values were summed with, scores' gradient, output's gradient, packed gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InputGradient(pub(super) AttentionShape);

const PACKED: usize = 0;
const PROBABILITIES: usize = 1;
const SCORES: usize = 2;
const OUTPUT: usize = 3;
const RESULT: usize = 4;

impl InputGradient {
    /// Each part with its operands' places, those of vectors after those of scores.
    fn parts() -> [(AttentionProduct, [usize; 3]); 3] {
        AttentionProduct::GRADIENTS.map(|product| match product {
            AttentionProduct::ValueGradient => (product, [PROBABILITIES, OUTPUT, RESULT]),
            _ => (product, [SCORES, PACKED, RESULT]),
        })
    }

    /// Every part is linear in [batch, heads, length, length] of one tensor and in vectors of another: the call with the former
    /// replaced by their tangents, then with the latter. In a product whose curvature has ended only the gradients have tangents,
    /// and one call does both.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [packed, probabilities, scores, output, result] = operands(call, name)?;
        let tangents = [packed, probabilities, scores, output].map(|operand| pass.tangent(operand.tensor));
        let terms = match tangents {
            [None, None, None, None] => return Ok(()),
            [None, None, Some(scores), Some(output)] => vec![[packed, probabilities, scores, output]],
            [Some(packed_tangent), Some(by_probabilities), Some(by_scores), Some(by_output)] => {
                vec![[packed, by_probabilities, by_scores, output], [packed_tangent, probabilities, scores, by_output]]
            }
            _ => return Err(GraphError::no_derivative(name)),
        };
        let mut target = pass.target(&result);
        for [packed, probabilities, scores, output] in terms {
            pass.push(name, Arc::new(self), [packed, probabilities, scores, output, target.next_term()]);
        }
        Ok(())
    }
}

impl Kernel for InputGradient {
    fn kind(&self) -> &'static str {
        "attention product"
    }

    fn sizes(&self) -> String {
        sizes(&self.0)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, _call: &Call) -> u64 {
        Self::parts().len() as u64 * AttentionProduct::flops(&self.0)
    }

    fn product(&self) -> Option<String> {
        Some("attention gradient".to_owned())
    }

    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        let part = |(product, places): (AttentionProduct, [usize; 3])| {
            product.work(&self.0, places.map(|place| element(call, place)), call.adds(RESULT))
        };
        Self::parts().map(part).to_vec()
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Self::parts().iter().map(|(product, _)| product.launch(&context.target, &self.0, call.adds(RESULT))).collect()
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let class = AdapterClass::for_device(binding.gpu);
        let part = |(product, [a, b, c]): (AttentionProduct, [usize; 3])| {
            let views = [binding.view(a)?, binding.view(b)?, binding.view(c)?];
            attention_product(binding.gpu, class, product, &self.0, views, call.adds(RESULT))
        };
        Ok(Box::new(Self::parts().into_iter().map(part).collect::<Result<Vec<_>, GpuError>>()?))
    }
}
