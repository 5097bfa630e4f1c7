//! Models from TOML files: a list of layers, residual blocks among them.

use std::{collections::HashMap, fmt, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use crate::{
    graph::{Graph, GraphError, ValueId},
    input,
    ops::{LayerError, LayerSite, Layers, keys},
};

use super::{Model, ModelError, zoo::Signature};

/// The largest file: some hundred bytes for each of [`MAX_LAYERS`].
const MAX_BYTES: u64 = 1 << 20;
/// The most layers, those within blocks included: many times those of the deepest networks.
const MAX_LAYERS: usize = 10_000;

/// The type of a block of layers, the one that holds others.
const RESIDUAL: &str = "residual";

/// A file: its layers as tables, so that what is wrong in one of them can be said of that one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    layers: Vec<Table>,
}

/// layers(x) + shortcut(x); the shortcut is x itself if left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResidualKeys {
    layers: Vec<Table>,
    #[serde(default)]
    shortcut: Vec<Table>,
}

/// The graph under construction.
struct Builder<'a> {
    kinds: &'a Layers,
    graph: Graph,
    classes: usize,
    path: &'a Path,
    /// Layers so far by the full name that they get without a name of their own.
    counts: HashMap<String, usize>,
    /// Layers so far.
    layers: usize,
}

impl Builder<'_> {
    /// Adds layers one after the other; `place` says where in the file they are, `prefix` opens their parameters' names.
    fn layers(
        &mut self,
        tables: Vec<Table>,
        mut value: ValueId,
        place: &str,
        prefix: &str,
    ) -> Result<ValueId, ModelError> {
        for (index, mut table) in tables.into_iter().enumerate() {
            let kind = table.remove("type").and_then(|kind| Some(kind.as_str()?.to_owned()));
            let at = format!("{place}[{index}]");
            let kind = kind.ok_or_else(|| self.wrong(&at, "no type", &"it needs a type"))?;
            self.layers += 1;
            if self.layers > MAX_LAYERS {
                let reason = format!("expected at most {MAX_LAYERS} layers in all, found more");
                return Err(self.wrong(&at, &kind, &reason));
            }
            value = match kind.as_str() {
                RESIDUAL => self.residual(table, value, &at, prefix)?,
                kind => self.layer(kind, table, value, prefix).map_err(|error| self.wrong(&at, kind, &error))?,
            };
        }
        Ok(value)
    }

    fn residual(&mut self, mut table: Table, value: ValueId, at: &str, prefix: &str) -> Result<ValueId, ModelError> {
        let wrong = |builder: &Self, error: LayerError| builder.wrong(at, RESIDUAL, &error);
        let block = self.name(prefix, "block", &mut table).map_err(|error| wrong(self, error))?;
        let ResidualKeys { layers, shortcut } = keys(table).map_err(|error| wrong(self, error))?;
        let main = self.layers(layers, value, &format!("{at}.layers"), &format!("{block}."))?;
        let side = self.layers(shortcut, value, &format!("{at}.shortcut"), &format!("{block}.shortcut."))?;
        self.graph.add(main, side).map_err(|error| self.wrong(at, RESIDUAL, &error))
    }

    fn wrong(&self, at: &str, kind: &str, reason: &dyn fmt::Display) -> ModelError {
        let (path, layer) = (self.path.to_owned(), format!("{at} ({kind})"));
        ModelError::Layer { path, layer, reason: reason.to_string() }
    }

    /// The full name of a layer: its own after the prefix, or `stem` and a count.
    fn name(&mut self, prefix: &str, stem: &str, table: &mut Table) -> Result<String, LayerError> {
        match table.remove("name") {
            Some(Value::String(own)) => Ok(format!("{prefix}{own}")),
            Some(other) => Err(LayerError::Keys(format!("invalid type: name is {other}, expected a string"))),
            None => {
                let name = format!("{prefix}{stem}");
                let count = self.counts.entry(name.clone()).or_default();
                *count += 1;
                Ok(format!("{name}{count}"))
            }
        }
    }

    fn layer(&mut self, kind: &str, mut table: Table, input: ValueId, prefix: &str) -> Result<ValueId, LayerError> {
        let kind = *self.kinds.kind(kind)?;
        let name = kind.stem.map(|stem| self.name(prefix, stem, &mut table)).transpose()?.unwrap_or_default();
        (kind.add)(LayerSite { graph: &mut self.graph, input, name: &name, classes: self.classes }, table)
    }
}

/// The model that a TOML file describes, for data of this shape.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::File`] for a file that lists no layers, [`ModelError::Layer`] naming the layer that
/// is wrong or cannot take what the layer before it gives.
pub(super) fn read(path: &Path, signature: &Signature, kinds: &Layers) -> Result<Model, ModelError> {
    let text = input::text(path, MAX_BYTES)
        .map_err(|error| ModelError::Io { path: path.to_owned(), reason: error.to_string() })?;
    parse_with(path, &text, signature, kinds)
}

/// The model of a file's text; `path` is for messages.
pub(crate) fn parse(path: &Path, text: &str, signature: &Signature) -> Result<Model, ModelError> {
    parse_with(path, text, signature, &Layers::standard())
}

fn parse_with(path: &Path, text: &str, signature: &Signature, kinds: &Layers) -> Result<Model, ModelError> {
    let file: File =
        toml::from_str(text).map_err(|error| ModelError::File { path: path.to_owned(), reason: error.to_string() })?;
    let (graph, input) = Graph::with_input(signature.input)?;
    let mut builder = Builder { kinds, graph, classes: signature.classes, path, counts: HashMap::new(), layers: 0 };
    let output = builder.layers(file.layers, input, "layers", "")?;
    let shape = builder.graph.shape(output);
    if builder.graph.params().is_empty() {
        return Err(ModelError::File { path: path.to_owned(), reason: GraphError::NoLayers.to_string() });
    }
    if shape.image().is_some() {
        let reason = format!("the last layer gives {shape}, the loss needs features: flatten it");
        return Err(ModelError::File { path: path.to_owned(), reason });
    }
    Ok(Model { description: path.display().to_string(), graph: builder.graph })
}
