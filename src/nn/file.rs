//! Models from TOML files: a list of layers, residual blocks among them.

use std::{collections::HashMap, path::Path};

use serde::Deserialize;
use toml::Table;

use crate::{
    graph::{Graph, GraphError, ValueId},
    input,
    kernels::{Activation, ConvOptions, Pool},
};

use super::{Model, ModelError, zoo::Target};

/// The largest file: some hundred bytes for each of [`MAX_LAYERS`].
const MAX_BYTES: u64 = 1 << 20;
/// The most layers, those within blocks included: many times those of the deepest networks.
const MAX_LAYERS: usize = 10_000;

/// A file: its layers as tables, so that what is wrong in one of them can be said of that one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    layers: Vec<Table>,
}

/// One number for both directions, or [height, width].
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a number, or two as [height, width]")]
enum Pair {
    Both(usize),
    Each([usize; 2]),
}

impl Pair {
    fn get(self) -> [usize; 2] {
        match self {
            Self::Both(side) => [side; 2],
            Self::Each(sides) => sides,
        }
    }

    const fn zero() -> Self {
        Self::Both(0)
    }

    const fn one() -> Self {
        Self::Both(1)
    }
}

const fn one() -> usize {
    1
}

const fn yes() -> bool {
    true
}

/// A layer, with PyTorch's names and defaults.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum LayerSpec {
    Conv {
        name: Option<String>,
        channels: usize,
        kernel: Pair,
        #[serde(default = "Pair::one")]
        stride: Pair,
        #[serde(default = "Pair::zero")]
        padding: Pair,
        #[serde(default = "Pair::one")]
        dilation: Pair,
        #[serde(default = "one")]
        groups: usize,
        #[serde(default = "yes")]
        bias: bool,
    },
    Linear {
        name: Option<String>,
        /// The classes of the data if left out.
        features: Option<usize>,
    },
    BatchNorm {
        name: Option<String>,
    },
    GroupNorm {
        name: Option<String>,
        groups: usize,
    },
    LayerNorm {
        name: Option<String>,
    },
    MaxPool {
        kernel: Pair,
        /// The kernel if left out.
        stride: Option<Pair>,
        #[serde(default = "Pair::zero")]
        padding: Pair,
    },
    AveragePool {
        kernel: Pair,
        /// The kernel if left out.
        stride: Option<Pair>,
        #[serde(default = "Pair::zero")]
        padding: Pair,
        #[serde(default = "yes")]
        count_padding: bool,
    },
    AdaptiveAveragePool {
        size: Pair,
    },
    GlobalAveragePool {},
    Flatten {},
    Dropout {
        probability: f32,
    },
    Relu {},
    Gelu {},
    Silu {},
    Tanh {},
    Sigmoid {},
    /// layers(x) + shortcut(x); the shortcut is x itself if left out.
    Residual {
        name: Option<String>,
        layers: Vec<Table>,
        #[serde(default)]
        shortcut: Vec<Table>,
    },
}

