//! Group norm and layer norm: norms over groups of channels of each sample.
//!
//! ```text
//! xhat = (input - mean of the group) / sqrt(variance of the group + eps),   output = xhat weight + bias
//! ```
//!
//! Sources: Wu & He, "Group normalization", ECCV 2018; Ba, Kiros, Hinton, "Layer normalization", 2016.

mod kernels;
mod shape;

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    gpu::{GpuError, Launch},
    graph::{
        Backward, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, OperandAccess, ParamId,
        ParamInit, ParamRole, ParamSpec, Record, Saved, StatId, Tangent, Tangents, ValueId, ValueShape,
    },
    kernels::AdapterClass,
};

use super::{
    affine::{push_affine, push_affine_gradient},
    layer::{LayerKind, NoKeys, keys},
};

pub(super) use kernels::SPECS;
pub use kernels::{NormCurvatureViews, group_normalise, group_normalise_curvature, group_normalise_gradient};
pub use shape::NormShape;

/// Batch norm's and the other norms' default in PyTorch.
pub(super) const EPS: f32 = 1e-5;

/// A group norm or layer norm; parameters: weight and bias, `[channels]` or the shape of a sample, in a sequence of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Groups of channels.
    pub groups: usize,
    /// Whether every element of a sample, in a sequence of each vector, has a weight of its own.
    pub per_pixel: bool,
    /// Added to the variance.
    pub eps: f32,
}

impl Norm {
    fn shape(&self, batch: usize, value: ValueShape) -> Result<NormShape, GpuError> {
        norm_shape(batch, value, self.groups, self.per_pixel, self.eps)
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

/// A norm's weight and bias of this shape.
pub(super) fn norm_params(shape: Vec<usize>) -> Vec<ParamSpec> {
    let weight =
        ParamSpec { suffix: "weight", shape: shape.clone(), role: ParamRole::Scale, init: ParamInit::Constant(1.0) };
    vec![weight, ParamSpec { suffix: "bias", shape, role: ParamRole::Bias, init: ParamInit::Constant(0.0) }]
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        if self.per_pixel { "layer norm" } else { "group norm" }
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let numbers: Vec<_> = params.iter().map(|ParamId(number)| number.to_string()).collect();
        let Self { groups, per_pixel, eps } = self;
        format!("norm weight {} groups {groups} per-pixel {per_pixel} eps {eps}", numbers.join(" bias "))
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let shape = inputs.first();
        if self.groups == 0 || !shape.channels().is_multiple_of(self.groups) {
            return Err(inputs.refusal(format!("{} groups do not divide it", self.groups)));
        }
        Ok(shape)
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(norm_params(match inputs.first() {
            ValueShape::Image { channels, height, width } if self.per_pixel => vec![channels, height, width],
            value => vec![value.channels()],
        }))
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let shape = self.shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let xhat = pass.activation("normalised", pass.input_shape(0).words());
        let inv_std = pass.words("inverse deviations", shape.group_count());
        let operands = [pass.input(0), xhat, inv_std];
        pass.push(&format!("{} normalise", pass.name()), Arc::new(GroupNormalise(shape)), operands);
        push_affine(pass, shape, xhat);
        Ok(Saved::tensors([xhat, inv_std]))
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let shape = self.shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let (xhat, inv_std) = (pass.saved(0)?, pass.saved(1)?);
        let grad = push_affine_gradient(pass, shape, xhat);
        if let Some(result) = pass.input_gradient(0) {
            pass.push("normalise backward", Arc::new(GroupNormaliseGradient(shape)), [grad, xhat, inv_std, result]);
        }
        Ok(())
    }
}

/// Each group of a sample to zero mean and unit variance; operands: input, xhat, 1 / standard deviation of each group.
#[derive(Clone, Copy, Debug, PartialEq)]
struct GroupNormalise(NormShape);

impl GroupNormalise {
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [Some(input), Some(xhat), Some(inv_std)] = [0, 1, 2].map(|place| call.operand(place).copied()) else {
            return Err(GraphError::no_derivative(name));
        };
        // The gradient's own tangent takes the input's.
        pass.note(xhat.tensor, input);
        if let Some(tangent) = pass.tangent(input.tensor) {
            let result = pass.fresh_target(&xhat).next_term();
            let operands = [tangent, xhat.read(), inv_std.read(), result];
            pass.push(name, Arc::new(GroupNormaliseGradient(self.0)), operands);
        }
        Ok(())
    }
}

