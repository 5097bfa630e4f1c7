//! A matrix product as a call.

use std::sync::Arc;

use crate::{
    gpu::{Element, GpuError, Launch, Limits},
    graph::{Binding, Call, Cut, CutColumns, Deferred, Kernel, LaunchContext, Record, Tangent},
    kernels::{
        AdapterClass, Ending, Epilogue, MatmulLayout, MatmulProblem, MatmulShape, PartedProduct, matmul, with_variants,
    },
};

use super::{
    A, B, C, operands,
    parts::{Parted, deferred},
    product_tangent,
};

/// C (+)= A B with an epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixProduct {
    /// How the operands lie.
    pub layout: MatmulLayout,
    /// m, n, k.
    pub shape: [usize; 3],
    /// What happens to the sums.
    pub epilogue: Epilogue,
}

impl MatrixProduct {
    fn sides(&self) -> Result<MatmulShape, GpuError> {
        let [m, n, k] = self.shape;
        MatmulShape::new(m, n, k)
    }
}

impl Kernel for MatrixProduct {
    fn kind(&self) -> &'static str {
        "product"
    }

    fn sizes(&self) -> String {
        let [m, n, k] = self.shape;
        format!("m {m}, n {n}, k {k}")
    }

    fn tangent(&self) -> Tangent<'_> {
        if self.epilogue == Epilogue::Plain {
            return Tangent::Bilinear([B, A]);
        }
        Tangent::Own(Box::new(|pass, name, call| {
            product_tangent(pass, name, call, self.epilogue, &|epilogue| Arc::new(Self { epilogue, ..*self }))
        }))
    }

    fn flops(&self, _call: &Call) -> u64 {
        2 * self.shape.iter().map(|side| *side as u64).product::<u64>()
    }

    fn product(&self) -> Option<String> {
        let name = match self.layout {
            MatmulLayout::Forward => "forward",
            MatmulLayout::DataGradient => "data gradient",
            MatmulLayout::WeightGradient => "weight gradient",
        };
        Some(name.to_owned())
    }

    fn columns(&self, _call: &Call, limits: Limits) -> Option<CutColumns> {
        self.cut_columns(limits)
    }

    fn cut(&self, call: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        self.by_parts(call, cut)
    }

    fn scratch_words(&self, class: AdapterClass, element: Element) -> Result<usize, GpuError> {
        let shape = self.sides()?;
        Ok(class.matmul_variant(element, shape).scratch_words(shape))
    }

    fn deferred(&self, class: AdapterClass, element: Element) -> Result<Option<Deferred>, GpuError> {
        if self.epilogue == Epilogue::Plain { deferred(Arc::new(*self), class, element) } else { Ok(None) }
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let shape = self.sides()?;
        let variant = context.target.class.matmul_variant(context.element, shape);
        let problem = MatmulProblem { layout: self.layout, shape };
        let ending = Ending { epilogue: self.epilogue, accumulate: call.adds(C) };
        variant.launches(&context.target, problem, ending, context.element)
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let shape = self.sides()?;
        let dispatches = with_variants(binding.gpu, |class| {
            let variant = class.matmul_variant(binding.element, shape);
            let scratch = binding.scratch(variant.scratch_words(shape))?;
            let operands = operands(binding, &scratch)?;
            matmul(binding.gpu, variant, self.layout, shape, self.epilogue, call.adds(C), &operands)
        })?;
        Ok(Box::new(dispatches))
    }
}

impl Parted for MatrixProduct {
    fn parted(&self, class: AdapterClass, element: Element) -> Result<(PartedProduct, bool), GpuError> {
        PartedProduct::matmul(class, element, MatmulProblem { layout: self.layout, shape: self.sides()? })
    }

    fn whole(&self) -> &dyn Kernel {
        self
    }
}
