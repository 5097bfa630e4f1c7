//! Batch norm over the channels of images or the features of rows.
//!
//! ```text
//! output = activation((input - mean) / sqrt(variance + eps) weight + bias [+ residual])
//! ```
//!
//! by the batch's statistics in training, which update the running ones, else by the running ones.
//!
//! Source: Ioffe & Szegedy, "Batch normalization", ICML 2015.

mod calls;
mod channel_normalise;
mod forward;
mod gradient;
mod launches;
mod shape;
mod specs;

use std::sync::Arc;

use crate::{
    gpu::{GpuError, KernelSpec},
    graph::{
        Backward, Forward, Graph, GraphError, Inputs, Op, OperandAccess, ParamId, ParamSpec, PlanMode, Saved, StatId,
        StatSpec, ValueId, ValueShape,
    },
    kernels::Activation,
};

use super::{
    activation::activation_kinks,
    affine::{push_affine, push_affine_gradient},
    flatten::Unflatten,
    layer::{LayerKind, NoKeys, keys},
    norm::{EPS, NormShape, norm_params, norm_shape},
};

use channel_normalise::{CHANNEL_NORMALISE, ChannelNormalise};
use specs::{
    BATCH_NORM_APPLY, BATCH_NORM_FINISH, BATCH_NORM_FINISH_APPLY, BATCH_NORM_FINISH_GRADIENT, BATCH_NORM_GRADIENT,
    BATCH_NORM_GRADIENT_FINISH, BATCH_NORM_GRADIENT_MOMENTS, BATCH_NORM_MOMENTS,
};

pub use calls::{BatchNormBackward, BatchNormForward};
pub use channel_normalise::channel_normalise;
pub use forward::{BatchNormDispatches, BatchNormViews};
pub use gradient::{BatchNormGradientDispatches, BatchNormGradientViews};
pub use launches::{BatchNormAdds, BatchNormLaunches, Undone};
pub use shape::{BatchNormGeometry, BatchNormShape, BatchNormVariant};

/// Its kernels.
pub(super) const SPECS: &[&KernelSpec] = &[
    &BATCH_NORM_APPLY,
    &BATCH_NORM_FINISH,
    &BATCH_NORM_FINISH_APPLY,
    &BATCH_NORM_FINISH_GRADIENT,
    &BATCH_NORM_GRADIENT,
    &BATCH_NORM_GRADIENT_FINISH,
    &BATCH_NORM_GRADIENT_MOMENTS,
    &BATCH_NORM_MOMENTS,
    &CHANNEL_NORMALISE,
];

/// A batch norm; parameters: weight and bias `[channels]`; statistics: running mean and variance `[channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
}

const WEIGHT: usize = 0;
const BIAS: usize = 1;
const RUNNING_MEAN: usize = 0;
const RUNNING_VARIANCE: usize = 1;

impl BatchNorm {
    fn shape(batch: usize, value: ValueShape) -> BatchNormShape {
        BatchNormShape { batch, pixels: value.pixels(), channels: value.channels() }
    }

    /// By running statistics it is a fixed map of each channel.
    fn fixed_shape(&self, batch: usize, value: ValueShape) -> Result<NormShape, GpuError> {
        norm_shape(batch, value, 1, false, self.eps)
    }

