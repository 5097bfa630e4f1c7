//! GPT-2 and the vision transformer by description, with the names of nanoGPT's and timm's parameters.

use crate::{
    graph::{Graph, GraphError, ParamInit, ValueId, ValueShape},
    kernels::{Activation, ConvOptions},
    ops::{BlockOptions, GPT_NAMES, LinearOptions, MlpKind, TRANSFORMER_STD, VIT_NAMES},
};

use super::zoo::{ModelOptions, Signature};

/// A language model's sizes, as `gpt:LAYERSxHEADSxCHANNELS@BLOCK[:ACTIVATION]` says them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gpt {
    pub layers: usize,
    pub heads: usize,
    pub channels: usize,
    /// Tokens that it sees.
    pub block: usize,
    pub activation: Activation,
    /// Unless it is told.
    pub dropout: f32,
}

/// A vision transformer's sizes, as `vit:LAYERSxHEADSxCHANNELS/PATCH` says them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Vit {
    pub layers: usize,
    pub heads: usize,
    pub channels: usize,
    /// Side of a patch.
    pub patch: usize,
}

const fn gpt(layers: usize, heads: usize, channels: usize, block: usize, dropout: f32) -> Gpt {
    Gpt { layers, heads, channels, block, activation: Activation::Gelu, dropout }
}

/// Language models by name: nanoGPT's for characters on a GPU and on a CPU, and GPT-2.
pub(super) const GPTS: [(&str, Gpt); 3] = [
    ("gpt-shakespeare", gpt(6, 6, 384, 256, 0.2)),
    ("gpt-mini", gpt(4, 4, 128, 64, 0.0)),
    ("gpt2", Gpt { activation: Activation::GeluTanh, ..gpt(12, 12, 768, 1024, 0.1) }),
];

/// Vision transformers by name: timm's sizes, with patches for images of 32 x 32.
pub(super) const VITS: [(&str, Vit); 2] = [
    ("vit-tiny", Vit { layers: 12, heads: 3, channels: 192, patch: 4 }),
    ("vit-small", Vit { layers: 12, heads: 6, channels: 384, patch: 4 }),
];

/// Byte pairs that GPT-2 knows, and characters of tiny Shakespeare.
const GPT2_VOCABULARY: usize = 50_257;
const CHARACTERS: usize = 65;

impl Signature {
    /// What a model of this description takes where no data say it: 65 characters for a language model, for `gpt2` its own 50,257
    /// tokens; for all others images of CIFAR-10.
    #[must_use]
    pub fn described_by(description: &str) -> Self {
        let Some(Ok(gpt)) = Gpt::parse(description) else { return Self::default() };
        let vocabulary = if description == "gpt2" { GPT2_VOCABULARY } else { CHARACTERS };
        Self { input: ValueShape::Tokens { length: gpt.block, vocabulary }, classes: vocabulary }
    }
}

