//! A scale and a shift by channel or element as calls, and their gradients: the second half of norms; with the host side of
//! `shaders/affine*.wgsl`.

use std::sync::Arc;

use crate::{
    gpu::{Access, Dispatch, Element, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work, align_words},
    graph::{Backward, Binding, Call, Forward, GraphError, Kernel, LaunchContext, Operand, Record, Tangent, Tangents},
    kernels::{AdapterClass, Target, Tree, flag, sum_of_parts, sum_of_parts_launch},
};

use super::norm::NormShape;

/// output (+)= input scale [+ shift]; operands: input, scale, output, and shift where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine(pub(super) NormShape);

impl Affine {
    /// y = x s + t gives x' s + x s' + t'.
    pub(super) fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [Some(input), Some(scale), Some(output)] = [0, 1, 2].map(|place| call.operand(place).copied()) else {
            return Err(GraphError::no_derivative(name));
        };
        let [input_tangent, scale_tangent, shift_tangent] = [0, 1, 3].map(|place| pass.tangent_at(call, place));
        if input_tangent.is_none() && scale_tangent.is_none() {
            return Ok(());
        }
        let mut target = pass.target(&output);
        if let Some(scale) = scale_tangent {
            let operands = [input, scale, target.next_term()].into_iter().chain(shift_tangent);
            pass.push(name, Arc::new(self), operands.collect::<Vec<_>>());
        }
        if let Some(input) = input_tangent {
            pass.push(name, Arc::new(self), [input, scale, target.next_term()]);
        }
        Ok(())
    }
}

impl Kernel for Affine {
    fn kind(&self) -> &'static str {
        "affine"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, call: &Call) -> u64 {
        2 * call.len(2) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.affine_launch(&context.target, call.operand(3).is_some(), call.adds(2))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (views, shift) = ([binding.view(0)?, binding.view(2)?], binding.views.get(3));
        Ok(Box::new(affine(binding.gpu, &self.0, views, binding.view(1)?, shift, call.adds(2))?))
    }
}

/// grad_scale (+)= sum grad input and, where there is one, grad_shift (+)= sum grad; operands: grad, input, grad_scale, and
/// grad_shift.
#[derive(Clone, Copy, Debug, PartialEq)]
struct AffineGradient(NormShape);

impl AffineGradient {
    /// sum g x and sum g give sum (g' x + g x') and sum g'.
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [Some(grad), Some(input), Some(scale)] = [0, 1, 2].map(|place| call.operand(place).copied()) else {
            return Err(GraphError::no_derivative(name));
        };
        let [grad_tangent, input_tangent] = [grad, input].map(|operand| pass.tangent(operand.tensor));
        if grad_tangent.is_none() && input_tangent.is_none() {
            return Ok(());
        }
        let mut target = pass.fresh_target(&scale);
        if let Some(grad) = grad_tangent {
            let shift = call.operand(3).map(|shift| pass.fresh_target(shift).next_term());
            let operands = [grad, input, target.next_term()].into_iter().chain(shift);
            pass.push(name, Arc::new(self), operands.collect::<Vec<_>>());
        }
        if let Some(input) = input_tangent {
            pass.push(name, Arc::new(self), [grad, input, target.next_term()]);
        }
        Ok(())
    }
}

impl Kernel for AffineGradient {
    fn kind(&self) -> &'static str {
        "affine gradient"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    fn flops(&self, call: &Call) -> u64 {
        3 * call.len(0) as u64
    }

    fn scratch_words(&self, class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(self.0.gradient_scratch_words(class))
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let has_shift = call.operand(3).is_some();
        self.0.affine_gradient_launches(&context.target, [has_shift, call.adds(2)], context.element)
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let class = AdapterClass::for_device(binding.gpu);
        let scratch = binding.scratch(self.0.gradient_scratch_words(class))?;
        let views = [binding.view(0)?, binding.view(1)?, &scratch];
        let (scale, shift) = (binding.view(2)?, binding.views.get(3));
        Ok(Box::new(affine_gradient(binding.gpu, class, &self.0, views, scale, shift, call.adds(2))?))
    }
}

