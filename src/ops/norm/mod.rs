//! Group norm, layer norm and RMS norm: norms over groups of channels of each sample.
//!
//! ```text
//! xhat = (input - mean of the group) / sqrt(variance of the group + eps),   output = xhat weight + bias
//! xhat = input / sqrt(mean of the squares + eps)                            of an RMS norm
//! ```
//!
//! Sources: Wu & He, "Group normalization", ECCV 2018; Ba, Kiros, Hinton, "Layer normalization", 2016; Zhang &
//! Sennrich, "Root mean square layer normalization", NeurIPS 2019.

mod calls;
mod kernels;
mod shape;

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    gpu::GpuError,
    graph::{
        Backward, Forward, Graph, GraphError, Inputs, Op, ParamId, ParamInit, ParamRole, ParamSpec, Saved, StatId,
        ValueId, ValueShape,
    },
    names::named,
};

use super::{
    affine::{BIAS, WEIGHT, push_affine_gradient},
    layer::{LayerKind, keys, yes},
};

use calls::{GroupNormalise, GroupNormaliseGradient};
pub(super) use kernels::SPECS;
pub use kernels::{
    NormAffine, NormCurvatureViews, group_normalise, group_normalise_curvature, group_normalise_gradient,
};
pub use shape::NormShape;

/// Batch norm's and the other norms' default in PyTorch.
pub(super) const EPS: f32 = 1e-5;

named!("norm",
    /// What a norm divides by.
    #[derive(Default)]
    NormKind {
        /// The standard deviation, the mean taken off before: layer norm, and group norm.
        #[default]
        Layer = "layer",
        /// The root of the mean square: RMS norm.
        Rms = "rms",
    }
);

/// What a norm over all of a sample, in a sequence over each vector, is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOptions {
    /// What it divides by.
    pub kind: NormKind,
    /// Added to the variance, or to the mean square.
    pub eps: f32,
    /// Whether it adds a bias after its weight.
    pub bias: bool,
}

impl NormOptions {
    /// PyTorch's `LayerNorm`: with a bias.
    pub const LAYER: Self = Self { kind: NormKind::Layer, eps: EPS, bias: true };

    /// An RMS norm, which has no bias.
    pub const RMS: Self = Self { kind: NormKind::Rms, eps: EPS, bias: false };
}

/// A group norm, layer norm or RMS norm; parameters: weight and, if asked for, bias, `[channels]` or the shape of a sample, in a
/// sequence of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Groups of channels.
    pub groups: usize,
    /// Whether every element of a sample, in a sequence of each vector, has a weight of its own.
    pub per_pixel: bool,
    /// Added to the variance.
    pub eps: f32,
    /// What it divides by.
    pub kind: NormKind,
    /// Whether it adds one.
    pub bias: bool,
}

impl Norm {
    fn shape(&self, batch: usize, value: ValueShape) -> Result<NormShape, GpuError> {
        let shape = norm_shape(batch, value, self.groups, self.per_pixel, self.eps)?;
        Ok(if self.kind == NormKind::Rms { shape.about_zero() } else { shape })
    }
}

/// How a norm sees a value: a norm with weights of each element's own takes every vector of a sequence for a sample, as
/// `torch.nn.LayerNorm(features)` does.
pub(super) fn norm_shape(
    batch: usize,
    value: ValueShape,
    groups: usize,
    per_pixel: bool,
    eps: f32,
) -> Result<NormShape, GpuError> {
    let (samples, pixels) = match value {
        ValueShape::Sequence { length, .. } if per_pixel => (batch * length, 1),
        _ => (batch, value.pixels()),
    };
    NormShape::new([samples, pixels, value.channels(), value.stride()], groups, per_pixel, eps)
}

