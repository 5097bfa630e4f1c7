//! 2-d pools: the host side of `shaders/pool.wgsl` and `shaders/pool_gradient.wgsl`.

use crate::{
    gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View},
    kernels::{Activation, Target, flag, index_u32, padded_channels},
    ops::Pool,
};

static POOL: KernelSpec = KernelSpec {
    entry: "pool",
    source: concat!(
        include_str!("../../../shaders/pool.wgsl"),
        include_str!("../../../shaders/shared/pool.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("output", Access::Real), ("chosen", Access::ReadWrite)],
    immediate_bytes: size_of::<PoolShape>() as u32,
};

static POOL_GRADIENT: KernelSpec = KernelSpec {
    entry: "pool_gradient",
    source: concat!(
        include_str!("../../../shaders/pool_gradient.wgsl"),
        include_str!("../../../shaders/shared/pool.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("grad_output", Access::Real),
        ("chosen", Access::ReadWrite),
        ("saved", Access::Real),
        ("grad_input", Access::Real),
    ],
    immediate_bytes: size_of::<PoolShape>() as u32,
};

/// Both kernels.
pub(in super::super) const SPECS: &[&KernelSpec] = &[&POOL, &POOL_GRADIENT];

/// The kernels' override MODE.
fn mode(kind: &Pool) -> f64 {
    match kind {
        Pool::Max { .. } => 0.0,
        Pool::Average { .. } => 1.0,
        Pool::AdaptiveAverage { .. } => 2.0,
    }
}

/// The mode of a forward pass that takes what a max pool chose.
const SELECTION: f64 = 3.0;

/// A pool with every size known: what the kernels are told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PoolShape {
    batch: u32,
    input: [u32; 2],
    output: [u32; 2],
    quads: u32,
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    count_padding: u32,
}

impl PoolShape {
    /// A pool over `batch` images [height, width, channels].
    ///
    /// # Errors
    /// [`GpuError::Shape`] for an empty side or a window that does not fit.
    pub fn new(batch: usize, [height, width, channels]: [usize; 3], pool: &Pool) -> Result<Self, GpuError> {
        let kernel = POOL.entry;
        let output = pool.output_size([height, width]).filter(|_| batch * height * width * channels > 0);
        let Some([out_height, out_width]) = output else {
            let shape = format!("{batch} x {height} x {width} x {channels}, {pool:?}");
            return Err(GpuError::Shape { kernel, shape, reason: "the windows do not fit" });
        };
        index_u32(kernel, &[batch, height, width, padded_channels(channels)])?;
        index_u32(kernel, &[batch, out_height, out_width, padded_channels(channels)])?;
        let pair = |pair: [usize; 2]| pair.map(|side| side as u32);
        let (window, stride, padding, count) = match *pool {
            Pool::Max { kernel, stride, padding } => (kernel, stride, padding, false),
            Pool::Average { kernel, stride, padding, count_padding } => (kernel, stride, padding, count_padding),
            Pool::AdaptiveAverage { .. } => ([1; 2], [1; 2], [0; 2], false),
        };
        Ok(Self {
            batch: batch as u32,
            input: pair([height, width]),
            output: pair([out_height, out_width]),
            quads: (padded_channels(channels) / 4) as u32,
            kernel: pair(window),
            stride: pair(stride),
            padding: pair(padding),
            count_padding: u32::from(count),
        })
    }

    fn words(&self, [height, width]: [u32; 2]) -> usize {
        self.batch as usize * height as usize * width as usize * self.quads as usize * 4
    }

    /// Pixels that a window holds at most.
    fn window(&self, kind: &Pool) -> usize {
        let side = |axis: usize| match kind {
            Pool::AdaptiveAverage { .. } => most_shared(self.input[axis], self.output[axis]),
            Pool::Max { .. } | Pool::Average { .. } => self.kernel[axis],
        };
        side(0) as usize * side(1) as usize
    }

    /// Windows that a pixel of the input lies in at most.
    fn overlap(&self, kind: &Pool) -> usize {
        let side = |axis: usize| match kind {
            Pool::AdaptiveAverage { .. } => most_shared(self.output[axis], self.input[axis]),
            Pool::Max { .. } | Pool::Average { .. } => self.kernel[axis].div_ceil(self.stride[axis]),
        };
        side(0) as usize * side(1) as usize
    }

    fn launch(&self, target: &Target, mode: f64, accumulate: bool) -> Result<Launch, GpuError> {
        let constants = [("MODE", mode), flag("ACCUMULATE", accumulate)];
        target.launch(&POOL, &constants, self.words(self.output) / 4)
    }

    /// What [`pool`] launches.
    pub(super) fn pool_launch(&self, target: &Target, kind: &Pool, accumulate: bool) -> Result<Launch, GpuError> {
        Ok(self.launch(target, mode(kind), accumulate)?.chained(self.window(kind)))
    }

    /// What [`pool_select`] launches.
    pub(super) fn select_launch(&self, target: &Target, accumulate: bool) -> Result<Launch, GpuError> {
        self.launch(target, SELECTION, accumulate)
    }

    /// What [`pool_gradient`] launches.
    pub(super) fn gradient_launch(
        &self,
        target: &Target,
        kind: &Pool,
        activation: Activation,
        accumulate: bool,
    ) -> Result<Launch, GpuError> {
        let constants =
            [("MODE", mode(kind)), ("ACTIVATION", f64::from(activation.code())), flag("ACCUMULATE", accumulate)];
        Ok(target.launch(&POOL_GRADIENT, &constants, self.words(self.input) / 4)?.chained(self.overlap(kind)))
    }
}

/// Of `length` shared out over `windows` that may overlap, what one takes at most.
fn most_shared(length: u32, windows: u32) -> u32 {
    length.div_ceil(windows) + u32::from(!length.is_multiple_of(windows))
}

/// Plans a pool forward. `chosen` [as output] is written by a max pool and not used by the others.
///
/// Shapes: `input` [batch, height, width, padded channels], `output` likewise.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn pool(
    gpu: &Gpu,
    kind: &Pool,
    shape: &PoolShape,
    [input, output]: [&View; 2],
    chosen: Option<&View>,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    plan_pool(gpu, &shape.pool_launch(&Target::for_device(gpu), kind, accumulate)?, shape, [input, output], chosen)
}

/// Plans `output[o] (+)= input[chosen[o]]`: a max pool's derivative applied forward.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn pool_select(
    gpu: &Gpu,
    shape: &PoolShape,
    [input, output]: [&View; 2],
    chosen: &View,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    plan_pool(gpu, &shape.select_launch(&Target::for_device(gpu), accumulate)?, shape, [input, output], Some(chosen))
}

