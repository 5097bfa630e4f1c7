//! Learned positions: a vector for each place of a sequence; with the host side of `shaders/positions.wgsl`.
//!
//! ```text
//! output[n, t] = input[n, t] + weight[t]
//! ```

use std::sync::Arc;

use crate::{
    gpu::{Access, GpuError, KernelSpec, Launch},
    graph::{
        Backward, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId, ParamInit,
        ParamRole, ParamSpec, Record, Saved, StatId, Tangent, Tangents, ValueId, ValueShape,
    },
    kernels::{Elementwise, Target, flag, index_u32},
};

use super::{
    column_sum::ColumnSums,
    elementwise::ElementwiseStep,
    layer::{LayerKind, NoKeys, keys},
    tokens::sequence,
    transformer::TRANSFORMER_STD,
};

static POSITIONS: KernelSpec = KernelSpec {
    entry: "positions",
    source: concat!(include_str!("../../shaders/positions.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("input", Access::Real), ("weight", Access::Real), ("output", Access::Real)],
    immediate_bytes: 8,
};

pub(super) const SPECS: &[&KernelSpec] = &[&POSITIONS];

/// Learned positions; parameter: weight [length, features], or as timm has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Whether the parameter is called by the operation's name alone and is [1, length, features], as timm's `pos_embed`.
    pub is_whole_name: bool,
}

/// output (+)= input + weight, the weight of all samples alike; operands: output, weight, and input where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddShared {
    batch: usize,
    /// Elements of a sample.
    count: usize,
}

const OUTPUT: usize = 0;
const WEIGHT: usize = 1;
const INPUT: usize = 2;

impl AddShared {
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let output = call.operand(OUTPUT).ok_or_else(|| GraphError::no_derivative(name))?;
        let [weight, input] = [WEIGHT, INPUT].map(|place| pass.tangent_at(call, place));
        if weight.is_none() && input.is_none() {
            return Ok(());
        }
        let result = pass.target(output).next_term();
        match (weight, input) {
            (Some(weight), input) => {
                let operands = [result, weight].into_iter().chain(input);
                pass.push(name, Arc::new(self), operands.collect::<Vec<_>>());
            }
            (None, Some(input)) => pass.push(name, Arc::new(ElementwiseStep(Elementwise::Copy)), [input, result]),
            (None, None) => {}
        }
        Ok(())
    }

    fn launch(self, target: &Target, call: &Call) -> Result<Launch, GpuError> {
        let constants = [flag("INPUT", call.operand(INPUT).is_some()), flag("ACCUMULATE", call.adds(OUTPUT))];
        target.launch(&POSITIONS, &constants, self.batch * self.count)
    }
}

impl Kernel for AddShared {
    fn kind(&self) -> &'static str {
        "positions"
    }

    fn sizes(&self) -> String {
        format!("{} x {}", self.batch, self.count)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, call: &Call) -> u64 {
        call.len(OUTPUT) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.launch(&context.target, call)?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let launch = self.launch(&Target::for_device(binding.gpu), call)?;
        let kernel = launch.spec.entry;
        let all = index_u32(kernel, &[self.batch, self.count])? as usize;
        let (input, weight, output) = (binding.view_or_unused(INPUT)?, binding.view(WEIGHT)?, binding.view(OUTPUT)?);
        if call.operand(INPUT).is_some() {
            input.expect_len(kernel, "input", all)?;
        }
        weight.expect_len(kernel, "weight", self.count)?;
        output.expect_len(kernel, "output", all)?;
        let sizes = [self.batch, self.count].map(|size| size as u32);
        Ok(Box::new(binding.gpu.bind(&launch, &[&input, weight, output], bytemuck::cast_slice(&sizes))?))
    }
}

impl Op for Positions {
    fn name(&self) -> &'static str {
        "positions"
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let numbers: Vec<_> = params.iter().map(|ParamId(number)| number.to_string()).collect();
        format!("positions weight {}", numbers.join(" "))
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        sequence(inputs)?;
        Ok(inputs.first())
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        let [length, features] = sequence(inputs)?;
        let (suffix, shape) =
            if self.is_whole_name { ("", vec![1, length, features]) } else { ("weight", vec![length, features]) };
        Ok(vec![ParamSpec { suffix, shape, role: ParamRole::Weight, init: ParamInit::Normal { std: TRANSFORMER_STD } }])
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let kernel = AddShared { batch: pass.batch(), count: pass.output_shape().words() };
        let operands = [pass.output(), pass.param(0), pass.input(0)];
        pass.push(&format!("{} forward", pass.name()), Arc::new(kernel), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let (batch, count, name) = (pass.batch(), pass.output_shape().words(), pass.name());
        let sums = ColumnSums { rows: batch, columns: count, stride: count };
        let operands = [pass.gradient(), pass.param_gradient(0)];
        pass.push(&format!("{name} weight gradient"), Arc::new(sums), operands);
        if let Some(result) = pass.hand_on_gradient(0) {
            let operands = [pass.gradient(), result];
            pass.push(&format!("{name} backward"), Arc::new(ElementwiseStep(Elementwise::Copy)), operands);
        }
        Ok(())
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "positions",
    stem: Some("positions"),
    add: |site, table| {
        let NoKeys {} = keys(table)?;
        Ok(site.graph.positions(site.input, site.name)?)
    },
}];

impl Graph {
    /// Adds a learned vector for each place of a sequence, with `name.weight` [length, features], which starts as N(0, 0.02).
    ///
    /// # Errors
    /// [`GraphError::Shape`] for what is no sequence, [`GraphError::Name`] for a name taken.
    pub fn positions(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Positions { is_whole_name: false }), name, &[input])
    }

    /// As [`Graph::positions`], the parameter being called `param` alone and [1, length, features], as timm's `pos_embed`.
    ///
    /// # Errors
    /// As [`Graph::positions`].
    pub fn positions_called(&mut self, input: ValueId, param: &str) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Positions { is_whole_name: true }), param, &[input])
    }
}
