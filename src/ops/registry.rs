//! Layers by name: what files of models may hold.

use super::{
    activation, batch_norm, conv, dropout, embedding, flatten,
    layer::{LayerError, LayerKind},
    linear, norm, pool,
};

/// The kinds of layers there are.
#[derive(Clone, Debug)]
pub struct Layers(Vec<LayerKind>);

impl Layers {
    /// The engine's own.
    #[must_use]
    pub fn standard() -> Self {
        let operations = [
            linear::LAYERS,
            conv::LAYERS,
            batch_norm::LAYERS,
            norm::LAYERS,
            pool::LAYERS,
            flatten::LAYERS,
            dropout::LAYERS,
            embedding::LAYERS,
            activation::LAYERS,
        ];
        Self(operations.concat())
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
