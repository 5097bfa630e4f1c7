//! Dropout, forward and backward alike: the host side of `shaders/dropout.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View};

use super::{Target, flag, index_u32};

pub(super) static DROPOUT: KernelSpec = KernelSpec {
    entry: "dropout",
    source: concat!(
        include_str!("../../shaders/dropout.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("output", Access::Real)],
    immediate_bytes: size_of::<DropoutValues>() as u32,
};

#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct DropoutValues {
    count: u32,
    layer: u32,
    threshold: u32,
    scale: f32,
    step: u32,
    seed_low: u32,
    seed_high: u32,
}

/// A planned dropout; the mask is a pure function of (seed, step, layer, element).
#[derive(Debug)]
pub struct DropoutDispatch {
    dispatch: Dispatch,
    values: DropoutValues,
}

impl DropoutDispatch {
    /// Its dispatch.
    pub(crate) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// What a dropout of `count` elements launches.
    pub(crate) fn launch(target: &Target, count: usize, accumulate: bool) -> Result<Launch, GpuError> {
        target.launch(&DROPOUT, &[flag("ACCUMULATE", accumulate)], count.div_ceil(4))
    }

    /// Plans `output (+)= input mask / (1 - probability)`; shapes `[count]`.
    ///
    /// # Errors
    /// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] for a probability outside of [0, 1).
    pub fn new(
        gpu: &Gpu,
        [input, output]: [&View; 2],
        layer: usize,
        probability: f32,
        accumulate: bool,
    ) -> Result<Self, GpuError> {
        let kernel = DROPOUT.entry;
        if !(0.0..1.0).contains(&probability) {
            let shape = format!("probability {probability}");
            return Err(GpuError::Shape { kernel, shape, reason: "has to be in [0, 1)" });
        }
        let count = index_u32(kernel, &[output.len()])?;
        input.expect_len(kernel, "input", output.len())?;
        let values = DropoutValues {
            count,
            layer: layer as u32,
            threshold: (f64::from(probability) * 2f64.powi(32)) as u32,
            scale: 1.0 / (1.0 - probability),
            step: 0,
            seed_low: 0,
            seed_high: 0,
        };
        let launch = Self::launch(&Target::for_device(gpu), output.len(), accumulate)?;
        Ok(Self { dispatch: gpu.bind(&launch, &[input, output], &[])?, values })
    }

    /// Records the dropout of a step.
    pub fn record(&self, recorder: &mut Recorder<'_>, seed: u64, step: u64) {
        let values =
            DropoutValues { step: step as u32, seed_low: seed as u32, seed_high: (seed >> 32) as u32, ..self.values };
        recorder.run_with(&self.dispatch, bytemuck::bytes_of(&values));
    }
}
