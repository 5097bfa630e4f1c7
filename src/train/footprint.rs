//! Bytes that a run will take on the device, known before anything is allocated.

use serde::Serialize;

use crate::{
    gpu::{Element, Limits, WORD_BYTES},
    graph::{GraphError, Mode, Schedule, Slot, memory},
    nn::Model,
    optim::{Optimizer, OptimizerKind},
};

/// The arena that a plan cuts into as many buffers as the adapter's limit makes it.
const ACTIVATIONS: &str = "activations and their gradients";

/// The arenas of a run and their bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Footprint {
    /// Name and bytes of each arena, in the order of their use.
    pub arenas: Vec<(String, u64)>,
    /// Their sum.
    pub total_bytes: u64,
    /// The least bytes that any placement of activations needs: those alive at once.
    pub activations_lower_bound_bytes: u64,
    /// The largest tensor that a kernel binds whole.
    pub largest_binding_bytes: u64,
    /// Floating-point operations of a step's products.
    pub flops: u64,
}

impl Footprint {
    /// The footprint of training `model` with batches of `batch`, activations and the weights that the network sees stored
    /// as `element`; data and evaluation are apart.
    ///
    /// # Errors
    /// [`GraphError`] for a model or batch that cannot be planned.
    pub fn new(
        model: &Model,
        batch: usize,
        optimizer: OptimizerKind,
        element: Element,
    ) -> Result<(Self, Schedule), GraphError> {
        let schedule = Schedule::stored(&model.graph, batch, Mode::Train, element)?;
        let layout = model.graph.layout();
        let words = layout.words() as u64 * WORD_BYTES;
        let activations = schedule.placement(usize::MAX / 64 * 64).words as u64 * WORD_BYTES;
        let effective = element.words(layout.words()) as u64 * WORD_BYTES;
        let mut arenas: Vec<(String, u64)> = [("weights", words), ("weights_eff", effective), ("grads", words)]
            .map(|(name, bytes)| (name.to_owned(), bytes))
            .into();
        for state in 0..Optimizer::state_arenas(optimizer) {
            arenas.push((format!("optimizer state {}", state + 1), words));
        }
        arenas.push((ACTIVATIONS.to_owned(), activations));
        arenas.push(("noise table".to_owned(), u64::from(layout.blocks()) * 16));
        let total_bytes = arenas.iter().map(|(_, bytes)| bytes).sum();
        let tensors = layout.spans().iter().map(|span| span.len).chain(schedule.slots.iter().map(Slot::words));
        let footprint = Self {
            arenas,
            total_bytes,
            activations_lower_bound_bytes: memory::lower_bound(&schedule.lives()) as u64 * WORD_BYTES,
            largest_binding_bytes: tensors.max().unwrap_or(0) as u64 * WORD_BYTES,
            flops: schedule.flops(),
        };
        Ok((footprint, schedule))
    }

    /// With the buffer that products keep partial sums and transforms in, which goes by the class of the adapter.
    #[must_use]
    pub fn with_scratch(mut self, words: usize) -> Self {
        let bytes = words as u64 * WORD_BYTES;
        self.arenas.push(("scratch of products".to_owned(), bytes));
        self.total_bytes += bytes;
        self
    }

    /// What would not fit an adapter, in words; `None` if everything does. The activations may take several buffers.
    #[must_use]
    pub fn excess(&self, limits: Limits) -> Option<String> {
        let whole = self.arenas.iter().filter(|(name, _)| name != ACTIVATIONS);
        let (name, bytes) = whole.max_by_key(|(_, bytes)| bytes)?;
        if *bytes > limits.buffer_bytes {
            return Some(format!("{name} takes {bytes} bytes, a buffer holds {}", limits.buffer_bytes));
        }
        let (bytes, limit) = (self.largest_binding_bytes, limits.binding_bytes.min(limits.buffer_bytes));
        (bytes > limit).then(|| format!("the largest tensor takes {bytes} bytes, a binding holds {limit}"))
    }
}
