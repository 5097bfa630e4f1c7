//! SwiGLU: half of a layer's outputs gate the other half; with the host side of `shaders/swiglu.wgsl`.
//!
//! ```text
//! output[n, f] = silu(input[n, f]) input[n, features + f],   silu(x) = x sigmoid(x)
//! ```
//!
//! Source: Shazeer, "GLU variants improve transformer", 2020.

use std::sync::Arc;

use crate::{
    gpu::{Access, GpuError, KernelSpec, Launch, View},
    graph::{
        Backward, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, Operand, ParamId,
        ParamSpec, Record, Saved, StatId, Tangent, Tangents, ValueId, ValueShape,
    },
    kernels::{Target, flag, index_u32},
};

use super::layer::{LayerKind, NoKeys, keys};

static SWIGLU: KernelSpec = KernelSpec {
    entry: "swiglu",
    source: concat!(
        include_str!("../../shaders/swiglu.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("grad", Access::Real), ("tangent", Access::Real), ("output", Access::Real)],
    immediate_bytes: 8,
};

pub(super) const SPECS: &[&KernelSpec] = &[&SWIGLU];

/// The first half of each vector, after SiLU, times the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwiGlu;

/// Which of the kernel's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Operands: output, input.
    Forward,
    /// Operands: output, input, the input's tangent.
    ForwardTangent,
    /// Operands: output, input, grad.
    Gradient,
    /// The gradient's tangent at a fixed gradient; operands: output, input, grad, the input's tangent.
    Curvature,
}

/// A step over `rows` vectors of `features` gates and as many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gating {
    step: Step,
    rows: usize,
    features: usize,
}

const OUTPUT: usize = 0;
const INPUT: usize = 1;

impl Gating {
    /// Places of the gradient and of the input's tangent, where the step reads them.
    fn places(self) -> [Option<usize>; 2] {
        match self.step {
            Step::Forward => [None, None],
            Step::ForwardTangent => [None, Some(2)],
            Step::Gradient => [Some(2), None],
            Step::Curvature => [Some(2), Some(3)],
        }
    }

    fn with(self, step: Step) -> Arc<dyn Kernel> {
        Arc::new(Self { step, ..self })
    }

    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [output, input] = [OUTPUT, INPUT].map(|place| call.operand(place).copied());
        let (Some(output), Some(input)) = (output, input) else { return Err(GraphError::no_derivative(name)) };
        let along = pass.tangent(input.tensor);
        match (self.step, call.operand(2).copied()) {
            (Step::Forward, _) => {
                if let Some(tangent) = along {
                    let result = pass.target(&output).next_term();
                    pass.push(name, self.with(Step::ForwardTangent), [result, input, tangent]);
                }
                Ok(())
            }
            (Step::Gradient, Some(grad)) => {
                self.gradient_tangent(pass, name, [output, input, grad], along);
                Ok(())
            }
            // Made by tangents alone.
            _ => Err(GraphError::no_derivative(name)),
        }
    }

    /// Linear in the gradient, and bent by the input.
    fn gradient_tangent(
        self,
        pass: &mut dyn Tangents,
        name: &str,
        [output, input, grad]: [Operand; 3],
        along: Option<Operand>,
    ) {
        let grad_tangent = pass.tangent(grad.tensor);
        if grad_tangent.is_none() && along.is_none() {
            return;
        }
        let mut target = pass.target(&output);
        if let Some(tangent) = grad_tangent {
            pass.push(name, self.with(Step::Gradient), [target.next_term(), input, tangent]);
        }
        if let Some(tangent) = along {
            pass.push(name, self.with(Step::Curvature), [target.next_term(), input, grad, tangent]);
        }
    }

    fn launch(self, target: &Target, adds: bool) -> Result<Launch, GpuError> {
        let code = match self.step {
            Step::Forward => 0.0,
            Step::ForwardTangent => 1.0,
            Step::Gradient => 2.0,
            Step::Curvature => 3.0,
        };
        target.launch(&SWIGLU, &[("OPERATION", code), flag("ACCUMULATE", adds)], self.rows * self.features)
    }
}

impl Kernel for Gating {
    fn kind(&self) -> &'static str {
        "swiglu"
    }

    fn sizes(&self) -> String {
        format!("{} rows of {}, {:?}", self.rows, self.features, self.step)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, _call: &Call) -> u64 {
        let each = match self.step {
            Step::Forward => 5,
            Step::ForwardTangent => 10,
            Step::Gradient => 9,
            Step::Curvature => 18,
        };
        each * (self.rows * self.features) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.launch(&context.target, call.adds(OUTPUT))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let launch = self.launch(&Target::for_device(binding.gpu), call.adds(OUTPUT))?;
        let kernel = launch.spec.entry;
        let count = index_u32(kernel, &[self.rows, 2 * self.features])? as usize;
        let view = |place: Option<usize>| match place {
            Some(place) => binding.view(place).cloned(),
            None => binding.gpu.unused(0),
        };
        let [grad, tangent] = self.places();
        let views: [&View; 4] = [binding.view(INPUT)?, &view(grad)?, &view(tangent)?, binding.view(OUTPUT)?];
        views[0].expect_len(kernel, "input", count)?;
        let is_half = matches!(self.step, Step::Forward | Step::ForwardTangent);
        views[3].expect_len(kernel, "output", if is_half { count / 2 } else { count })?;
        if grad.is_some() {
            views[1].expect_len(kernel, "grad", count / 2)?;
        }
        if tangent.is_some() {
            views[2].expect_len(kernel, "tangent", count)?;
        }
        let sizes = [self.rows, self.features].map(|size| size as u32);
        Ok(Box::new(binding.gpu.bind(&launch, &views, bytemuck::cast_slice(&sizes))?))
    }
}

impl SwiGlu {
    fn gating(step: Step, batch: usize, input: ValueShape) -> Arc<dyn Kernel> {
        Arc::new(Gating { step, rows: batch * input.pixels(), features: input.channels() / 2 })
    }
}

impl Op for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        "swiglu".to_owned()
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let (features, _) = inputs.rows(0)?;
        if !features.is_multiple_of(2) {
            return Err(inputs.refusal("it needs as many gates as values"));
        }
        Ok(inputs.rows(features / 2)?.1)
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let kernel = Self::gating(Step::Forward, pass.batch(), pass.input_shape(0));
        let operands = [pass.output(), pass.input(0)];
        pass.push("swiglu forward", kernel, operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let kernel = Self::gating(Step::Gradient, pass.batch(), pass.input_shape(0));
        if let Some(result) = pass.input_gradient(0) {
            let operands = [result, pass.input(0), pass.gradient()];
            pass.push("swiglu backward", kernel, operands);
        }
        Ok(())
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "swiglu",
    stem: None,
    add: |site, table| {
        let NoKeys {} = keys(table)?;
        Ok(site.graph.swiglu(site.input)?)
    },
}];

impl Graph {
    /// Adds the product of the first half of each vector, after SiLU, with the second: 2 F features become F.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for an odd number of features, an image or tokens.
    pub fn swiglu(&mut self, input: ValueId) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(SwiGlu), "", &[input])
    }
}