    /// Taken apart, so that each part has a tangent.
    fn fixed_forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let shape = self.fixed_shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let xhat = pass.activation("normalised", pass.input_shape(0).words());
        let stats = [RUNNING_MEAN, RUNNING_VARIANCE].map(|place| pass.stat(place, OperandAccess::Read));
        let operands = [pass.input(0), stats[0], stats[1], xhat];
        let kernel = ChannelNormalise { shape, centre: true };
        pass.push(&format!("{} normalise", pass.name()), Arc::new(kernel), operands);
        push_affine(pass, shape, xhat, true);
        Ok(Saved::tensors([xhat]))
    }

    fn fixed_backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let shape = self.fixed_shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let xhat = pass.saved(0)?;
        let grad = push_affine_gradient(pass, shape, xhat, true);
        if let Some(result) = pass.input_gradient(0) {
            let operands = [grad, pass.stat(RUNNING_MEAN), pass.stat(RUNNING_VARIANCE), result];
            pass.push("normalise backward", Arc::new(ChannelNormalise { shape, centre: false }), operands);
        }
        Ok(())
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn canonical_text(&self, params: &[ParamId], stats: &[StatId]) -> String {
        let params: Vec<_> = params.iter().map(|ParamId(number)| number.to_string()).collect();
        let stats: Vec<_> = stats.iter().map(|StatId(number)| number.to_string()).collect();
        let (params, stats, Self { eps, activation }) = (params.join(" bias "), stats.join(" "), self);
        format!("batch-norm weight {params} running {stats} eps {eps} activation {activation}")
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let shape = inputs.first();
        if !shape.stride().is_multiple_of(4) {
            return Err(inputs.refusal("rows of a width that 4 does not divide have to be images of one pixel"));
        }
        Ok(shape)
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(norm_params(vec![inputs.first().channels()], true))
    }

    fn stats(&self, inputs: &Inputs<'_>) -> Vec<StatSpec> {
        let channels = inputs.first().channels();
        vec![
            StatSpec { suffix: "running_mean", channels, initial: 0.0 },
            StatSpec { suffix: "running_var", channels, initial: 1.0 },
        ]
    }

    fn kinks(&self) -> Option<&'static str> {
        activation_kinks(self.activation)
    }

    /// Its backward has only the output to go by; taken apart for derivatives, it keeps activations apart.
    fn with_activation(&self, activation: Activation, differentiated: bool) -> Option<Arc<dyn Op>> {
        let takes = self.activation == Activation::Identity && !activation.saves_input() && !differentiated;
        takes.then(|| Arc::new(Self { activation, ..*self }) as Arc<dyn Op>)
    }

    fn with_residual(&self) -> Option<Arc<dyn Op>> {
        (self.activation == Activation::Identity).then(|| Arc::new(*self) as Arc<dyn Op>)
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        if pass.mode().has_tangents() {
            return self.fixed_forward(pass);
        }
        let shape = Self::shape(pass.batch(), pass.input_shape(0));
        let by_batch = pass.mode() != PlanMode::Evaluate;
        let partials = by_batch.then(|| pass.words("partial sums", shape.partial_words()));
        let table = pass.words("batch norm table", shape.table_words());
        let residual = (pass.inputs() > 1).then(|| pass.input(1));
        let kernel = BatchNormForward {
            shape,
            eps: self.eps,
            activation: self.activation,
            residual: residual.is_some(),
            by_batch,
        };
        // The running statistics move by the batch's.
        let access = if by_batch { OperandAccess::Add } else { OperandAccess::Read };
        let stats = [RUNNING_MEAN, RUNNING_VARIANCE].map(|place| pass.stat(place, access));
        let operands = [pass.input(0), pass.param(WEIGHT), pass.param(BIAS), stats[0], stats[1], table, pass.output()];
        let operands: Vec<_> = operands.into_iter().chain(residual).chain(partials).collect();
        pass.push(&format!("{} forward", pass.name()), Arc::new(kernel), operands);
        Ok(Saved::tensors([table]))
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        if pass.mode().has_tangents() {
            return self.fixed_backward(pass);
        }
        let shape = Self::shape(pass.batch(), pass.input_shape(0));
        let table = pass.saved(0)?;
        let partials = pass.words("partial sums", shape.partial_words());
        let coefficients = pass.words("coefficients", shape.coefficient_words());
        let params = [WEIGHT, BIAS].map(|place| pass.param_gradient(place));
        let residual = if pass.inputs() > 1 { pass.input_gradient(1) } else { None };
        // Nothing trains before the model's input, but the parameters' gradients come with this pass.
        let words = pass.input_shape(0).words();
        let input = pass.input_gradient(0).unwrap_or_else(|| pass.activation("gradient", words));
        let undone = Undone::new(self.activation, pass.inputs() > 1);
        let kernel = BatchNormBackward { shape, undone, residual: residual.is_some() };
        let saved = undone.by_output.then(|| pass.output());
        let operands = [pass.gradient(), pass.input(0), table, partials, coefficients, params[0], params[1], input];
        let operands: Vec<_> = operands.into_iter().chain(residual).chain(saved).collect();
        pass.push(&format!("{} backward", pass.name()), Arc::new(kernel), operands);
        Ok(())
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "batch-norm",
    stem: Some("bn"),
    add: |site, table| {
        let NoKeys {} = keys(table)?;
        Ok(site.graph.batch_norm(site.input, site.name)?)
    },
}];

impl Graph {
    /// Adds a batch norm `name` over the channels of images, the features of rows, or those of a sequence's vectors.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken, [`GraphError::Shape`] for tokens, and for a sequence of vectors that are no whole
    /// vec4s.
    pub fn batch_norm(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        if matches!(self.shape(input), ValueShape::Features(features) if !features.is_multiple_of(4)) {
            // The kernels read whole vec4s of channels, which rows of such a width do not line up with.
            let image = self.add_op(Arc::new(Unflatten), "", &[input])?;
            let normalised = self.batch_norm(image, name)?;
            return self.flatten(normalised);
        }
        self.add_op(Arc::new(BatchNorm { eps: EPS, activation: Activation::Identity }), name, &[input])
    }
}
