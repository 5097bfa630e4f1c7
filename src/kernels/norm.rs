//! Norms within a sample, affine parameters, and batch norm by running statistics taken apart: the host side of
//! `shaders/group_normalise*.wgsl`, `shaders/affine*.wgsl` and `shaders/channel_normalise.wgsl`.

use crate::gpu::{Dispatch, Element, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work, align_words};

use super::{
    AdapterClass, Constant, Target,
    column_sum::{sum_of_parts, sum_of_parts_launch},
    flag,
    norm_shape::NormShape,
    norm_specs::{
        AFFINE, AFFINE_GRADIENT, CHANNEL_NORMALISE, GROUP_NORMALISE, GROUP_NORMALISE_CURVATURE,
        GROUP_NORMALISE_GRADIENT,
    },
    tree::Tree,
};

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

    fn groups_launch(
        &self,
        target: &Target,
        spec: &'static KernelSpec,
        constants: &[Constant],
    ) -> Result<Launch, GpuError> {
        let terms = (self.channels / self.groups) as usize * self.pixels as usize;
        let tree = Tree::rows(target.class, terms);
        tree.launch(target, spec, constants, tree.workgroups(self.group_count()), tree.chain(terms, 1))
    }

    /// What [`group_normalise`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn group_normalise_launch(&self, target: &Target) -> Result<Launch, GpuError> {
        self.groups_launch(target, &GROUP_NORMALISE, &[])
    }

    /// What [`group_normalise_gradient`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn group_normalise_gradient_launch(&self, target: &Target, accumulate: bool) -> Result<Launch, GpuError> {
        self.groups_launch(target, &GROUP_NORMALISE_GRADIENT, &[flag("ACCUMULATE", accumulate)])
    }

    /// What [`group_normalise_curvature`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn group_normalise_curvature_launch(&self, target: &Target) -> Result<Launch, GpuError> {
        self.groups_launch(target, &GROUP_NORMALISE_CURVATURE, &[])
    }

    /// What [`affine`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn affine_launch(&self, target: &Target, has_shift: bool, accumulate: bool) -> Result<Launch, GpuError> {
        target.launch(&AFFINE, &[flag("SHIFT", has_shift), flag("ACCUMULATE", accumulate)], self.words())
    }

    /// What [`channel_normalise`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn channel_normalise_launch(
        &self,
        target: &Target,
        centre: bool,
        accumulate: bool,
    ) -> Result<Launch, GpuError> {
        target.launch(&CHANNEL_NORMALISE, &[flag("CENTRE", centre), flag("ACCUMULATE", accumulate)], self.words())
    }

    /// Groups of all samples: words of the standard deviations' inverses.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.batch as usize * self.groups as usize
    }

    fn check(
        &self,
        kernel: &'static str,
        values: &[(&'static str, &View)],
        params: &[(&'static str, &View)],
    ) -> Result<(), GpuError> {
        values.iter().try_for_each(|(name, view)| view.expect_len(kernel, name, self.words()))?;
        params.iter().try_for_each(|(name, view)| view.expect_len(kernel, name, self.params()))
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

/// Plans `output (+)= (input - mean) / sqrt(variance + eps)` by channel; without `centre` the mean is left out.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn channel_normalise(
    gpu: &Gpu,
    shape: &NormShape,
    [input, output]: [&View; 2],
    [mean, variance]: [&View; 2],
    centre: bool,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = CHANNEL_NORMALISE.entry;
    let per_channel = NormShape { per_pixel: 0, ..*shape };
    per_channel.check(kernel, &[("input", input), ("output", output)], &[("mean", mean), ("variance", variance)])?;
    let launch = shape.channel_normalise_launch(&Target::for_device(gpu), centre, accumulate)?;
    gpu.bind(&launch, &[input, mean, variance, output], bytemuck::bytes_of(shape))
}

/// Plans `output = (input - mean) inv_std` over the groups of each sample; `inv_std` [batch, groups] is kept for backward.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &NormShape,
    [input, output]: [&View; 2],
    inv_std: &View,
) -> Result<Dispatch, GpuError> {
    let kernel = GROUP_NORMALISE.entry;
    shape.check(kernel, &[("input", input), ("output", output)], &[])?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let launch = shape.group_normalise_launch(&Target::with_class(gpu, class))?;
    gpu.bind(&launch, &[input, output, inv_std], bytemuck::bytes_of(shape))
}

/// Plans the derivative of [`group_normalise`], whose output was `xhat`, applied to `grad`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise_gradient(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &NormShape,
    [grad, xhat, output]: [&View; 3],
    inv_std: &View,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = GROUP_NORMALISE_GRADIENT.entry;
    shape.check(kernel, &[("grad", grad), ("xhat", xhat), ("output", output)], &[])?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let launch = shape.group_normalise_gradient_launch(&Target::with_class(gpu, class), accumulate)?;
    gpu.bind(&launch, &[grad, xhat, inv_std, output], bytemuck::bytes_of(shape))
}

/// Plans the tangent of [`group_normalise_gradient`] at a fixed `grad`, added to `output`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise_curvature(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &NormShape,
    [grad, xhat, x_tangent, xhat_tangent, output]: [&View; 5],
    inv_std: &View,
) -> Result<Dispatch, GpuError> {
    let kernel = GROUP_NORMALISE_CURVATURE.entry;
    let named = [("grad", grad), ("xhat", xhat), ("x_tangent", x_tangent), ("xhat_tangent", xhat_tangent)];
    shape.check(kernel, &named, &[])?;
    output.expect_len(kernel, "output", shape.words())?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let launch = shape.group_normalise_curvature_launch(&Target::with_class(gpu, class))?;
    let views = [grad, xhat, x_tangent, xhat_tangent, inv_std, output];
    gpu.bind(&launch, &views, bytemuck::bytes_of(shape))
}
