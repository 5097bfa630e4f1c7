//! A convolution's products as calls, and the packing of its weights.

use std::sync::Arc;

use crate::{
    gpu::{Element, GpuError, Launch},
    graph::{Binding, Call, Kernel, LaunchContext, Record, Tangent},
    kernels::{
        AdapterClass, ConvPass, ConvProblem, ConvShape, Ending, Epilogue, conv, conv_pack, conv_pack_launch,
        with_variants,
    },
};

use super::{A, B, C, operands, product_tangent};

/// A pass of a convolution with an epilogue: A the input, or the gradient of the output; B the weights
/// ([`ConvShape::reads_packed`] or as they are), or the input for the weight gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvProduct {
    /// Which product.
    pub pass: ConvPass,
    /// Every size.
    pub shape: ConvShape,
    /// What happens to the sums.
    pub epilogue: Epilogue,
}

impl Kernel for ConvProduct {
    fn kind(&self) -> &'static str {
        "convolution"
    }

    fn sizes(&self) -> String {
        self.shape.to_string()
    }

    /// A convolution is bilinear, as a matrix product is.
    fn tangent(&self) -> Tangent<'_> {
        if self.epilogue == Epilogue::Plain {
            return Tangent::Bilinear([B, A]);
        }
        Tangent::Own(Box::new(|pass, name, call| {
            product_tangent(pass, name, call, self.epilogue, &|epilogue| Arc::new(Self { epilogue, ..*self }))
        }))
    }

    fn flops(&self, _call: &Call) -> u64 {
        self.shape.flops()
    }

    fn product(&self) -> Option<String> {
        let pass = match self.pass {
            ConvPass::Forward => "forward",
            ConvPass::DataGradient => "data gradient",
            ConvPass::WeightGradient => "weight gradient",
        };
        Some(format!("{pass}, {}", self.shape.window()))
    }

    fn scratch_words(&self, class: AdapterClass, element: Element) -> Result<usize, GpuError> {
        Ok(class.conv_variant(element, &self.shape, self.pass).scratch_words(class, &self.shape, self.pass))
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let variant = context.target.class.conv_variant(context.element, &self.shape, self.pass);
        let problem = ConvProblem { pass: self.pass, shape: &self.shape };
        let ending = Ending { epilogue: self.epilogue, accumulate: call.adds(C) };
        variant.launches(&context.target, problem, ending, context.element)
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let dispatches = with_variants(binding.gpu, |class| {
            let variant = class.conv_variant(binding.element, &self.shape, self.pass);
            let scratch = binding.scratch(variant.scratch_words(class, &self.shape, self.pass))?;
            let operands = operands(binding, &scratch)?;
            conv(binding.gpu, variant, self.pass, &self.shape, self.epilogue, call.adds(C), &operands)
        })?;
        Ok(Box::new(dispatches))
    }
}

/// A convolution's weights as its products read them; operands: weight [out, in, height, width], packed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackWeights(pub ConvShape);

impl Kernel for PackWeights {
    fn kind(&self) -> &'static str {
        "pack"
    }

    fn sizes(&self) -> String {
        format!("{} words", self.0.packed_words())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Linear(0)
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![conv_pack_launch(&context.target, &self.0)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(conv_pack(binding.gpu, class, &self.0, binding.view(0)?, binding.view(1)?)?))
    }
}
