//! What a kind of layer has to say of itself so that files, and builders that go by names, can make operations from it.

use serde::{Deserialize, de::DeserializeOwned};
use toml::Table;

use crate::graph::{Graph, GraphError, ValueId};

/// A layer that cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// Its keys are not those of its kind.
    #[error("{0}")]
    Keys(String),
    /// No kind of layer has this name.
    #[error("unknown type {found:?}, expected one of {expected}")]
    Kind {
        /// The name found.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// The graph does not take it.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Where a layer is added.
#[derive(Debug)]
pub struct LayerSite<'a> {
    /// The graph so far.
    pub graph: &'a mut Graph,
    /// What the layer takes.
    pub input: ValueId,
    /// What its parameters are called before their suffix; empty for a layer without parameters.
    pub name: &'a str,
    /// Classes of the data.
    pub classes: usize,
}

/// A kind of layer, with PyTorch's names and defaults for its keys.
#[derive(Clone, Copy, Debug)]
pub struct LayerKind {
    /// Its `type` in a file.
    pub name: &'static str,
    /// What its parameters' names begin with, `conv` of `conv1.weight`; none for a layer without parameters.
    pub stem: Option<&'static str>,
    /// Adds it, with the keys beside `type` and `name`.
    pub add: fn(LayerSite<'_>, Table) -> Result<ValueId, LayerError>,
}

/// A layer's keys; those that it does not know are refused.
///
/// # Errors
/// [`LayerError::Keys`]
pub fn keys<Keys: DeserializeOwned>(table: Table) -> Result<Keys, LayerError> {
    Keys::deserialize(table).map_err(|error| LayerError::Keys(error.message().to_owned()))
}

/// The keys of a layer that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoKeys {}

/// One number for both directions, or [height, width].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or two as [height, width]")]
pub enum Pair {
    /// For both.
    Both(usize),
    /// Height, width.
    Each([usize; 2]),
}

impl Pair {
    /// Height and width.
    #[must_use]
    pub fn get(self) -> [usize; 2] {
        match self {
            Self::Both(side) => [side; 2],
            Self::Each(sides) => sides,
        }
    }

    pub(super) const fn zero() -> Self {
        Self::Both(0)
    }

    pub(super) const fn one() -> Self {
        Self::Both(1)
    }
}

pub(super) const fn one() -> usize {
    1
}

pub(super) const fn yes() -> bool {
    true
}
