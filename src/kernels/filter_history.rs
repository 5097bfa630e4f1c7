//! Filter norms shrunk by past gradients: the host side of `shaders/filter_history.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Recorder};

use super::{AdapterClass, Arena, FilterNorms, Target, flag};

pub(super) static FILTER_HISTORY: KernelSpec = KernelSpec {
    entry: "filter_history",
    source: concat!(include_str!("../../shaders/filter_history.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[
        ("gradients", Access::Read),
        ("norms", Access::Read),
        ("filters", Access::Index),
        ("history", Access::ReadWrite),
        ("amplitudes", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<Values>() as u32,
};

/// Immediates of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    count: u32,
    beta: f32,
    eta: f32,
}

/// What stands for filter norms where noise goes by past gradients: norm / sqrt(1 + eta history), with a history for each filter of
/// a matrix and each element of a tensor of one dimension, 0 at first.
#[derive(Debug)]
pub struct FilterHistory {
    weights: FilterNorms,
    gradients: FilterNorms,
    remember: Dispatch,
    shrink: Dispatch,
    /// One an entry, in the order of the tensors.
    pub history: Buffer,
    amplitudes: Buffer,
}

impl FilterHistory {
    /// Plans both for the weights and the gradients of an arena, by `eta` and `beta`.
    ///
    /// # Errors
    /// As [`FilterNorms::new`].
    pub(super) fn new(gpu: &Gpu, class: AdapterClass, arena: &Arena, [eta, beta]: [f64; 2]) -> Result<Self, GpuError> {
        let weights = FilterNorms::new(gpu, class, arena)?;
        let layout = arena.layout.clone().with_elements_as_filters();
        let of_gradients = Arena { layout, weights: arena.grads.clone(), ..arena.clone() };
        let gradients = FilterNorms::new(gpu, class, &of_gradients)?;
        let entries = gradients.norms.len();
        let filters = gpu.upload("filters of entries", &places(arena, &weights, &gradients, entries))?;
        let (history, amplitudes) = (gpu.buffer("filter history", entries)?, gpu.buffer("amplitudes", entries)?);
        let values = Values { count: entries as u32, beta: beta as f32, eta: eta as f32 };
        let bind = |remembers| -> Result<Dispatch, GpuError> {
            let launch =
                Target::with_class(gpu, class).launch(&FILTER_HISTORY, &[flag("REMEMBER", remembers)], entries)?;
            let views = [&gradients.norms, &weights.norms, &filters, &history, &amplitudes].map(Buffer::view);
            gpu.bind(&launch, &views.each_ref(), bytemuck::bytes_of(&values))
        };
        Ok(Self { remember: bind(true)?, shrink: bind(false)?, weights, gradients, history, amplitudes })
    }

    /// Per tensor where its entries are, and what stands for their norms.
    pub(super) fn tables(&self) -> [&Buffer; 2] {
        [&self.gradients.by_tensor, &self.amplitudes]
    }

    /// Records the norms of the weights as they are, shrunk.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.weights.record(recorder);
        recorder.run(&self.shrink);
    }

    /// Records `history <- beta history + gradients^2` of what the arena's gradients hold.
    pub fn remember(&self, recorder: &mut Recorder<'_>) {
        self.gradients.record(recorder);
        recorder.run(&self.remember);
    }
}

/// Of each entry the place of its filter's norm; of padding between tensors any.
fn places(arena: &Arena, weights: &FilterNorms, gradients: &FilterNorms, entries: usize) -> Vec<u32> {
    let mut places = vec![0; entries];
    for ((span, of_weights), of_gradients) in arena.layout.spans().iter().zip(&weights.table).zip(&gradients.table) {
        let count = if span.is_matrix { span.filters } else { span.len };
        for entry in 0..count {
            let filter = if span.is_matrix { entry } else { 0 };
            places[of_gradients[0] as usize + entry] = of_weights[0] + filter as u32;
        }
    }
    places
}
