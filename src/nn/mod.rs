//! Models: a builder, descriptions such as `mlp:784-500-10`, the paper's presets, initialisation, weights on disk.

mod builder;
mod description;
mod error;
mod file;
mod init;
mod model;
mod safetensors_file;
mod transformers;
mod weights;
mod weights_format;
mod zoo;

pub(crate) use file::parse as parse_model;
pub(crate) use safetensors_file::open as open_safetensors;

pub use builder::Sequential;
pub use error::{ModelError, WeightsError};
pub use init::initialise;
pub use model::Model;
pub use weights::{NamedTensor, load, load_as, place, read_tensors, save, write_tensors};
pub(crate) use weights::{TensorFile, listed, metadata, parse_metadata, parse_tensors, tensor_bytes, tensors};
pub use weights_format::WeightsFormat;
pub use zoo::{ModelOptions, Signature};