/// Places of a norm's parameters.
pub(super) const WEIGHT: usize = 0;
pub(super) const BIAS: usize = 1;

/// Pushes output = xhat weight [+ bias], the output being the operation's.
pub(super) fn push_affine(pass: &mut Forward<'_>, shape: NormShape, xhat: Operand, has_bias: bool) {
    let bias = has_bias.then(|| pass.param(BIAS));
    let operands = [xhat.read(), pass.param(WEIGHT), pass.output()].into_iter().chain(bias);
    let operands: Vec<_> = operands.collect();
    pass.push(&format!("{} affine", pass.name()), Arc::new(Affine(shape)), operands);
}

/// Pushes the gradients of weight and, where there is one, bias; the gradient of what they were applied to.
pub(super) fn push_affine_gradient(
    pass: &mut Backward<'_, '_>,
    shape: NormShape,
    xhat: Operand,
    has_bias: bool,
) -> Operand {
    let (name, grad) = (pass.name(), pass.gradient());
    let weight = pass.param_gradient(WEIGHT);
    let bias = has_bias.then(|| pass.param_gradient(BIAS));
    let operands: Vec<_> = [grad, xhat, weight].into_iter().chain(bias).collect();
    pass.push(&format!("{name} affine gradient"), Arc::new(AffineGradient(shape)), operands);
    let result = pass.activation("gradient", pass.input_shape(0).words());
    let operands = [grad, pass.param(WEIGHT), result];
    pass.push(&format!("{name} backward"), Arc::new(Affine(shape)), operands);
    result.read()
}