/// A norm's weight and, if asked for, bias of this shape.
pub(super) fn norm_params(shape: Vec<usize>, bias: bool) -> Vec<ParamSpec> {
    let weight =
        ParamSpec { suffix: "weight", shape: shape.clone(), role: ParamRole::Scale, init: ParamInit::Constant(1.0) };
    let shift = ParamSpec { suffix: "bias", shape, role: ParamRole::Bias, init: ParamInit::Constant(0.0) };
    [weight].into_iter().chain(bias.then_some(shift)).collect()
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        match self.kind {
            NormKind::Rms => "RMS norm",
            NormKind::Layer if self.per_pixel => "layer norm",
            NormKind::Layer => "group norm",
        }
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let number = |place: usize| params.get(place).map_or("none".to_owned(), |ParamId(number)| number.to_string());
        let Self { groups, per_pixel, eps, kind, bias: _ } = self;
        let kind = if *kind == NormKind::Rms { " by root mean square" } else { "" };
        let (weight, bias) = (number(0), number(1));
        format!("norm weight {weight} bias {bias} groups {groups} per-pixel {per_pixel} eps {eps}{kind}")
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let shape = inputs.first();
        if self.groups == 0 || !shape.channels().is_multiple_of(self.groups) {
            return Err(inputs.refusal(format!("{} groups do not divide it", self.groups)));
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return Err(inputs.refusal(format!("eps {} is no positive number", self.eps)));
        }
        Ok(shape)
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        let shape = match inputs.first() {
            ValueShape::Image { channels, height, width } if self.per_pixel => vec![channels, height, width],
            value => vec![value.channels()],
        };
        Ok(norm_params(shape, self.bias))
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let shape = self.shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let xhat = pass.activation("normalised", pass.input_shape(0).words());
        let inv_std = pass.words("inverse deviations", shape.group_count());
        let bias = self.bias.then(|| pass.param(BIAS));
        let operands = [pass.input(0), xhat, inv_std, pass.param(WEIGHT), pass.output()].into_iter().chain(bias);
        let operands: Vec<_> = operands.collect();
        pass.push(&format!("{} normalise", pass.name()), Arc::new(GroupNormalise(shape)), operands);
        Ok(Saved::tensors([xhat, inv_std]))
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let shape = self.shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let (xhat, inv_std) = (pass.saved(0)?, pass.saved(1)?);
        let grad = push_affine_gradient(pass, shape, xhat, self.bias);
        if let Some(result) = pass.input_gradient(0) {
            pass.push("normalise backward", Arc::new(GroupNormaliseGradient(shape)), [grad, xhat, inv_std, result]);
        }
        Ok(())
    }
}

/// The layers in files.
pub(super) const LAYERS: &[LayerKind] = &[
    LayerKind {
        name: "group-norm",
        stem: Some("gn"),
        add: |site, table| {
            let GroupNormKeys { groups } = keys(table)?;
            Ok(site.graph.group_norm(site.input, site.name, groups)?)
        },
    },
    LayerKind {
        name: "layer-norm",
        stem: Some("ln"),
        add: |site, table| {
            let LayerNormKeys { eps, bias } = keys(table)?;
            Ok(site.graph.norm_with(site.input, site.name, NormOptions { kind: NormKind::Layer, eps, bias })?)
        },
    },
    LayerKind {
        name: "rms-norm",
        stem: Some("rms"),
        add: |site, table| {
            let RmsNormKeys { eps, bias } = keys(table)?;
            Ok(site.graph.norm_with(site.input, site.name, NormOptions { kind: NormKind::Rms, eps, bias })?)
        },
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerNormKeys {
    #[serde(default = "default_eps")]
    eps: f32,
    #[serde(default = "yes")]
    bias: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RmsNormKeys {
    #[serde(default = "default_eps")]
    eps: f32,
    #[serde(default)]
    bias: bool,
}

const fn default_eps() -> f32 {
    EPS
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupNormKeys {
    groups: usize,
}

impl Graph {
    /// Adds a group norm `name` over `groups` groups of channels of each sample.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken, [`GraphError::Shape`] if the groups do not divide the channels.
    pub fn group_norm(&mut self, input: ValueId, name: &str, groups: usize) -> Result<ValueId, GraphError> {
        let NormOptions { kind, eps, bias } = NormOptions::LAYER;
        self.add_op(Arc::new(Norm { groups, per_pixel: false, eps, kind, bias }), name, &[input])
    }

    /// Adds a layer norm `name` over all of a sample, whose every element has its weight and bias; in a sequence over each vector.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken.
    pub fn layer_norm(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        self.norm_with(input, name, NormOptions::LAYER)
    }

    /// Adds a norm `name` over all of a sample, in a sequence over each vector, with `name.weight` and, if asked for, `name.bias` for
    /// every element of it.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken, [`GraphError::Shape`] for an `eps` that is not above 0.
    pub fn norm_with(
        &mut self,
        input: ValueId,
        name: &str,
        NormOptions { kind, eps, bias }: NormOptions,
    ) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Norm { groups: 1, per_pixel: true, eps, kind, bias }), name, &[input])
    }
}