impl Kernel for GroupNormalise {
    fn kind(&self) -> &'static str {
        "group norm"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    /// Sum, mean's difference, square, sum of squares, scale.
    fn flops(&self, call: &Call) -> u64 {
        5 * call.len(1) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.group_normalise_launch(&context.target)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (class, views) = (AdapterClass::for_device(binding.gpu), [binding.view(0)?, binding.view(1)?]);
        Ok(Box::new(group_normalise(binding.gpu, class, &self.0, views, binding.view(2)?)?))
    }
}

/// The derivative of [`GroupNormalise`] applied to a gradient; operands: grad, xhat, inv_std, output.
#[derive(Clone, Copy, Debug, PartialEq)]
struct GroupNormaliseGradient(NormShape);

impl GroupNormaliseGradient {
    /// The derivative P(g): P(g') and, where the norm's input has a tangent, P'(g).
    fn differentiate(self, pass: &mut dyn Tangents, name: &str, call: &Call) -> Result<(), GraphError> {
        let [Some(grad), Some(xhat), Some(inv_std), Some(output)] =
            [0, 1, 2, 3].map(|place| call.operand(place).copied())
        else {
            return Err(GraphError::no_derivative(name));
        };
        let input = pass.noted(xhat.tensor).and_then(|input| pass.tangent(input.tensor));
        let curved = input.zip(pass.tangent(xhat.tensor));
        let grad_tangent = pass.tangent(grad.tensor);
        if grad_tangent.is_none() && curved.is_none() {
            return Ok(());
        }
        let mut target = pass.target(&output);
        if let Some(tangent) = grad_tangent {
            pass.push(name, Arc::new(self), [tangent, xhat, inv_std, target.next_term()]);
        }
        if let Some((input_tangent, xhat_tangent)) = curved {
            let result = target.next_term();
            debug_assert!(result.adds(), "the gradient has a tangent wherever the norm's input has one");
            let operands = [grad, xhat, input_tangent, xhat_tangent, inv_std, result];
            pass.push(name, Arc::new(GroupNormaliseCurvature(self.0)), operands);
        }
        Ok(())
    }
}

impl Kernel for GroupNormaliseGradient {
    fn kind(&self) -> &'static str {
        "group norm gradient"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| self.differentiate(pass, name, call)))
    }

    /// Two sums, one of them of products, then grad - mean - xhat * slope, scaled.
    fn flops(&self, call: &Call) -> u64 {
        7 * call.len(3) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.group_normalise_gradient_launch(&context.target, call.adds(3))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (class, views) =
            (AdapterClass::for_device(binding.gpu), [binding.view(0)?, binding.view(1)?, binding.view(3)?]);
        Ok(Box::new(group_normalise_gradient(binding.gpu, class, &self.0, views, binding.view(2)?, call.adds(3))?))
    }
}

/// The tangent of [`GroupNormaliseGradient`] at a fixed gradient, added to the output; operands: grad, xhat, tangent of the
/// input, tangent of xhat, inv_std, output.
#[derive(Clone, Copy, Debug, PartialEq)]
struct GroupNormaliseCurvature(NormShape);

impl Kernel for GroupNormaliseCurvature {
    fn kind(&self) -> &'static str {
        "group norm curvature"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.0.batch())
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        14 * call.len(5) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.group_normalise_curvature_launch(&context.target)?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        debug_assert_eq!(call.operand(5).map(|output| output.access), Some(OperandAccess::Add));
        let views = NormCurvatureViews {
            grad: binding.view(0)?,
            xhat: binding.view(1)?,
            x_tangent: binding.view(2)?,
            xhat_tangent: binding.view(3)?,
            inv_std: binding.view(4)?,
            output: binding.view(5)?,
        };
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(group_normalise_curvature(binding.gpu, class, &self.0, &views)?))
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
            let NoKeys {} = keys(table)?;
            Ok(site.graph.layer_norm(site.input, site.name)?)
        },
    },
];

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
        self.add_op(Arc::new(Norm { groups, per_pixel: false, eps: EPS }), name, &[input])
    }

    /// Adds a layer norm `name` over all of a sample, whose every element has its weight and bias; in a sequence over each vector.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken.
    pub fn layer_norm(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Norm { groups: 1, per_pixel: true, eps: EPS }), name, &[input])
    }
}
