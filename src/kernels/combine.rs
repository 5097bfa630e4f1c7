//! A weighted sum of two arenas: the host side of `shaders/combine.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Recorder};

use super::{Target, arena_parts};

pub(super) static COMBINE: KernelSpec = KernelSpec {
    entry: "combine",
    source: concat!(include_str!("../../shaders/combine.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("other", Access::Read), ("sum", Access::ReadWrite)],
    immediate_bytes: size_of::<Values>() as u32,
};

/// Immediates of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    count: u32,
    keep: f32,
    add: f32,
}

/// A planned weighted sum.
#[derive(Debug)]
pub struct Combine(Vec<Dispatch>);

impl Combine {
    /// Plans `sum = keep sum + add other` over two buffers of f32 of one length, a multiple of 4: BLAS' axpby.
    ///
    /// # Errors
    /// [`GpuError::Length`] for buffers of different lengths, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, (sum, keep): (&Buffer, f64), (other, add): (&Buffer, f64)) -> Result<Self, GpuError> {
        other.view().expect_len(COMBINE.entry, "other", sum.len())?;
        let dispatches = arena_parts(gpu.limits(), sum.len()).map(|(start, words)| {
            let values = Values { count: (words / 4) as u32, keep: keep as f32, add: add as f32 };
            let launch = Target::for_device(gpu).launch(&COMBINE, &[], words / 4)?;
            gpu.bind(&launch, &[&other.part(start, words)?, &sum.part(start, words)?], bytemuck::bytes_of(&values))
        });
        dispatches.collect::<Result<_, _>>().map(Self)
    }

    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.0.iter().for_each(|dispatch| recorder.run(dispatch));
    }
}
