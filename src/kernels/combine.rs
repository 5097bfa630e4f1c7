//! A weighted sum of two arenas or tensors: the host side of `shaders/combine.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View, WORD_BYTES, Work};

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
pub struct Combine(pub(super) Vec<Dispatch>);

impl Combine {
    /// Plans `sum = keep sum + add other` over two buffers of f32 of one length: BLAS' axpby.
    ///
    /// # Errors
    /// [`GpuError::Length`] for buffers of different lengths, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, (sum, keep): (&Buffer, f64), (other, add): (&Buffer, f64)) -> Result<Self, GpuError> {
        Self::tensors(gpu, (&sum.view(), keep), (&other.view(), add))
    }

    /// The same over two tensors of f32; nothing but the elements of `sum` is written.
    ///
    /// # Errors
    /// As [`Combine::new`]; [`GpuError::Element`] for tensors of f16.
    pub fn tensors(gpu: &Gpu, (sum, keep): (&View, f64), (other, add): (&View, f64)) -> Result<Self, GpuError> {
        other.expect_len(COMBINE.entry, "other", sum.len())?;
        let target = Target::for_device(gpu);
        let dispatches = arena_parts(gpu.limits(), sum.len()).map(|(start, words)| {
            let values = Values { count: words as u32, keep: keep as f32, add: add as f32 };
            let views = [&other.elements(start, words)?, &sum.elements(start, words)?];
            gpu.bind(&launch(&target, words)?, &views, bytemuck::bytes_of(&values))
        });
        dispatches.collect::<Result<_, _>>().map(Self)
    }

    /// What a sum over `words` elements launches.
    pub(super) fn launches(target: &Target, words: usize) -> Result<Vec<Launch>, GpuError> {
        arena_parts(target.limits, words).map(|(_, words)| launch(target, words)).collect()
    }

    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.0.iter().for_each(|dispatch| recorder.run(dispatch));
    }
}

/// Two products and a sum for each of `words` elements, of which two are read and one is written.
fn launch(target: &Target, words: usize) -> Result<Launch, GpuError> {
    let launch = target.launch(&COMBINE, &[], words.div_ceil(4))?;
    Ok(launch.doing(Work { flops: 3 * words as u64, bytes: 3 * words as u64 * WORD_BYTES }))
}