static AFFINE: KernelSpec = KernelSpec {
    entry: "affine",
    source: concat!(
        include_str!("../../shaders/affine.wgsl"),
        include_str!("../../shaders/shared/norm.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("scale", Access::Real), ("shift", Access::Real), ("output", Access::Real)],
    immediate_bytes: size_of::<NormShape>() as u32,
};

static AFFINE_GRADIENT: KernelSpec = KernelSpec {
    entry: "affine_gradient",
    source: concat!(
        include_str!("../../shaders/affine_gradient.wgsl"),
        include_str!("../../shaders/shared/part.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
        include_str!("../../shaders/shared/norm.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("grad", Access::Real),
        ("input", Access::Real),
        ("grad_scale", Access::ReadWrite),
        ("grad_shift", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

/// Both kernels.
pub(super) const SPECS: &[&KernelSpec] = &[&AFFINE, &AFFINE_GRADIENT];

impl NormShape {
    /// Rows that the parameters' gradients are summed over, and elements of a row.
    fn gradient_rows(&self) -> [usize; 2] {
        let own_pixels = if self.per_pixel == 1 { self.pixels } else { 1 };
        let rows = self.batch as usize * (self.pixels / own_pixels) as usize;
        [rows, own_pixels as usize * self.stride as usize]
    }

    fn gradient_parts(&self, class: AdapterClass) -> usize {
        Tree::parts(class, self.gradient_rows()[0])
    }

    /// Words of the parts of one parameter's gradients.
    fn part_words(&self, class: AdapterClass) -> usize {
        let parts = self.gradient_parts(class);
        if parts > 1 { parts * self.params() } else { 0 }
    }

    /// Words that [`affine_gradient`] keeps for itself on adapters of a class: the parts of both sums.
    #[must_use]
    pub fn gradient_scratch_words(&self, class: AdapterClass) -> usize {
        2 * align_words(self.part_words(class))
    }

    /// The first dispatch of [`affine_gradient`].
    fn gradient_launch(&self, target: &Target, has_shift: bool, accumulate: bool) -> Result<Launch, GpuError> {
        let [rows, columns] = self.gradient_rows();
        let parts = self.gradient_parts(target.class);
        let part_rows = rows.div_ceil(parts);
        let tree = Tree::columns(target.class, part_rows, columns);
        let constants = [flag("SHIFT", has_shift), flag("ACCUMULATE", accumulate && parts == 1)];
        let (workgroups, chain) = (parts * tree.workgroups(columns), tree.chain(part_rows, 1));
        tree.launch(target, &AFFINE_GRADIENT, &constants, workgroups, chain)
    }

    /// What [`affine_gradient`] launches for values stored as `element`.
    ///
    /// # Errors
    /// [`GpuError::Shape`] past 2^32 elements.
    pub fn affine_gradient_launches(
        &self,
        target: &Target,
        [has_shift, accumulate]: [bool; 2],
        element: Element,
    ) -> Result<Vec<Launch>, GpuError> {
        let (parts, sums) = (self.gradient_parts(target.class), 1 + usize::from(has_shift));
        let words = 2 * element.words(self.words()) + sums * parts * self.params();
        // A product and an addition for the scale, an addition for the shift.
        let work = Work { flops: 3 * self.words() as u64, bytes: words as u64 * WORD_BYTES };
        let mut launches = vec![self.gradient_launch(target, has_shift, accumulate)?.doing(work)];
        if parts > 1 {
            launches.extend(vec![sum_of_parts_launch(target, [parts, self.params()], accumulate)?; sums]);
        }
        Ok(launches)
    }

    /// What [`affine`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn affine_launch(&self, target: &Target, has_shift: bool, accumulate: bool) -> Result<Launch, GpuError> {
        target.launch(&AFFINE, &[flag("SHIFT", has_shift), flag("ACCUMULATE", accumulate)], self.words())
    }
}

/// Plans `output (+)= input scale [+ shift]`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn affine(
    gpu: &Gpu,
    shape: &NormShape,
    [input, output]: [&View; 2],
    scale: &View,
    shift: Option<&View>,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = AFFINE.entry;
    shape.check(kernel, &[("input", input), ("output", output)], &[("scale", scale)])?;
    shift.map_or(Ok(()), |shift| shift.expect_len(kernel, "shift", shape.params()))?;
    let unused = gpu.unused(0)?;
    let launch = shape.affine_launch(&Target::for_device(gpu), shift.is_some(), accumulate)?;
    let views = [input, scale, shift.unwrap_or(&unused), output];
    gpu.bind(&launch, &views, bytemuck::bytes_of(shape))
}

/// Plans `grad_scale (+)= sum grad input` and, where given, `grad_shift (+)= sum grad`, as adapters of a class take it best.
///
/// Shapes: `scratch` [`NormShape::gradient_scratch_words`].
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn affine_gradient(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &NormShape,
    [grad, input, scratch]: [&View; 3],
    grad_scale: &View,
    grad_shift: Option<&View>,
    accumulate: bool,
) -> Result<Vec<Dispatch>, GpuError> {
    let kernel = AFFINE_GRADIENT.entry;
    shape.check(kernel, &[("grad", grad), ("input", input)], &[("grad_scale", grad_scale)])?;
    grad_shift.map_or(Ok(()), |shift| shift.expect_len(kernel, "grad_shift", shape.params()))?;
    let (target, parts) = (&Target::with_class(gpu, class), shape.gradient_parts(class));
    let launch = shape.gradient_launch(target, grad_shift.is_some(), accumulate)?;
    let unused = gpu.unused(0)?;
    let sums = |scale: &View, shift: Option<&View>| {
        let shape = NormShape { parts: parts as u32, ..*shape };
        let views = [grad, input, scale, shift.unwrap_or(&unused)];
        gpu.bind(&launch, &views, bytemuck::bytes_of(&shape))
    };
    if parts == 1 {
        return Ok(vec![sums(grad_scale, grad_shift)?]);
    }
    let words = shape.part_words(class);
    scratch.expect_len(kernel, "scratch", shape.gradient_scratch_words(class))?;
    let [scales, shifts] = [scratch.part(0, words)?, scratch.part(align_words(words), words)?];
    let add_up = |from: &View, to: &View| sum_of_parts(gpu, target, [from, to], [parts, shape.params()], accumulate);
    let mut dispatches = vec![sums(&scales, grad_shift.map(|_| &shifts))?, add_up(&scales, grad_scale)?];
    if let Some(grad_shift) = grad_shift {
        dispatches.push(add_up(&shifts, grad_shift)?);
    }
    Ok(dispatches)
}
