//! Descent by the slope of the loss along a draw of noise: the host side of `shaders/descend.wgsl` and `slope.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, Grid, KernelSpec, Launch, Recorder, View};

use super::{AdapterClass, Arena, NoiseRange, NoiseStep, Sweep, flag};

pub(super) static DESCEND: KernelSpec = KernelSpec {
    entry: "descend",
    source: concat!(
        include_str!("../../shaders/descend.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
        include_str!("../../shaders/shared/sweep.wgsl"),
    ),
    bindings: &[
        ("weights", Access::ReadWrite),
        ("weights_eff", Access::Real),
        ("blocks", Access::Read),
        ("slopes", Access::Read),
        ("lens", Access::Read),
    ],
    immediate_bytes: size_of::<DescendStep>() as u32,
};

pub(super) static SLOPE: KernelSpec = KernelSpec {
    entry: "slope",
    source: include_str!("../../shaders/slope.wgsl"),
    bindings: &[("metrics", Access::ReadWrite), ("slopes", Access::ReadWrite)],
    immediate_bytes: size_of::<SlopeValues>() as u32,
};

/// Values of one step; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct DescendStep {
    /// Noise of the next step.
    pub noise: NoiseStep,
    /// Philox key of this step's draw, low word.
    pub then_seed_low: u32,
    /// The same, high word.
    pub then_seed_high: u32,
    /// This step.
    pub then_step: u32,
    /// Where the slope is.
    pub slot: u32,
    /// Step size.
    pub learning_rate: f32,
    /// Weight decay.
    pub decay: f32,
}

/// Immediates of the slope.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct SlopeValues {
    plus: u32,
    minus: u32,
    slot: u32,
    scale: f32,
}

/// A planned descent along a draw.
#[derive(Debug)]
pub struct Descend {
    sweep: Sweep,
    slope: Dispatch,
    slopes: Buffer,
}

impl Descend {
    /// Plans it for slopes in a ring of so many, from a ring of (loss, correct) sums; `noise` is the distribution's code, and with
    /// `decay_matrices` tensors of one dimension do not decay.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where a kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        (metrics, slots): (&View, usize),
        (noise, decay_matrices): (u32, bool),
    ) -> Result<Self, GpuError> {
        let slopes = gpu.buffer("slopes", slots)?;
        let decay = flag("DECAY_MATRICES", decay_matrices);
        let constants = [("NOISE", f64::from(noise)), decay];
        let lens: Vec<u32> = arena.layout.spans().iter().map(|span| span.len as u32).collect();
        let tables = [&arena.blocks.view(), &slopes.view(), &gpu.upload("elements of tensors", &lens)?.view()];
        let sweep = Sweep::new(gpu, class, &DESCEND, [&constants, &constants], &[&arena.weights], arena, &tables)?;
        let slope = gpu.bind(&Launch::new(&SLOPE, &[], Grid([1; 3]), 1), &[metrics, &slopes.view()], &[])?;
        Ok(Self { sweep, slope, slopes })
    }

    /// One slope a step, a ring.
    #[must_use]
    pub fn slopes(&self) -> &Buffer {
        &self.slopes
    }

    /// Records the slope of a step, `scale` times the difference between the losses in slots `plus` and `minus`, into `slot`.
    pub fn record_slope(&self, recorder: &mut Recorder<'_>, [plus, minus]: [u32; 2], slot: u32, scale: f32) {
        recorder.run_with(&self.slope, bytemuck::bytes_of(&SlopeValues { plus, minus, slot, scale }));
    }

    /// Records the descent by a slope that is there.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        values: DescendStep,
    ) -> Result<(), GpuError> {
        self.sweep.record(gpu, recorder, ranges, values.noise, |noise| DescendStep { noise, ..values })
    }
}
