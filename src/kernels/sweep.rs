//! One pass over whole arenas: split at the adapter's binding limit, and at the borders of what is noisy this step.

use std::ops::Range;

use crate::gpu::{ALIGNMENT_WORDS, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View};

use super::{AdapterClass, Arena, Constant, Target, WORKGROUP_SIZE, arena_parts, flag};

/// Elements that one Philox call serves.
const OCTET: usize = 8;

const OCTETS_PER_BLOCK: u32 = (ALIGNMENT_WORDS / OCTET) as u32;

/// The head of every noise kernel's immediates; `NoiseStep` in `shaders/shared/noise.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct NoiseStep {
    /// First octet within the bound part; set by the sweep.
    pub first: u32,
    /// Octets; set by the sweep.
    pub count: u32,
    /// First block of the bound part; set by the sweep.
    pub block_base: u32,
    /// Philox key, low word.
    pub seed_low: u32,
    /// Philox key, high word.
    pub seed_high: u32,
    /// Step of the noise.
    pub step: u32,
    /// Standard deviation.
    pub sigma: f32,
}

/// Blocks that are all noisy or all clean in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoiseRange {
    /// 64-element blocks of the arena.
    pub blocks: Range<u32>,
    /// Whether noise is added.
    pub noisy: bool,
}

/// A block of which only some elements are noisy in a step: where a part of a tensor begins or ends within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseEdge {
    /// The 64-element block of the arena.
    pub block: u32,
    /// Bit i: whether its element i is noisy.
    pub mask: u64,
}

#[derive(Debug)]
struct Part {
    blocks: Range<u32>,
    clean: Dispatch,
    noisy: Dispatch,
}

/// How invocations share out the octets of a sweep: `shaders/shared/sweep.wgsl`.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Octets' worth an invocation takes.
    octets: usize,
    /// Invocations of a workgroup.
    threads: usize,
    /// Whether that is two vec4s a workgroup apart, rather than whole octets.
    spread: bool,
}

impl Share {
    fn new(class: AdapterClass) -> Self {
        match class {
            // An H200 moves 3.8 TB/s so, and 1.3 TB/s by invocations of whole octets, whose loads and stores lie 64 bytes apart.
            AdapterClass::Gpu(_) => Self { octets: 1, threads: 256, spread: true },
            AdapterClass::Software(_) => Self { octets: 2, threads: WORKGROUP_SIZE, spread: false },
        }
    }

    /// Invocations for so many octets, a multiple of those of a block.
    fn invocations(self, octets: usize) -> usize {
        octets / self.octets
    }
}

/// What a sweep over `words` elements of an arena launches: for each part that fits a binding the range of its elements and
/// the launch.
pub(super) fn sweep_launches(
    target: &Target,
    spec: &'static KernelSpec,
    constants: &[Constant],
    words: usize,
) -> Result<Vec<(Range<usize>, Launch)>, GpuError> {
    let share = Share::new(target.class);
    let constants = [constants, &[flag("SPREAD", share.spread)]].concat();
    let launch = |(first, len): (usize, usize)| {
        let launch = target.sized_launch(spec, &constants, share.invocations(len / OCTET), share.threads)?;
        Ok((first..first + len, launch.chained(share.octets)))
    };
    arena_parts(target.limits, words).map(launch).collect()
}

/// A kernel over whole arenas, with and without noise.
#[derive(Debug)]
pub struct Sweep {
    kernel: &'static str,
    share: Share,
    parts: Vec<Part>,
}

impl Sweep {
    /// Binds `arenas` (f32, as long as the weights), then `weights_eff`, in as few parts as the adapter's binding limit
    /// allows, then `tables` whole; `clean` and `noisy` are the overrides without and with noise, those
    /// of the variant for `class` left out.
    ///
    /// # Errors
    /// As [`Gpu::dispatch`]; [`GpuError::Grid`] past the adapter's grid.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        spec: &'static KernelSpec,
        [clean, noisy]: [&[Constant]; 2],
        arenas: &[&Buffer],
        arena: &Arena,
        tables: &[&View],
    ) -> Result<Self, GpuError> {
        let block = |element: usize| (element / ALIGNMENT_WORDS) as u32;
        let launches =
            |constants| sweep_launches(&Target::with_class(gpu, class), spec, constants, arena.layout.words());
        let mut parts = Vec::new();
        for ((elements, clean), (_, noisy)) in launches(clean)?.into_iter().zip(launches(noisy)?) {
            let (first, len) = (elements.start, elements.len());
            let mut views = arenas.iter().map(|arena| arena.part(first, len)).collect::<Result<Vec<_>, _>>()?;
            views.push(arena.effective_part(first, len)?);
            let views: Vec<_> = views.iter().chain(tables.iter().copied()).collect();
            parts.push(Part {
                blocks: block(first)..block(elements.end),
                clean: gpu.bind(&clean, &views, &[])?,
                noisy: gpu.bind(&noisy, &views, &[])?,
            });
        }
        Ok(Self { kernel: spec.entry, share: Share::new(class), parts })
    }

    /// Records the sweep over `ranges`; `immediates` completes the kernel's values from the head for each piece.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid.
    pub fn record<T: bytemuck::Pod>(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        head: NoiseStep,
        immediates: impl Fn(NoiseStep) -> T,
    ) -> Result<(), GpuError> {
        for range in ranges {
            for part in &self.parts {
                let first = range.blocks.start.max(part.blocks.start);
                let last = range.blocks.end.min(part.blocks.end);
                if first >= last {
                    continue;
                }
                let count = (last - first) * OCTETS_PER_BLOCK;
                let head = NoiseStep {
                    first: (first - part.blocks.start) * OCTETS_PER_BLOCK,
                    count,
                    block_base: part.blocks.start,
                    ..head
                };
                let invocations = self.share.invocations(count as usize);
                let grid = gpu.grid_1d(self.kernel, invocations, self.share.threads)?;
                let dispatch = if range.noisy { &part.noisy } else { &part.clean };
                recorder.run_on(dispatch, bytemuck::bytes_of(&immediates(head)), grid);
            }
        }
        Ok(())
    }
}
