//! Norms within a sample: the host side of `shaders/group_normalise*.wgsl`.

use crate::{
    gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View},
    kernels::{AdapterClass, Constant, Target, Tree, flag},
};

use super::shape::NormShape;

static GROUP_NORMALISE: KernelSpec = KernelSpec {
    entry: "group_normalise",
    source: concat!(
        include_str!("../../../shaders/group_normalise.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
        include_str!("../../../shaders/shared/norm.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("input", Access::Real),
        ("xhat", Access::Real),
        ("inv_std", Access::ReadWrite),
        ("scale", Access::Real),
        ("shift", Access::Real),
        ("output", Access::Real),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

static GROUP_NORMALISE_GRADIENT: KernelSpec = KernelSpec {
    entry: "group_normalise_gradient",
    source: concat!(
        include_str!("../../../shaders/group_normalise_gradient.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
        include_str!("../../../shaders/shared/norm.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("grad", Access::Real),
        ("xhat", Access::Real),
        ("inv_std", Access::ReadWrite),
        ("output", Access::Real),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

static GROUP_NORMALISE_CURVATURE: KernelSpec = KernelSpec {
    entry: "group_normalise_curvature",
    source: concat!(
        include_str!("../../../shaders/group_normalise_curvature.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
        include_str!("../../../shaders/shared/norm.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("grad", Access::ReadWrite),
        ("xhat", Access::ReadWrite),
        ("x_tangent", Access::ReadWrite),
        ("xhat_tangent", Access::ReadWrite),
        ("inv_std", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

/// The three kernels.
pub(in super::super) const SPECS: &[&KernelSpec] =
    &[&GROUP_NORMALISE, &GROUP_NORMALISE_GRADIENT, &GROUP_NORMALISE_CURVATURE];

impl NormShape {
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

    /// What [`group_normalise`] launches, with weight and bias where it has them.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn group_normalise_launch(&self, target: &Target, [affine, shift]: [bool; 2]) -> Result<Launch, GpuError> {
        self.groups_launch(target, &GROUP_NORMALISE, &[flag("AFFINE", affine), flag("SHIFT", shift)])
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
}

/// The second half of a norm: `output = xhat scale [+ shift]`, as [`affine`](super::super::affine) computes it.
#[derive(Clone, Copy, Debug)]
pub struct NormAffine<'a> {
    /// Its weight.
    pub scale: &'a View,
    /// Its bias.
    pub shift: Option<&'a View>,
    /// Of the value's shape.
    pub output: &'a View,
}

/// Plans `xhat = (input - mean) inv_std` over the groups of each sample, and what follows if given; xhat and `inv_std`
/// [batch, groups] are kept for backward.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &NormShape,
    [input, xhat]: [&View; 2],
    inv_std: &View,
    affine: Option<NormAffine<'_>>,
) -> Result<Dispatch, GpuError> {
    let kernel = GROUP_NORMALISE.entry;
    shape.check(kernel, &[("input", input), ("xhat", xhat)], &[])?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let unused = gpu.unused(0)?;
    let shift = affine.and_then(|affine| affine.shift);
    let launch = shape.group_normalise_launch(&Target::with_class(gpu, class), [affine.is_some(), shift.is_some()])?;
    let (scale, output) = affine.map_or((&unused, &unused), |affine| (affine.scale, affine.output));
    if affine.is_some() {
        shape.check(kernel, &[("output", output)], &[("scale", scale)])?;
    }
    shift.map_or(Ok(()), |shift| shift.expect_len(kernel, "shift", shape.params()))?;
    let views = [input, xhat, inv_std, scale, shift.unwrap_or(&unused), output];
    gpu.bind(&launch, &views, bytemuck::bytes_of(shape))
}

/// Plans the derivative of [`group_normalise`], which made `xhat`, applied to `grad`.
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

/// What [`group_normalise_curvature`] reads and writes, all of the value's shape but `inv_std`.
#[derive(Clone, Copy, Debug)]
pub struct NormCurvatureViews<'a> {
    /// The gradient that the norm's derivative is applied to.
    pub grad: &'a View,
    /// What the norm made.
    pub xhat: &'a View,
    /// Tangent of what it was made from.
    pub x_tangent: &'a View,
    /// Tangent of what it made.
    pub xhat_tangent: &'a View,
    /// `[samples x groups]`, 1 / standard deviation
    pub inv_std: &'a View,
    /// What the tangent is added to.
    pub output: &'a View,
}

/// Plans the tangent of [`group_normalise_gradient`] at a fixed `grad`, added to `output`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise_curvature(
    gpu: &Gpu,
    class: AdapterClass,
    shape: &NormShape,
    views: &NormCurvatureViews<'_>,
) -> Result<Dispatch, GpuError> {
    let NormCurvatureViews { grad, xhat, x_tangent, xhat_tangent, inv_std, output } = *views;
    let kernel = GROUP_NORMALISE_CURVATURE.entry;
    let named = [("grad", grad), ("xhat", xhat), ("x_tangent", x_tangent), ("xhat_tangent", xhat_tangent)];
    shape.check(kernel, &named, &[])?;
    output.expect_len(kernel, "output", shape.words())?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let launch = shape.group_normalise_curvature_launch(&Target::with_class(gpu, class))?;
    let views = [grad, xhat, x_tangent, xhat_tangent, inv_std, output];
    gpu.bind(&launch, &views, bytemuck::bytes_of(shape))
}
