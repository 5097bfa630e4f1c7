//! A transformer's block: attention and a multilayer perceptron, each behind a norm and beside a shortcut.
//!
//! ```text
//! x <- x + attention(norm(x)),   x <- x + mlp(norm(x))
//! ```
//!
//! Source: Vaswani et al., "Attention is all you need", 2017, with the norms first (Radford et al., "Language models are
//! unsupervised multitask learners", 2019).

use serde::Deserialize;

use crate::{
    graph::{Graph, GraphError, ParamInit, ParamRole, ValueId},
    kernels::Activation,
};

use super::{
    AttentionOptions, LinearOptions, NormKind, NormOptions,
    layer::{LayerError, LayerKind, keys, one, yes},
};

/// Standard deviation of the initial weights of GPT-2 and ViT.
pub const TRANSFORMER_STD: f32 = 0.02;

/// The most blocks of one layer in a file: many times those of the deepest networks.
const MOST_BLOCKS: usize = 1000;

/// The parts of a packed projection, in their order.
pub const PROJECTIONS: [&str; 3] = ["q", "k", "v"];

/// What the parameters of a block are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockNames {
    /// The norm before attention.
    pub attention_norm: &'static str,
    /// Queries, keys and values, packed.
    pub packed: &'static str,
    /// What attention ends with.
    pub projection: &'static str,
    /// The norm before the perceptron.
    pub mlp_norm: &'static str,
    /// The perceptron's first layer.
    pub widen: &'static str,
    /// Its second.
    pub narrow: &'static str,
}

/// The names in GPT-2's files.
pub const GPT_NAMES: BlockNames = BlockNames {
    attention_norm: "ln_1",
    packed: "attn.c_attn",
    projection: "attn.c_proj",
    mlp_norm: "ln_2",
    widen: "mlp.c_fc",
    narrow: "mlp.c_proj",
};

/// The names in timm's files.
pub const VIT_NAMES: BlockNames = BlockNames {
    attention_norm: "norm1",
    packed: "attn.qkv",
    projection: "attn.proj",
    mlp_norm: "norm2",
    widen: "mlp.fc1",
    narrow: "mlp.fc2",
};

/// What the perceptron of a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MlpKind {
    /// An activation between two linear layers.
    Plain(Activation),
    /// SwiGLU: the first layer gives twice the hidden features, of which one half gates the other (Shazeer, 2020).
    SwiGlu,
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockOptions {
    /// Heads of its attention.
    pub heads: usize,
    /// Features between the perceptron's layers.
    pub hidden: usize,
    /// Whether a position attends only to itself and those before it.
    pub causal: bool,
    /// Whether linear layers and norms have biases.
    pub bias: bool,
    /// Chance of a zero, in attention's weights and in what each half adds.
    pub dropout: f32,
    /// The perceptron.
    pub mlp: MlpKind,
    /// The norms.
    pub norm: NormKind,
    /// Added to their variance.
    pub eps: f32,
    /// What the parameters are called.
    pub names: BlockNames,
}

impl BlockOptions {
    /// GPT-2's: causal, with biases and layer norms, four times its features between the perceptron's layers, without dropout.
    #[must_use]
    pub fn gpt(heads: usize, features: usize) -> Self {
        Self {
            heads,
            hidden: features.saturating_mul(4),
            causal: true,
            bias: true,
            dropout: 0.0,
            mlp: MlpKind::Plain(Activation::Gelu),
            norm: NormKind::Layer,
            eps: super::norm::EPS,
            names: GPT_NAMES,
        }
    }

    /// A norm of the block's kind.
    #[must_use]
    pub fn norm(&self) -> NormOptions {
        NormOptions { kind: self.norm, eps: self.eps, bias: self.bias }
    }
}

impl Graph {
    /// Adds a block on a sequence; its parameters are called `name.` and what `options.names` says. Weights start as N(0, 0.02),
    /// biases at 0. Its packed tensor is known by its parts q, k, v.
    ///
    /// # Errors
    /// As of the layers that it is made of: heads that do not divide the features, a name taken.
    pub fn transformer_block(
        &mut self,
        input: ValueId,
        name: &str,
        options: &BlockOptions,
    ) -> Result<ValueId, GraphError> {
        let first = self.params().len();
        self.begin_block(name);
        let output = self.attention_half(input, name, options).and_then(|value| self.mlp_half(value, name, options));
        self.end_block();
        let output = output?;
        self.start_as_transformer(first)?;
        Ok(output)
    }

