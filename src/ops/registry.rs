//! What each operation brings: layers that files of models may hold by their names, and kernels of its own.

use crate::gpu::KernelSpec;

use super::{
    activation, affine, attention, batch_norm, conv, dropout, embedding, flatten,
    layer::{LayerError, LayerKind},
    linear, loss, norm, pool, positions, swiglu, token_order, tokens, transformer, window,
};

/// What an operation brings beside itself.
struct Operation {
    /// Its layers in files.
    layers: &'static [LayerKind],
    /// The kernels whose host side it holds.
    kernels: &'static [&'static KernelSpec],
}

/// The engine's operations, one a line.
const OPERATIONS: &[Operation] = &[
    Operation { layers: linear::LAYERS, kernels: &[] },
    Operation { layers: conv::LAYERS, kernels: &[] },
    Operation { layers: batch_norm::LAYERS, kernels: batch_norm::SPECS },
    Operation { layers: norm::LAYERS, kernels: norm::SPECS },
    Operation { layers: &[], kernels: affine::SPECS },
    Operation { layers: pool::LAYERS, kernels: pool::SPECS },
    Operation { layers: flatten::LAYERS, kernels: flatten::SPECS },
    Operation { layers: dropout::LAYERS, kernels: dropout::SPECS },
    Operation { layers: embedding::LAYERS, kernels: embedding::SPECS },
    Operation { layers: attention::LAYERS, kernels: attention::SPECS },
    Operation { layers: &[], kernels: token_order::SPECS },
    Operation { layers: positions::LAYERS, kernels: positions::SPECS },
    Operation { layers: tokens::LAYERS, kernels: window::SPECS },
    Operation { layers: swiglu::LAYERS, kernels: swiglu::SPECS },
    Operation { layers: transformer::LAYERS, kernels: &[] },
    Operation { layers: activation::LAYERS, kernels: &[] },
    Operation { layers: &[], kernels: loss::SPECS },
];

/// The kernels whose host side is in this room.
pub(crate) fn specs() -> Vec<&'static KernelSpec> {
    OPERATIONS.iter().flat_map(|operation| operation.kernels).copied().collect()
}

/// The kinds of layers there are.
#[derive(Clone, Debug)]
pub struct Layers(Vec<LayerKind>);

impl Layers {
    /// The engine's own.
    #[must_use]
    pub fn standard() -> Self {
        Self(OPERATIONS.iter().flat_map(|operation| operation.layers).copied().collect())
    }

    /// These and one more, which takes the place of one of the same name.
    #[must_use]
    pub fn with(mut self, kind: LayerKind) -> Self {
        self.0.retain(|other| other.name != kind.name);
        self.0.push(kind);
        self
    }

    /// The kind of a name.
    ///
    /// # Errors
    /// [`LayerError::Kind`] naming those there are.
    pub fn kind(&self, name: &str) -> Result<&LayerKind, LayerError> {
        let unknown = || {
            let names: Vec<_> = self.0.iter().map(|kind| kind.name).collect();
            LayerError::Kind { found: name.to_owned(), expected: names.join(", ") }
        };
        self.0.iter().find(|kind| kind.name == name).ok_or_else(unknown)
    }
}
