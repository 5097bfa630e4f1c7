//! Linear models whose coefficients are products of factors, many runs at once: the host side of
//! `shaders/diagonal_*.wgsl`, `shaders/group_*.wgsl` and `shaders/two_layer_*.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Recorder, View};

use super::{WORKGROUP, WORKGROUP_SIZE, index_u32};

const PREDICT: [(&str, Access); 6] = [
    ("u_eff", Access::Read),
    ("v_eff", Access::Read),
    ("u", Access::Read),
    ("v", Access::Read),
    ("theta", Access::ReadWrite),
    ("sum", Access::ReadWrite),
];

const GRADIENT: [(&str, Access); 6] = [
    ("u_eff", Access::Read),
    ("v_eff", Access::Read),
    ("slope", Access::Read),
    ("rates", Access::Read),
    ("grad_u", Access::ReadWrite),
    ("grad_v", Access::ReadWrite),
];

const fn with_groups(bindings: [(&'static str, Access); 6]) -> [(&'static str, Access); 7] {
    [bindings[0], bindings[1], bindings[2], bindings[3], bindings[4], bindings[5], ("groups", Access::Index)]
}

/// The source of a kernel with the parts that all of them share.
macro_rules! source {
    ($file:literal) => {
        concat!(
            include_str!(concat!("../../shaders/", $file, ".wgsl")),
            include_str!("../../shaders/shared/index.wgsl"),
            include_str!("../../shaders/shared/factored.wgsl"),
        )
    };
}

const IMMEDIATE_BYTES: u32 = size_of::<FactoredShape>() as u32;

pub(super) static DIAGONAL_PREDICT: KernelSpec = KernelSpec {
    entry: "diagonal_predict",
    source: source!("diagonal_predict"),
    bindings: &PREDICT,
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static DIAGONAL_GRADIENT: KernelSpec = KernelSpec {
    entry: "diagonal_gradient",
    source: source!("diagonal_gradient"),
    bindings: &GRADIENT,
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static GROUP_PREDICT: KernelSpec = KernelSpec {
    entry: "group_predict",
    source: source!("group_predict"),
    bindings: &with_groups(PREDICT),
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static GROUP_GRADIENT: KernelSpec = KernelSpec {
    entry: "group_gradient",
    source: source!("group_gradient"),
    bindings: &with_groups(GRADIENT),
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static TWO_LAYER_PREDICT: KernelSpec = KernelSpec {
    entry: "two_layer_predict",
    source: source!("two_layer_predict"),
    bindings: &PREDICT,
    immediate_bytes: IMMEDIATE_BYTES,
};

pub(super) static TWO_LAYER_GRADIENT: KernelSpec = KernelSpec {
    entry: "two_layer_gradient",
    source: source!("two_layer_gradient"),
    bindings: &GRADIENT,
    immediate_bytes: IMMEDIATE_BYTES,
};

/// How factors make coefficients.
#[derive(Clone, Copy, Debug)]
pub enum FactoredModel<'a> {
    /// theta = u * u - v * v; u, v `[d]`.
    Diagonal,
    /// theta_g = u_g v_g; u `[groups]`, v `[d]`. Per coefficient (group, first of the group, one past its last, 0).
    Group(&'a View),
    /// Theta = U V' by columns; U [rows, width], V [columns, width].
    TwoLayer {
        /// Rows of Theta.
        rows: usize,
        /// Columns of U and V.
        width: usize,
    },
}

/// Sizes of a batch of runs, and the step; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct FactoredShape {
    coefficients: u32,
    count: u32,
    stride_u: u32,
    stride_v: u32,
    rows: u32,
    width: u32,
    step: f32,
}

/// What the kernels are bound to. Factors, their noisy twins and gradients [runs * stride]; theta, slope and sum
/// [runs * coefficients]; rates `[runs]` pairs (step size, decay).
#[derive(Clone, Debug)]
pub struct FactoredViews {
    /// u and v, clean.
    pub clean: [View; 2],
    /// u and v, noisy.
    pub noisy: [View; 2],
    /// Gradients by u and v.
    pub grads: [View; 2],
    /// Coefficients of the noisy factors.
    pub theta: View,
    /// dR/dtheta there.
    pub slope: View,
    /// Running sum of the clean coefficients.
    pub sum: View,
    /// Step sizes.
    pub rates: View,
}

/// The planned kernels of a batch of runs.
#[derive(Debug)]
pub struct Factored {
    predict: Dispatch,
    gradient: Dispatch,
    shape: FactoredShape,
}

impl Factored {
    /// Plans prediction and gradient of `runs` runs.
    ///
    /// # Errors
    /// [`GpuError::Length`] where views do not fit each other; those of the device.
    pub fn new(gpu: &Gpu, model: FactoredModel<'_>, runs: usize, views: &FactoredViews) -> Result<Self, GpuError> {
        let (predict, gradient) = match model {
            FactoredModel::Diagonal => (&DIAGONAL_PREDICT, &DIAGONAL_GRADIENT),
            FactoredModel::Group(_) => (&GROUP_PREDICT, &GROUP_GRADIENT),
            FactoredModel::TwoLayer { .. } => (&TWO_LAYER_PREDICT, &TWO_LAYER_GRADIENT),
        };
        let count = views.theta.len();
        let per_run = |len: usize| len.checked_div(runs).unwrap_or(0);
        let (rows, width) = match model {
            FactoredModel::TwoLayer { rows, width } => (rows, width),
            _ => (0, 0),
        };
        check(predict.entry, runs, views)?;
        let word = |size: usize| index_u32(predict.entry, &[size]);
        let shape = FactoredShape {
            coefficients: word(per_run(count))?,
            count: word(count)?,
            stride_u: word(per_run(views.clean[0].len()))?,
            stride_v: word(per_run(views.clean[1].len()))?,
            rows: word(rows)?,
            width: word(width)?,
            step: 0.0,
        };
        let elements = match model {
            FactoredModel::TwoLayer { rows, width } => {
                runs * width * (rows + per_run(count).checked_div(rows).unwrap_or(0))
            }
            _ => count,
        };
        let ([u_eff, v_eff], [u, v], [grad_u, grad_v]) = (&views.noisy, &views.clean, &views.grads);
        let groups = if let FactoredModel::Group(view) = model { Some(view) } else { None };
        let plan = |spec: &'static KernelSpec, invocations: usize, views: [&View; 6]| {
            let grid = gpu.grid_1d(spec.entry, invocations, WORKGROUP_SIZE)?;
            let views: Vec<&View> = views.into_iter().chain(groups).collect();
            gpu.dispatch(spec, &[WORKGROUP], grid, &views, bytemuck::bytes_of(&shape))
        };
        Ok(Self {
            predict: plan(predict, count, [u_eff, v_eff, u, v, &views.theta, &views.sum])?,
            gradient: plan(gradient, elements, [u_eff, v_eff, &views.slope, &views.rates, grad_u, grad_v])?,
            shape,
        })
    }

    /// Records the coefficients of the noisy factors, and adds the clean ones to the sum.
    pub fn predict(&self, recorder: &mut Recorder<'_>) {
        recorder.run(&self.predict);
    }

    /// Records the gradients at the noisy factors, times each run's step size at `step`.
    pub fn gradient(&self, recorder: &mut Recorder<'_>, step: u64) {
        let shape = FactoredShape { step: step as f32, ..self.shape };
        recorder.run_with(&self.gradient, bytemuck::bytes_of(&shape));
    }
}

fn check(kernel: &'static str, runs: usize, views: &FactoredViews) -> Result<(), GpuError> {
    views.slope.expect_len(kernel, "slope", views.theta.len())?;
    views.sum.expect_len(kernel, "sum", views.theta.len())?;
    views.rates.expect_len(kernel, "rates", 2 * runs)?;
    for (part, argument) in ["u", "v"].into_iter().enumerate() {
        let len = views.clean[part].len();
        views.noisy[part].expect_len(kernel, argument, len)?;
        views.grads[part].expect_len(kernel, argument, len)?;
    }
    Ok(())
}
