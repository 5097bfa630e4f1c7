//! What can be wrong with a model's description or with weights on disk.

use std::path::PathBuf;

use crate::{gpu::GpuError, graph::GraphError};

/// A model that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A description that is none.
    #[error(
        "model {text:?}: {reason}; expected mlp1, mlp2, mlp3, cnn1, cnn2, cnn3, resnet18, resnet34, resnet20, resnet56, \
         vgg11-bn, vgg16-bn, gpt-mini, gpt-shakespeare, gpt2, gpt:LAYERSxHEADSxCHANNELS@BLOCK, vit-tiny, vit-small, \
         vit:LAYERSxHEADSxCHANNELS/PATCH, a TOML file, or widths such as mlp:784-500-10, with another activation \
         mlp:784-500-10:gelu"
    )]
    Description {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model file that cannot be read.
    #[error("model file {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A model file that is none.
    #[error("model file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer of a model file that cannot be.
    #[error("model file {}, {layer}: {reason}", path.display())]
    Layer {
        /// The file.
        path: PathBuf,
        /// Where it is, and its type: `layers[2].shortcut[0] (conv)`.
        layer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A graph that cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Weights that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a safetensors file, or a broken one.
    #[error("{}: not a sound safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The reader's words.
        reason: String,
    },
    /// A tensor that the model has and the file has not.
    #[error("{}: no tensor {name:?}, which the model needs; the file holds: {present}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The names in the file.
        present: String,
    },
    /// A tensor that the model has not.
    #[error("{}: tensor {name:?} has no place in the model", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape or type.
    #[error("{}: tensor {name:?} is {found}, the model expects {expected}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Type and shape expected.
        expected: String,
        /// Type and shape found.
        found: String,
    },
    /// The device refused.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}