    /// x + attention(norm(x))
    fn attention_half(&mut self, input: ValueId, name: &str, options: &BlockOptions) -> Result<ValueId, GraphError> {
        let (names, features) = (options.names, self.shape(input).channels());
        let normed = self.norm_with(input, &format!("{name}.{}", names.attention_norm), options.norm())?;
        let packed = format!("{name}.{}", names.packed);
        let layer = LinearOptions { features: 3 * features, bias: options.bias };
        let mut value = self.linear_with(normed, &packed, layer)?;
        self.set_projections(&format!("{packed}.weight"), &PROJECTIONS)?;
        if options.bias {
            self.set_projections(&format!("{packed}.bias"), &PROJECTIONS)?;
        }
        let BlockOptions { heads, causal, dropout, .. } = *options;
        value = self.attention(value, AttentionOptions { heads, causal, dropout })?;
        let layer = LinearOptions { features, bias: options.bias };
        value = self.linear_with(value, &format!("{name}.{}", names.projection), layer)?;
        self.add_dropped(value, input, dropout)
    }

    /// x + mlp(norm(x))
    fn mlp_half(&mut self, input: ValueId, name: &str, options: &BlockOptions) -> Result<ValueId, GraphError> {
        let (names, features) = (options.names, self.shape(input).channels());
        let normed = self.norm_with(input, &format!("{name}.{}", names.mlp_norm), options.norm())?;
        let (widen, bias) = (format!("{name}.{}", names.widen), options.bias);
        let mut value = match options.mlp {
            MlpKind::Plain(activation) => {
                let value = self.linear_with(normed, &widen, LinearOptions { features: options.hidden, bias })?;
                self.activate(value, activation)?
            }
            MlpKind::SwiGlu => {
                let value = self.linear_with(
                    normed,
                    &widen,
                    LinearOptions { features: options.hidden.saturating_mul(2), bias },
                )?;
                self.swiglu(value)?
            }
        };
        value = self.linear_with(value, &format!("{name}.{}", names.narrow), LinearOptions { features, bias })?;
        self.add_dropped(value, input, options.dropout)
    }

    fn add_dropped(&mut self, value: ValueId, shortcut: ValueId, probability: f32) -> Result<ValueId, GraphError> {
        let value = if probability > 0.0 { self.dropout(value, probability)? } else { value };
        self.add(value, shortcut)
    }

    /// Lets the parameters from number `first` on start as those of GPT-2: weights N(0, 0.02), biases 0.
    ///
    /// # Errors
    /// None for parameters that there are.
    pub fn start_as_transformer(&mut self, first: usize) -> Result<(), GraphError> {
        let starts: Vec<(String, ParamInit)> = self.params()[first..]
            .iter()
            .filter_map(|param| match param.role {
                ParamRole::Weight => Some((param.name.clone(), ParamInit::Normal { std: TRANSFORMER_STD })),
                ParamRole::Bias => Some((param.name.clone(), ParamInit::Constant(0.0))),
                ParamRole::Scale => None,
            })
            .collect();
        starts.into_iter().try_for_each(|(name, init)| self.set_init(&name, init))
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "transformer-block",
    stem: Some("h"),
    add: |site, table| {
        let keys: BlockKeys = keys(table)?;
        let features = site.graph.shape(site.input).channels();
        let options = keys.options(features)?;
        if keys.repeat == 1 {
            return Ok(site.graph.transformer_block(site.input, site.name, &options)?);
        }
        if !(1..=MOST_BLOCKS).contains(&keys.repeat) {
            return Err(LayerError::Keys(format!("repeat: expected from 1 to {MOST_BLOCKS}, found {}", keys.repeat)));
        }
        let mut names = (0..keys.repeat).map(|number| format!("{}.{number}", site.name));
        names.try_fold(site.input, |value, name| Ok(site.graph.transformer_block(value, &name, &options)?))
    },
}];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BlockKeys {
    heads: usize,
    /// Features of the perceptron, 4 times those of the sequence if left out.
    hidden: Option<usize>,
    #[serde(default)]
    causal: bool,
    #[serde(default = "yes")]
    bias: bool,
    #[serde(default)]
    dropout: f32,
    /// An activation, or `swiglu`.
    #[serde(default = "gelu")]
    mlp: String,
    #[serde(default)]
    norm: NormKind,
    #[serde(default = "eps")]
    eps: f32,
    #[serde(default = "one")]
    repeat: usize,
}

fn gelu() -> String {
    Activation::Gelu.to_string()
}

const fn eps() -> f32 {
    super::norm::EPS
}

impl BlockKeys {
    fn options(&self, features: usize) -> Result<BlockOptions, LayerError> {
        let mlp = match self.mlp.as_str() {
            "swiglu" => MlpKind::SwiGlu,
            activation => {
                let parsed =
                    activation.parse().map_err(|error| LayerError::Keys(format!("mlp: {error}, or swiglu")))?;
                MlpKind::Plain(parsed)
            }
        };
        let BlockKeys { heads, causal, bias, dropout, norm, eps, .. } = *self;
        let usual = BlockOptions::gpt(heads, features);
        let hidden = self.hidden.unwrap_or(usual.hidden);
        Ok(BlockOptions { hidden, causal, bias, dropout, mlp, norm, eps, ..usual })
    }
}