/// The graph under construction.
struct Builder<'a> {
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
        for (index, table) in tables.into_iter().enumerate() {
            let kind = table.get("type").and_then(|kind| kind.as_str()).unwrap_or("no type").to_owned();
            let at = format!("{place}[{index}]");
            let wrong = |reason: String| ModelError::Layer {
                path: self.path.to_owned(),
                layer: format!("{at} ({kind})"),
                reason,
            };
            self.layers += 1;
            if self.layers > MAX_LAYERS {
                return Err(wrong(format!("expected at most {MAX_LAYERS} layers in all, found more")));
            }
            let layer = LayerSpec::deserialize(table).map_err(|error| wrong(error.message().to_owned()))?;
            value = match layer {
                LayerSpec::Residual { name, layers, shortcut } => {
                    let block = self.name(prefix, "block", name);
                    let main = self.layers(layers, value, &format!("{at}.layers"), &format!("{block}."))?;
                    let side =
                        self.layers(shortcut, value, &format!("{at}.shortcut"), &format!("{block}.shortcut."))?;
                    self.graph.add(main, side).map_err(|error| self.wrong(&at, &kind, &error))?
                }
                layer => self.layer(layer, value, prefix).map_err(|error| self.wrong(&at, &kind, &error))?,
            };
        }
        Ok(value)
    }

    fn wrong(&self, at: &str, kind: &str, error: &GraphError) -> ModelError {
        let (path, layer) = (self.path.to_owned(), format!("{at} ({kind})"));
        ModelError::Layer { path, layer, reason: error.to_string() }
    }

    /// The full name of a layer: its own after the prefix, or `stem` and a count.
    fn name(&mut self, prefix: &str, stem: &str, own: Option<String>) -> String {
        if let Some(own) = own {
            return format!("{prefix}{own}");
        }
        let name = format!("{prefix}{stem}");
        let count = self.counts.entry(name.clone()).or_default();
        *count += 1;
        format!("{name}{count}")
    }

    fn layer(&mut self, layer: LayerSpec, value: ValueId, prefix: &str) -> Result<ValueId, GraphError> {
        match layer {
            LayerSpec::Conv { name, channels, kernel, stride, padding, dilation, groups, bias } => {
                let name = self.name(prefix, "conv", name);
                let [kernel, stride] = [kernel.get(), stride.get()];
                let [padding, dilation] = [padding.get(), dilation.get()];
                let options = ConvOptions { kernel, stride, padding, dilation, groups };
                self.graph.conv(value, &name, channels, options, bias)
            }
            LayerSpec::Linear { name, features } => {
                let name = self.name(prefix, "fc", name);
                self.graph.linear(value, &name, features.unwrap_or(self.classes), Activation::Identity)
            }
            LayerSpec::BatchNorm { name } => {
                let name = self.name(prefix, "bn", name);
                self.graph.batch_norm(value, &name)
            }
            LayerSpec::GroupNorm { name, groups } => {
                let name = self.name(prefix, "gn", name);
                self.graph.group_norm(value, &name, groups)
            }
            LayerSpec::LayerNorm { name } => {
                let name = self.name(prefix, "ln", name);
                self.graph.layer_norm(value, &name)
            }
            layer => self.plain(layer, value),
        }
    }

    /// A layer without parameters.
    fn plain(&mut self, layer: LayerSpec, value: ValueId) -> Result<ValueId, GraphError> {
        let windows = |kernel: Pair, stride: Option<Pair>| (kernel.get(), stride.unwrap_or(kernel).get());
        match layer {
            LayerSpec::MaxPool { kernel, stride, padding } => {
                let (kernel, stride) = windows(kernel, stride);
                self.graph.pool(value, Pool::Max { kernel, stride, padding: padding.get() })
            }
            LayerSpec::AveragePool { kernel, stride, padding, count_padding } => {
                let (kernel, stride) = windows(kernel, stride);
                self.graph.pool(value, Pool::Average { kernel, stride, padding: padding.get(), count_padding })
            }
            LayerSpec::AdaptiveAveragePool { size } => {
                self.graph.pool(value, Pool::AdaptiveAverage { output: size.get() })
            }
            LayerSpec::GlobalAveragePool {} => self.graph.pool(value, Pool::global()),
            LayerSpec::Flatten {} => self.graph.flatten(value),
            LayerSpec::Dropout { probability } => self.graph.dropout(value, probability),
            LayerSpec::Relu {} => self.graph.activate(value, Activation::Relu),
            LayerSpec::Gelu {} => self.graph.activate(value, Activation::Gelu),
            LayerSpec::Silu {} => self.graph.activate(value, Activation::Silu),
            LayerSpec::Tanh {} => self.graph.activate(value, Activation::Tanh),
            LayerSpec::Sigmoid {} => self.graph.activate(value, Activation::Sigmoid),
            LayerSpec::Conv { .. }
            | LayerSpec::Linear { .. }
            | LayerSpec::BatchNorm { .. }
            | LayerSpec::GroupNorm { .. }
            | LayerSpec::LayerNorm { .. }
            | LayerSpec::Residual { .. } => Ok(value),
        }
    }
}

/// The model that a TOML file describes, for data of this shape.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::File`] for a file that lists no layers, [`ModelError::Layer`] naming the layer that
/// is wrong or cannot take what the layer before it gives.
pub(super) fn read(path: &Path, target: &Target) -> Result<Model, ModelError> {
    let text = input::text(path, MAX_BYTES)
        .map_err(|error| ModelError::Io { path: path.to_owned(), reason: error.to_string() })?;
    parse(path, &text, target)
}

/// The model of a file's text; `path` is for messages.
pub(crate) fn parse(path: &Path, text: &str, target: &Target) -> Result<Model, ModelError> {
    let file: File =
        toml::from_str(text).map_err(|error| ModelError::File { path: path.to_owned(), reason: error.to_string() })?;
    let (graph, input) = Graph::with_input(target.input)?;
    let mut builder = Builder { graph, classes: target.classes, path, counts: HashMap::new(), layers: 0 };
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
