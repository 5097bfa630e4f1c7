//! A convolution's products as calls, and the packing of its weights.

use std::{any::Any, sync::Arc};

use crate::{
    gpu::{Element, GpuError, Launch},
    graph::{Binding, Call, Deferred, Kernel, LaunchContext, Record, Tangent, Tangents},
    kernels::{
        AdapterClass, ConvPass, ConvProblem, ConvShape, Ending, Epilogue, PackJob, PartedProduct, conv, conv_pack,
        conv_pack_launches, with_variants,
    },
};

use super::{
    A, B, C, operands, pairs,
    parts::{Parted, deferred},
    places, product_tangent,
};

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

    fn deferred(&self, class: AdapterClass, element: Element) -> Result<Option<Deferred>, GpuError> {
        let is_weight_gradient = self.pass == ConvPass::WeightGradient && self.epilogue == Epilogue::Plain;
        if is_weight_gradient { deferred(Arc::new(*self), class, element) } else { Ok(None) }
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

/// A weight gradient.
impl Parted for ConvProduct {
    fn parted(&self, class: AdapterClass, element: Element) -> Result<(PartedProduct, bool), GpuError> {
        PartedProduct::conv(class, element, self.shape)
    }

    fn whole(&self) -> &dyn Kernel {
        self
    }
}

/// The weights of convolutions as their products read them; operands: of each the weight [out, in, height, width], then the
/// packed one.
#[derive(Clone, Debug, PartialEq)]
pub struct PackWeights(pub Vec<ConvShape>);

impl PackWeights {
    /// Packing is linear: that of the directions, where weights have one.
    fn pack_tangents(&self, pass: &mut dyn Tangents, name: &str, call: &Call) {
        let (mut shapes, mut operands) = (Vec::new(), Vec::new());
        for (shape, [weight, packed]) in self.0.iter().zip(pairs(call)) {
            if let Some(tangent) = pass.tangent(weight.tensor) {
                shapes.push(*shape);
                operands.extend([tangent, pass.fresh_target(packed).next_term()]);
            }
        }
        if !shapes.is_empty() {
            pass.push(name, Arc::new(Self(shapes)), operands);
        }
    }
}

impl Kernel for PackWeights {
    fn kind(&self) -> &'static str {
        "pack"
    }

    fn sizes(&self) -> String {
        let words: usize = self.0.iter().map(ConvShape::packed_words).sum();
        format!("{words} words of {} layers", self.0.len())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| {
            self.pack_tangents(pass, name, call);
            Ok(())
        }))
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn joined(&self, other: &dyn Kernel) -> Option<Arc<dyn Kernel>> {
        let other: &dyn Any = other;
        let Self(others) = other.downcast_ref()?;
        Some(Arc::new(Self([self.0.as_slice(), others].concat())))
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        conv_pack_launches(&context.target, context.element, &self.0, &places(call, context))
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = binding.views.as_chunks::<2>().0;
        let jobs = self.0.iter().zip(views).map(|(shape, [weight, output])| PackJob { shape, weight, output });
        let jobs: Vec<_> = jobs.collect();
        Ok(Box::new(conv_pack(binding.gpu, AdapterClass::for_device(binding.gpu), &jobs)?))
    }
}
