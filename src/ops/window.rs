//! Parts of samples as calls: tokens before sequences, single vectors out of them, and the gradients of both; with the host side
//! of `shaders/window.wgsl`.

use std::sync::Arc;

use crate::{
    gpu::{Access, GpuError, KernelSpec, Launch},
    graph::{Binding, Call, GraphError, Kernel, LaunchContext, Record, Tangent, Tangents},
    kernels::{Target, flag, index_u32},
};

static WINDOW: KernelSpec = KernelSpec {
    entry: "window",
    source: concat!(include_str!("../../shaders/window.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("input", Access::Real), ("head", Access::Real), ("output", Access::Real)],
    immediate_bytes: 28,
};

pub(super) const SPECS: &[&KernelSpec] = &[&WINDOW];

/// `output[n] (+)= [head; input[n, from .. from + count] from element `to` on; 0 elsewhere]`; operands: output, then the input
/// [batch, `input_stride`] where it reads one, then the head, which all samples share, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) batch: usize,
    /// Elements of a sample of each.
    pub(super) input_stride: usize,
    pub(super) output_stride: usize,
    /// First element that is read, first that is written, and how many.
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) count: usize,
    /// Whether it reads an input.
    pub(super) has_input: bool,
    /// Elements of the head; 0 for none.
    pub(super) head: usize,
}

const OUTPUT: usize = 0;

impl Window {
    /// Places of input and head, where there are such.
    fn places(&self) -> [Option<usize>; 2] {
        let input = self.has_input.then_some(1);
        [input, (self.head > 0).then_some(1 + usize::from(self.has_input))]
    }

    /// Linear in both: the same of those tangents that there are.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let output = call.operand(OUTPUT).ok_or_else(|| GraphError::no_derivative(name))?;
        let [input, head] = self.places().map(|place| pass.tangent_at(call, place?));
        if input.is_none() && head.is_none() {
            return Ok(());
        }
        let kernel = Self { has_input: input.is_some(), head: head.map_or(0, |_| self.head), ..self };
        let operands = [pass.target(output).next_term()].into_iter().chain(input).chain(head);
        pass.push(name, Arc::new(kernel), operands.collect::<Vec<_>>());
        Ok(())
    }

    fn launch(&self, target: &Target, adds: bool) -> Result<Launch, GpuError> {
        let constants = [flag("HEAD", self.head > 0), flag("INPUT", self.has_input), flag("ACCUMULATE", adds)];
        target.launch(&WINDOW, &constants, self.batch * self.output_stride)
    }
}

impl Kernel for Window {
    fn kind(&self) -> &'static str {
        "window"
    }

    fn sizes(&self) -> String {
        format!("{} x {} of {} to {}", self.batch, self.count, self.input_stride, self.output_stride)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.launch(&context.target, call.adds(OUTPUT))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let launch = self.launch(&Target::for_device(binding.gpu), call.adds(OUTPUT))?;
        let kernel = launch.spec.entry;
        let lens = [index_u32(kernel, &[self.batch, self.input_stride])? as usize, self.head];
        let [input, head] = self.places().map(|place| match place {
            Some(place) => binding.view(place).cloned(),
            None => binding.gpu.unused(0),
        });
        let views = [&input?, &head?, binding.view(OUTPUT)?];
        for ((view, len), (place, argument)) in views.iter().zip(lens).zip(self.places().iter().zip(["input", "head"]))
        {
            place.map_or(Ok(()), |_| view.expect_len(kernel, argument, len))?;
        }
        let output = index_u32(kernel, &[self.batch, self.output_stride])? as usize;
        views[2].expect_len(kernel, "output", output)?;
        if self.from + self.count > self.input_stride || self.to + self.count > self.output_stride {
            let shape = format!("{self:?}");
            return Err(GpuError::Shape { kernel, shape, reason: "the window is not within the samples" });
        }
        let Self { batch, input_stride, output_stride, from, to, count, has_input: _, head } = *self;
        let sizes = [batch, input_stride, output_stride, head, from, to, count].map(|size| size as u32);
        Ok(Box::new(binding.gpu.bind(&launch, &views, bytemuck::cast_slice(&sizes))?))
    }
}
