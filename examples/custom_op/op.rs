//! The arcus tangens as an operation: what `src/ops` holds of each of the engine's own.

use std::sync::Arc;

use jostle::{
    gpu::{Access, GpuError, Grid, KernelSpec, Launch},
    graph::{
        Backward, Binding, Call, Forward, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId, ParamSpec, Record,
        Saved, StatId, Tangent, Tangents, ValueShape,
    },
};

static ARCTAN: KernelSpec = KernelSpec {
    entry: "arctan",
    source: include_str!("arctan.wgsl"),
    bindings: &[
        ("saved", Access::ReadWrite),
        ("grad", Access::ReadWrite),
        ("direction", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: 4,
};

/// Invocations of a workgroup, as the WGSL says.
const THREADS: usize = 64;

/// output = atan(input), elementwise, in f32.
#[derive(Clone, Copy, Debug)]
pub struct Arctan;

impl Op for Arctan {
    fn name(&self) -> &'static str {
        "arctan"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        "arctan".to_owned()
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        Ok(inputs.first())
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let operands = [pass.input(0), pass.output()];
        pass.push("arctan forward", Arc::new(ArctanKernel::Forward), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        if let Some(result) = pass.input_gradient(0) {
            let operands = [pass.input(0), result, pass.gradient()];
            pass.push("arctan backward", Arc::new(ArctanKernel::Gradient), operands);
        }
        Ok(())
    }
}

/// The kernel in its three modes; operands: saved input, result, then the gradient, then the input's tangent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ArctanKernel {
    Forward,
    Gradient,
    Curvature,
}

impl ArctanKernel {
    /// atan(x) has the tangent x' / (1 + x^2); g / (1 + x^2) that of g' and the curvature's of x'.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let (Some(saved), Some(result)) = (call.operand(0), call.operand(1)) else {
            return Err(GraphError::no_derivative(name));
        };
        let [input, gradient] = [0, 2].map(|place| pass.tangent_at(call, place));
        let linear = if self == Self::Forward { input } else { gradient };
        let curved = input.zip(call.operand(2));
        if linear.is_none() && curved.is_none() {
            return Ok(());
        }
        let mut target = pass.target(result);
        if let Some(tangent) = linear {
            pass.push(name, Arc::new(Self::Gradient), [saved.read(), target.next_term(), tangent]);
        }
        if let Some((tangent, gradient)) = curved {
            let operands = [saved.read(), target.next_term(), gradient.read(), tangent];
            pass.push(name, Arc::new(Self::Curvature), operands);
        }
        Ok(())
    }
}

impl Kernel for ArctanKernel {
    fn kind(&self) -> &'static str {
        "arctan"
    }

    fn sizes(&self) -> String {
        format!("{self:?}")
    }

    fn tangent(&self) -> Tangent<'_> {
        match self {
            Self::Curvature => Tangent::Refused, // made by tangents alone
            Self::Forward | Self::Gradient => {
                Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
            }
        }
    }

    fn flops(&self, call: &Call) -> u64 {
        4 * call.len(1) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let constants = [("MODE", f64::from(*self as u8)), ("ACCUMULATE", f64::from(u8::from(call.adds(1))))];
        let grid = Grid::fold(ARCTAN.entry, call.len(1), THREADS, context.target.limits.workgroups)?;
        Ok(vec![Launch::new(&ARCTAN, &constants, grid, THREADS)])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let count = call.len(1) as u32;
        let launch = self.launches(call, &binding.context())?.remove(0);
        let [gradient, direction] = [binding.view_or_unused(2)?, binding.view_or_unused(3)?];
        let views = [binding.view(0)?, &gradient, &direction, binding.view(1)?];
        Ok(Box::new(binding.gpu.bind(&launch, &views, &count.to_le_bytes())?))
    }
}
