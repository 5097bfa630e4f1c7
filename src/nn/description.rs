//! Models by description: widths, the paper's presets, names of the zoo, files.

use std::{path::Path, str::FromStr};

use crate::{kernels::Activation, names::UnknownName, ops::Layers};

use super::{
    Model, ModelError, Sequential, file,
    zoo::{Signature, ZOO},
};

/// The largest width of a network of the zoo: 512 times that of the widest published.
const MAX_WIDTH: usize = 1 << 15;

/// The paper's fully connected nets (authors' code): name and widths, ReLU between.
const PRESETS: [(&str, &str); 3] =
    [("mlp1", "784-500-500-500-10"), ("mlp2", "784-5000-5000-5000-10"), ("mlp3", "784-1000-1000-1000-1000-1000-10")];

impl FromStr for Model {
    type Err = ModelError;

    /// As [`Model::build`] for CIFAR-10.
    fn from_str(text: &str) -> Result<Self, ModelError> {
        Self::build(text, &Signature::default())
    }
}

impl Model {
    /// A multilayer perceptron of these widths, input and output included, with `activation` between its layers.
    ///
    /// # Errors
    /// [`ModelError::Graph`] for fewer than two widths or one of 0.
    pub fn mlp(widths: &[usize], activation: Activation) -> Result<Self, ModelError> {
        let (input, layers) = widths.split_first().ok_or(crate::graph::GraphError::NoLayers)?;
        let mut model = Sequential::new(*input);
        for (layer, width) in layers.iter().enumerate() {
            model = model.linear(*width);
            if layer + 1 < layers.len() {
                model = model.activation(activation);
            }
        }
        let names: Vec<_> = widths.iter().map(ToString::to_string).collect();
        let suffix = if activation == Activation::Relu { String::new() } else { format!(":{activation}") };
        Ok(Self { description: format!("mlp:{}{suffix}", names.join("-")), graph: model.build()?.graph })
    }

    /// The convolutional networks that [`Model::build`] knows by name, and whether `NAME:CHANNELS` sets their width.
    pub fn networks() -> impl Iterator<Item = (&'static str, bool)> {
        ZOO.iter().map(|entry| (entry.name, entry.width.is_some()))
    }

    /// The model of a description, for data of this shape: a name of the zoo, a preset, widths `mlp:784-500-10`, which
    /// say their own, or the path of a file that ends in `.toml`.
    ///
    /// # Errors
    /// [`ModelError`]
    pub fn build(text: &str, signature: &Signature) -> Result<Self, ModelError> {
        Self::build_with(text, signature, &Layers::standard())
    }

    /// As [`Model::build`], a file's layers being of these kinds.
    ///
    /// # Errors
    /// [`ModelError`]
    pub fn build_with(text: &str, signature: &Signature, kinds: &Layers) -> Result<Self, ModelError> {
        let wrong = |reason: String| ModelError::Description { text: text.to_owned(), reason };
        let (name, width) = text.split_once(':').map_or((text, None), |(name, width)| (name, Some(width)));
        if let Some(entry) = ZOO.iter().find(|entry| entry.name == name) {
            let width = match (width, entry.width) {
                (None, width) => width.unwrap_or(1),
                (Some(_), None) => return Err(wrong(format!("{name} comes in one width only"))),
                (Some(width), _) => {
                    let parsed = width.parse().ok().filter(|width| *width <= MAX_WIDTH);
                    parsed.ok_or_else(|| wrong(format!("{width:?} is no width from 1 to {MAX_WIDTH}")))?
                }
            };
            return Ok(Self { description: text.to_owned(), graph: (entry.build)(signature, width)? });
        }
        if let Some((name, widths)) = PRESETS.iter().find(|(name, _)| *name == text) {
            let model = Self::build(&format!("mlp:{widths}"), signature)?;
            return Ok(Self { description: (*name).to_owned(), ..model });
        }
        if text.ends_with(".toml") {
            return file::read(Path::new(text), signature, kinds);
        }
        let rest = text.strip_prefix("mlp:").ok_or_else(|| wrong("unknown name".to_owned()))?;
        let (widths, activation) = match rest.split_once(':') {
            Some((widths, activation)) => {
                (widths, activation.parse().map_err(|error: UnknownName| wrong(error.to_string()))?)
            }
            None => (rest, Activation::Relu),
        };
        let widths: Vec<usize> = widths
            .split('-')
            .map(|width| width.parse().map_err(|_| wrong(format!("{width:?} is no width"))))
            .collect::<Result<_, _>>()?;
        Self::mlp(&widths, activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_become_models() {
        let model: Model = "mlp1".parse().unwrap();
        assert_eq!(model.graph.params().len(), 8);
        assert_eq!(model.graph.layout().parameters(), 784 * 500 + 500 * 500 * 2 + 500 * 10 + 3 * 500 + 10);
        let model: Model = "mlp:3-4:tanh".parse().unwrap();
        assert_eq!((model.features(), model.classes(), model.to_string().as_str()), (3, 4, "mlp:3-4:tanh"));
        let [model, narrow]: [Model; 2] = ["resnet18", "resnet18:16"].map(|text| text.parse().unwrap());
        assert_eq!(model.graph.layout().parameters(), 11_173_962);
        assert_eq!(narrow.graph.params().len(), model.graph.params().len());
        assert_eq!(narrow.graph.params()[0].shape, [16, 3, 3, 3]);
    }

    #[test]
    fn wrong_descriptions_say_what_is_wrong() {
        for (text, part) in [
            ("resnet", "unknown name"),
            ("mlp:3-x", "\"x\" is no width"),
            ("mlp:3-4:swish", "unknown activation"),
            ("mlp:3", "no layers"),
            ("mlp:3-0", "width of 0"),
            ("resnet18:x", "\"x\" is no width"),
            ("cnn2:16", "one width only"),
        ] {
            let message = text.parse::<Model>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
