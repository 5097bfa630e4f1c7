//! Models: a builder, descriptions such as `mlp:784-500-10`, the paper's presets, initialisation, weights on disk.

mod builder;
mod error;
mod file;
mod init;
mod model;
mod weights;
mod zoo;

pub use builder::Sequential;
pub use error::{ModelError, WeightsError};
pub use init::initialise;
pub use model::Model;
pub use weights::{NamedTensor, load, read_tensors, save, write_tensors};
pub(crate) use weights::{metadata, parse_tensors, place, tensor_bytes, tensors};
pub use zoo::Target;
