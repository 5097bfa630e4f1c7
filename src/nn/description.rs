//! Models by description: widths, the paper's presets, names of the zoo, files.

use std::{path::Path, str::FromStr};

use crate::{graph::Graph, kernels::Activation, names::UnknownName, ops::Layers};

use super::{
    Model, ModelError, Sequential, file,
    transformers::{GPTS, Gpt, VITS, Vit, own_signature},
    zoo::{Signature, ZOO},
};

/// What may be chosen of a model beside its description.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelOptions {
    /// Chance of a zero in every dropout of a model that has some by its description; its own where not given.
    pub dropout: Option<f32>,
}

/// The largest width of a network of the zoo: 512 times that of the widest published.
const MAX_WIDTH: usize = 1 << 15;

/// The paper's fully connected nets (authors' code): name and widths, ReLU between.
const PRESETS: [(&str, &str); 3] =
    [("mlp1", "784-500-500-500-10"), ("mlp2", "784-5000-5000-5000-10"), ("mlp3", "784-1000-1000-1000-1000-1000-10")];

impl FromStr for Model {
    type Err = ModelError;

    /// As [`Model::build`] for CIFAR-10, a language model for 65 characters, `gpt2` for its own 50,257 tokens.
    fn from_str(text: &str) -> Result<Self, ModelError> {
        Self::build(text, &own_signature(text))
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

    /// The transformers that [`Model::build`] knows by name.
    pub fn transformers() -> impl Iterator<Item = &'static str> {
        GPTS.iter().map(|(name, _)| *name).chain(VITS.iter().map(|(name, _)| *name))
    }

    /// The model of a description, for data of this shape: a name of the zoo, a preset, widths `mlp:784-500-10`, which
    /// say their own, a transformer `gpt:4x4x128@64` or `vit:12x3x192/4`, or the path of a file that ends in `.toml`.
    ///
    /// # Errors
    /// [`ModelError`]
    pub fn build(text: &str, signature: &Signature) -> Result<Self, ModelError> {
        Self::build_with(text, signature, &Layers::standard(), ModelOptions::default())
    }

    /// As [`Model::build`], a file's layers being of these kinds, with options.
    ///
    /// # Errors
    /// [`ModelError`]
    pub fn build_with(
        text: &str,
        signature: &Signature,
        kinds: &Layers,
        options: ModelOptions,
    ) -> Result<Self, ModelError> {
        let wrong = |reason: String| ModelError::Description { text: text.to_owned(), reason };
        if let Some(graph) = transformer(text, signature, options)? {
            return Ok(Self { description: text.to_owned(), graph });
        }
        if options.dropout.is_some() {
            return Err(wrong(
                "its dropout is its own: only those of gpt:, vit: and their presets can be chosen".to_owned(),
            ));
        }
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

/// The graph of a transformer; none where the description is no transformer's.
fn transformer(text: &str, signature: &Signature, options: ModelOptions) -> Result<Option<Graph>, ModelError> {
    let wrong = |reason: String| ModelError::Description { text: text.to_owned(), reason };
    if let Some(dropout) = options.dropout.filter(|dropout| !(0.0..1.0).contains(dropout)) {
        return Err(wrong(format!("dropout {dropout} is no chance from 0 to below 1")));
    }
    if let Some(gpt) = Gpt::parse(text) {
        return Ok(Some(gpt.map_err(wrong)?.build(signature, options)?));
    }
    let Some(vit) = Vit::parse(text) else { return Ok(None) };
    Ok(Some(vit.map_err(wrong)?.build(signature, options)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ValueShape;

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
    fn transformers_have_their_published_sizes() {
        let text =
            |length, vocabulary| Signature { input: ValueShape::Tokens { length, vocabulary }, classes: vocabulary };
        let parameters =
            |name: &str, signature: &Signature| Model::build(name, signature).unwrap().graph.layout().parameters();
        assert_eq!(parameters("vit-tiny", &Signature::default()), 5_362_762);
        // GPT-2's 124,439,808 of Hugging Face's model.
        assert_eq!(parameters("gpt2", &text(1024, 50_257)), 124_439_808);
        let mini = parameters("gpt-mini", &text(64, 65));
        let block = 12 * 128 * 128 + 13 * 128;
        assert_eq!(mini, (65 + 64) * 128 + 4 * block + 2 * 128);
        assert_eq!(parameters("gpt:4x4x128@64:gelu_tanh", &text(64, 65)), mini);
    }

    #[test]
    fn wrong_transformers_say_what_is_wrong() {
        let text = Signature { input: ValueShape::Tokens { length: 64, vocabulary: 65 }, classes: 65 };
        for (name, part) in [
            ("gpt:4x4x128", "not of the form"),
            ("gpt:4x4@64", "not of the form"),
            ("gpt:0x4x128@64", "not of the form"),
            ("gpt:4x4x128@64:swish", "unknown activation"),
            ("gpt:4x3x128@64", "3 heads"),
            ("vit:2x2x8", "not of the form"),
        ] {
            let message = Model::build(name, &text).unwrap_err().to_string();
            assert!(message.contains(part), "{name}: {message}");
        }
        let images = Model::build("gpt-mini", &Signature::default()).unwrap_err().to_string();
        assert!(images.contains("it needs tokens"), "{images}");
        let dropout = ModelOptions { dropout: Some(0.5) };
        let refused = Model::build_with("resnet18", &Signature::default(), &Layers::standard(), dropout).unwrap_err();
        assert!(refused.to_string().contains("its dropout is its own"), "{refused}");
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
