//! The gradient of linear attention and its tangent, bound.

use crate::{
    gpu::{Gpu, GpuError, View},
    kernels::{AdapterClass, Target},
};

use super::{
    flash::{Flash, FlashDispatches},
    flash_specs::{FLASH_GRADIENT, FLASH_GRADIENT_TANGENT, FLASH_TANGENT},
};

/// What [`flash_gradient`] reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct FlashGradientViews<'a> {
    /// [batch, length, 3 C], queries, keys and values
    pub qkv: &'a View,
    /// [batch, length, C], what forward made of them
    pub output: &'a View,
    /// [batch, heads, length], L of each row
    pub lse: &'a View,
    /// [batch, length, C], the output's gradient
    pub grad: &'a View,
    /// [`Flash::row_words`], what it keeps for itself
    pub rows: &'a View,
    /// [batch, length, 3 C], the gradient of queries, keys and values
    pub result: &'a View,
}

/// Plans the gradient of [`flash`](super::flash()) in three dispatches: over rows, over queries, over keys.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, and as [`Flash::launch`].
pub fn flash_gradient(
    gpu: &Gpu,
    class: AdapterClass,
    flash: &Flash,
    views: &FlashGradientViews<'_>,
    accumulate: bool,
) -> Result<FlashDispatches, GpuError> {
    let FlashGradientViews { qkv, output, lse, grad, rows, result } = *views;
    let kernel = FLASH_GRADIENT.entry;
    let packed = [("qkv", qkv), ("grad_qkv", result)];
    flash.shape.check_views(kernel, &packed, &[("output", output), ("grad", grad)], &[("lse", lse)])?;
    rows.expect_len(kernel, "rows", flash.row_words())?;
    let launches = flash.gradient_launches(&Target::with_class(gpu, class), accumulate)?;
    let unused = [gpu.unused(0)?, gpu.unused(1)?, gpu.unused(2)?];
    let tiles = [qkv, grad, rows, result];
    let of_rows = [output, grad, lse, &unused[0], &unused[1], &unused[2], rows];
    FlashDispatches::new(gpu, flash, &launches, &[&of_rows, &tiles, &tiles])
}

/// What [`flash_tangent`] reads and writes, all f32.
#[derive(Clone, Copy, Debug)]
pub struct FlashTangentViews<'a> {
    /// [batch, length, 3 C], queries, keys and values
    pub qkv: &'a View,
    /// Their tangent.
    pub qkv_tangent: &'a View,
    /// [batch, heads, length], L of each row
    pub lse: &'a View,
    /// [batch, length, C], what forward made of queries, keys and values
    pub output: &'a View,
    /// Its tangent, written.
    pub output_tangent: &'a View,
    /// [batch, heads, length], L's tangent, written
    pub mu: &'a View,
}

/// Plans the tangent of [`flash`](super::flash()).
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, and as [`Flash::launch`].
pub fn flash_tangent(gpu: &Gpu, flash: &Flash, views: &FlashTangentViews<'_>) -> Result<FlashDispatches, GpuError> {
    let FlashTangentViews { qkv, qkv_tangent, lse, output, output_tangent, mu } = *views;
    let packed = [("qkv", qkv), ("qkv_tangent", qkv_tangent)];
    let outputs = [("output", output), ("output_tangent", output_tangent)];
    flash.shape.check_views(FLASH_TANGENT.entry, &packed, &outputs, &[("lse", lse), ("mu", mu)])?;
    let launch = flash.tangent_launch(&Target::for_device(gpu))?;
    FlashDispatches::new(gpu, flash, &[launch], &[&[qkv, qkv_tangent, lse, output, output_tangent, mu]])
}

/// What [`flash_gradient_tangent`] reads and writes, all f32.
#[derive(Clone, Copy, Debug)]
pub struct FlashGradientTangentViews<'a> {
    /// What the gradient is made of; its result is the tangent's.
    pub gradient: FlashGradientViews<'a>,
    /// [batch, length, 3 C], tangent of queries, keys and values
    pub qkv_tangent: &'a View,
    /// [batch, length, C], tangent of the output
    pub output_tangent: &'a View,
    /// [batch, heads, length], L's tangent
    pub mu: &'a View,
    /// [batch, length, C], tangent of the output's gradient; none where it is 0
    pub grad_tangent: Option<&'a View>,
}

/// Plans the tangent of [`flash_gradient`] in three dispatches: over rows, over queries, over keys.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, and as [`Flash::launch`].
pub fn flash_gradient_tangent(
    gpu: &Gpu,
    class: AdapterClass,
    flash: &Flash,
    views: &FlashGradientTangentViews<'_>,
    accumulate: bool,
) -> Result<FlashDispatches, GpuError> {
    let FlashGradientTangentViews { gradient, qkv_tangent, output_tangent, mu, grad_tangent } = *views;
    let FlashGradientViews { qkv, output, lse, grad, rows, result } = gradient;
    let kernel = FLASH_GRADIENT_TANGENT.entry;
    let packed = [("qkv", qkv), ("qkv_tangent", qkv_tangent), ("result", result)];
    let outputs = [("output", output), ("output_tangent", output_tangent), ("grad", grad)];
    flash.shape.check_views(kernel, &packed, &outputs, &[("lse", lse), ("mu", mu)])?;
    rows.expect_len(kernel, "rows", flash.row_words())?;
    if let Some(tangent) = grad_tangent {
        tangent.expect_len(kernel, "grad_tangent", flash.shape.outputs())?;
    }
    let target = Target::with_class(gpu, class);
    let launches = flash.gradient_tangent_launches(&target, grad_tangent.is_some(), accumulate)?;
    let unused = gpu.unused(0)?;
    let grad_tangent = grad_tangent.unwrap_or(&unused);
    let tiles = [qkv, grad, qkv_tangent, grad_tangent, rows, result];
    let of_rows = [output, grad, lse, output_tangent, grad_tangent, mu, rows];
    FlashDispatches::new(gpu, flash, &launches, &[&of_rows, &tiles, &tiles])
}