fn plan_pool(
    gpu: &Gpu,
    launch: &Launch,
    shape: &PoolShape,
    [input, output]: [&View; 2],
    chosen: Option<&View>,
) -> Result<Dispatch, GpuError> {
    let kernel = POOL.entry;
    let count = shape.words(shape.output);
    input.expect_len(kernel, "input", shape.words(shape.input))?;
    output.expect_len(kernel, "output", count)?;
    chosen.map_or(Ok(()), |chosen| chosen.expect_len(kernel, "chosen", count))?;
    let unused = gpu.unused(0)?;
    let views = [input, output, chosen.unwrap_or(&unused)];
    gpu.bind(launch, &views, bytemuck::bytes_of(shape))
}

/// Plans a pool backward; `saved` carries an activation whose derivative goes in with what it saved of the pool's input.
///
/// Shapes: `grad_output` and `chosen` as the pool's output, `grad_input` as its input.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn pool_gradient(
    gpu: &Gpu,
    kind: &Pool,
    shape: &PoolShape,
    [grad_output, grad_input]: [&View; 2],
    chosen: Option<&View>,
    saved: Option<(Activation, &View)>,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = POOL_GRADIENT.entry;
    let count = shape.words(shape.input);
    grad_output.expect_len(kernel, "grad_output", shape.words(shape.output))?;
    grad_input.expect_len(kernel, "grad_input", count)?;
    chosen.map_or(Ok(()), |chosen| chosen.expect_len(kernel, "chosen", shape.words(shape.output)))?;
    saved.map_or(Ok(()), |(_, saved)| saved.expect_len(kernel, "saved", count))?;
    let unused = [gpu.unused(0)?, gpu.unused(1)?];
    let activation = saved.map_or(Activation::Identity, |(activation, _)| activation);
    let launch = shape.gradient_launch(&Target::for_device(gpu), kind, activation, accumulate)?;
    let saved = saved.map_or(&unused[1], |(_, saved)| saved);
    let views = [grad_output, chosen.unwrap_or(&unused[0]), saved, grad_input];
    gpu.bind(&launch, &views, bytemuck::bytes_of(shape))
}