impl Gpt {
    /// The model of a description; `None` where it is another kind's, and what is wrong with it as the end of a sentence.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        if let Some((_, sizes)) = GPTS.iter().find(|(name, _)| *name == text) {
            return Some(Ok(*sizes));
        }
        Some(Self::read(text.strip_prefix("gpt:")?))
    }

    fn read(text: &str) -> Result<Self, String> {
        let (sizes, activation) = match text.split_once(':') {
            Some((sizes, activation)) => (sizes, activation.parse().map_err(|error| format!("{error}"))?),
            None => (text, Activation::Gelu),
        };
        let form = || format!("{sizes:?} is not of the form LAYERSxHEADSxCHANNELS@BLOCK");
        let (sides, block) = sizes.split_once('@').ok_or_else(form)?;
        let ([layers, heads, channels], block) = (sides_of(sides).ok_or_else(form)?, size(block).ok_or_else(form)?);
        Ok(Self { activation, ..gpt(layers, heads, channels, block, 0.0) })
    }

    /// Embedding, positions, blocks, norm, and a head that is the embedding's transpose; of the signature's tokens as many as a block
    /// has.
    ///
    /// Source: Radford et al. 2019, as nanoGPT has it; the weights that end a block's halves start smaller by sqrt(2 layers).
    pub(super) fn build(&self, signature: &Signature, options: ModelOptions) -> Result<Graph, GraphError> {
        let input = match signature.input {
            ValueShape::Tokens { vocabulary, .. } => ValueShape::Tokens { length: self.block, vocabulary },
            other => other,
        };
        let (mut graph, tokens) = Graph::with_input(input)?;
        let dropout = options.dropout.unwrap_or(self.dropout);
        let mut value = graph.embedding(tokens, "transformer.wte", self.channels)?;
        value = graph.positions(value, "transformer.wpe")?;
        if dropout > 0.0 {
            value = graph.dropout(value, dropout)?;
        }
        let block = self.block_options(dropout);
        for layer in 0..self.layers {
            value = graph.transformer_block(value, &format!("transformer.h.{layer}"), &block)?;
        }
        value = graph.norm_with(value, "transformer.ln_f", block.norm())?;
        graph.tied_linear(value, "transformer.wte.weight")?;
        graph.set_init("transformer.wte.weight", ParamInit::Normal { std: TRANSFORMER_STD })?;
        let std = TRANSFORMER_STD / (2.0 * self.layers as f32).sqrt();
        for layer in 0..self.layers {
            for name in [GPT_NAMES.projection, GPT_NAMES.narrow] {
                graph.set_init(&format!("transformer.h.{layer}.{name}.weight"), ParamInit::Normal { std })?;
            }
        }
        Ok(graph)
    }

    fn block_options(&self, dropout: f32) -> BlockOptions {
        let mlp = MlpKind::Plain(self.activation);
        BlockOptions { dropout, mlp, ..BlockOptions::gpt(self.heads, self.channels) }
    }
}

impl Vit {
    /// As [`Gpt::parse`].
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        if let Some((_, sizes)) = VITS.iter().find(|(name, _)| *name == text) {
            return Some(Ok(*sizes));
        }
        Some(Self::read(text.strip_prefix("vit:")?))
    }

    fn read(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not of the form LAYERSxHEADSxCHANNELS/PATCH");
        let (sides, patch) = text.split_once('/').ok_or_else(form)?;
        let ([layers, heads, channels], patch) = (sides_of(sides).ok_or_else(form)?, size(patch).ok_or_else(form)?);
        Ok(Self { layers, heads, channels, patch })
    }

    /// Patches by a convolution, a class token, positions, blocks, norm, and a linear layer on the class token.
    ///
    /// Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, as timm's `VisionTransformer` has it.
    pub(super) fn build(&self, signature: &Signature, options: ModelOptions) -> Result<Graph, GraphError> {
        let (mut graph, image) = Graph::with_input(signature.input)?;
        let dropout = options.dropout.unwrap_or(0.0);
        let mut value = self.patches(&mut graph, image)?;
        value = graph.class_token(value, "cls_token")?;
        value = graph.positions_called(value, "pos_embed")?;
        let block = self.block_options(dropout);
        for layer in 0..self.layers {
            value = graph.transformer_block(value, &format!("blocks.{layer}"), &block)?;
        }
        value = graph.norm_with(value, "norm", block.norm())?;
        value = graph.token(value, 0)?;
        let first = graph.params().len();
        graph.linear_with(value, "head", LinearOptions { features: signature.classes, bias: true })?;
        graph.start_as_transformer(first)?;
        graph.set_init("cls_token", ParamInit::Normal { std: 1e-6 })?;
        Ok(graph)
    }

    fn patches(&self, graph: &mut Graph, image: ValueId) -> Result<ValueId, GraphError> {
        let conv = ConvOptions::square(self.patch).stride(self.patch);
        let value = graph.conv(image, "patch_embed.proj", self.channels, conv, true)?;
        graph.sequence(value)
    }

    fn block_options(&self, dropout: f32) -> BlockOptions {
        let usual = BlockOptions::gpt(self.heads, self.channels);
        BlockOptions { causal: false, dropout, eps: 1e-6, names: VIT_NAMES, ..usual }
    }
}

/// Of a text such as 6x6x384: sizes within what a graph can be asked for.
fn sides_of(text: &str) -> Option<[usize; 3]> {
    let sides: Vec<usize> = text.split('x').map(size).collect::<Option<_>>()?;
    sides.try_into().ok()
}

fn size(text: &str) -> Option<usize> {
    text.parse().ok().filter(|size| (1..=1 << 20).contains(size))
}
