//! The GPU layer: adapter, device, buffers, kernels, recording, timing, readback. Knows nothing of networks.

mod adapter;
mod admission;
mod buffer;
mod compile;
mod cooperative;
mod device;
mod dispatch;
mod element;
mod element_types;
mod error;
mod failure;
mod faults;
mod kernel;
mod launch;
mod limits;
mod lock;
mod memory;
mod pipeline_cache;
mod readback;
mod recorder;
mod spec;
mod timestamps;
mod verdicts;

pub use adapter::{ADAPTER_VARIABLE, AdapterChoice, AdapterSummary, list_adapters};
pub use buffer::{Buffer, View};
pub use cooperative::{CooperativeMatrix, Scalar};
pub use device::Gpu;
pub use dispatch::Dispatch;
pub use element::Element;
pub use element_types::ElementTypes;
pub use error::GpuError;
#[doc(hidden)]
pub use faults::{After, DeviceMemory, Faults, Watch, Watched};
pub use kernel::CompiledKernel;
pub use launch::{Grid, Launch, ProductTile, Work};
pub use limits::{Family, Limits};
pub use pipeline_cache::cache_folder;
pub use readback::PendingRead;
pub use recorder::Recorder;
pub use spec::{Access, KernelSpec};
pub use timestamps::{KernelTime, Profile, Span};

/// Bytes of a word: every buffer is an array of 32-bit words (f32 or u32).
pub const WORD_BYTES: u64 = 4;

/// Tensors start at multiples of this many words (256 bytes, WebGPU's alignment of storage offsets).
pub const ALIGNMENT_WORDS: usize = 64;

/// `words` rounded up to the alignment of tensors.
#[must_use]
pub fn align_words(words: usize) -> usize {
    words.div_ceil(ALIGNMENT_WORDS) * ALIGNMENT_WORDS
}
