//! Batch norm over the channels of images or the features of rows.
//!
//! ```text
//! output = activation((input - mean) / sqrt(variance + eps) weight + bias [+ residual])
//! ```
//!
//! by the batch's statistics in training, which update the running ones, else by the running ones.
//!
//! Source: Ioffe & Szegedy, "Batch normalization", ICML 2015.

use std::sync::Arc;

use crate::{
    gpu::{GpuError, Launch, WORD_BYTES, Work},
    graph::{
        Access, Backward, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, Operand,
        ParamId, ParamSpec, PlanMode, Record, Saved, StatId, StatSpec, Tangent, ValueId, ValueShape,
    },
    kernels::{
        self, Activation, BatchNormAdds, BatchNormGradient, BatchNormGradientViews, BatchNormShape, BatchNormViews,
        NormShape, batch_norm_variant, channel_normalise,
    },
};

use super::{
    activation::activation_kinks,
    affine::{push_affine, push_affine_gradient},
    flatten::Unflatten,
    norm::{EPS, norm_params, norm_shape},
};

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
        let stats = [RUNNING_MEAN, RUNNING_VARIANCE].map(|place| pass.stat(place, Access::Read));
        let operands = [pass.input(0), stats[0], stats[1], xhat];
        let kernel = ChannelNormalise { shape, centre: true };
        pass.push(&format!("{} normalise", pass.name()), Arc::new(kernel), operands);
        push_affine(pass, shape, xhat);
        Ok(Saved::slots(xhat.slot().into_iter().collect::<Vec<_>>()))
    }

    fn fixed_backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let shape = self.fixed_shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let xhat = pass.saved(0)?;
        let grad = push_affine_gradient(pass, shape, xhat);
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
        Ok(norm_params(vec![inputs.first().channels()]))
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
        let access = if by_batch { Access::Add } else { Access::Read };
        let stats = [RUNNING_MEAN, RUNNING_VARIANCE].map(|place| pass.stat(place, access));
        let operands = [pass.input(0), pass.param(WEIGHT), pass.param(BIAS), stats[0], stats[1], table, pass.output()];
        let operands: Vec<_> = operands.into_iter().chain(residual).chain(partials).collect();
        pass.push(&format!("{} forward", pass.name()), Arc::new(kernel), operands);
        Ok(Saved::slots(table.slot().into_iter().collect::<Vec<_>>()))
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
        let kernel = BatchNormBackward { shape, activation: self.activation, residual: residual.is_some() };
        let saved = (self.activation != Activation::Identity).then(|| pass.output());
        let operands = [pass.gradient(), pass.input(0), table, partials, coefficients, params[0], params[1], input];
        let operands: Vec<_> = operands.into_iter().chain(residual).chain(saved).collect();
        pass.push(&format!("{} backward", pass.name()), Arc::new(kernel), operands);
        Ok(())
    }
}

/// A batch norm; operands: input, weight, bias, running mean, running variance, table, output, then the residual where there
/// is one, then where the batch's statistics count the sums of its chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormForward {
    /// Samples, pixels, channels.
    pub shape: BatchNormShape,
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
    /// Whether a second input is added before the activation.
    pub residual: bool,
    /// Whether the batch's statistics count, and update the running ones.
    pub by_batch: bool,
}

impl BatchNormForward {
    const TABLE: usize = 5;
    const OUTPUT: usize = 6;
    const RESIDUAL: usize = 7;

    fn partials_place(&self) -> usize {
        Self::RESIDUAL + usize::from(self.residual)
    }
}

fn bytes<'a>(operands: impl IntoIterator<Item = Option<&'a Operand>>) -> u64 {
    let words = |operand: &Operand| operand.element.words(operand.len) as u64;
    operands.into_iter().flatten().map(words).sum::<u64>() * WORD_BYTES
}

impl Kernel for BatchNormForward {
    fn kind(&self) -> &'static str {
        "batch norm"
    }

    fn sizes(&self) -> String {
        self.shape.to_string()
    }

    /// Schedules that are differentiated have it taken apart.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        self.work(call).iter().map(|work| work.flops).sum()
    }

    /// Sums of chunks where the batch's statistics count, their combination, and the sweep that normalises.
    fn work(&self, call: &Call) -> Vec<Work> {
        let (elements, at) = (call.len(0) as u64, |place| call.operand(place));
        let partials = if self.by_batch { at(self.partials_place()) } else { None };
        let residual = if self.residual { at(Self::RESIDUAL) } else { None };
        let partial_words = partials.map_or(0, |partials| partials.len as u64);
        // Difference from a first row, its sum, its square, their sum.
        let moments = partials.map(|_| Work { flops: 4 * elements, bytes: bytes([at(0), partials]) });
        let finish = Work { flops: 4 * partial_words, bytes: bytes([partials, at(Self::TABLE)]) };
        let active = u64::from(self.activation != Activation::Identity);
        let apply = Work {
            flops: (3 + u64::from(self.residual) + active) * elements,
            bytes: bytes([at(0), at(Self::TABLE), at(Self::OUTPUT), residual]),
        };
        moments.into_iter().chain([finish, apply]).collect()
    }

    fn launches(&self, _call: &Call, context: &LaunchContext<'_>) -> Result<Vec<Launch>, GpuError> {
        let variant = self.by_batch.then(|| context.target.class.batch_norm_variant());
        Ok(self.shape.forward_launches(context.target, variant, self.activation, self.residual)?.into_vec())
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let partials = if self.by_batch { Some(binding.view(self.partials_place())?) } else { None };
        let views = BatchNormViews {
            x: binding.view(0)?,
            residual: if self.residual { Some(binding.view(Self::RESIDUAL)?) } else { None },
            weight: binding.view(1)?,
            bias: binding.view(2)?,
            running_mean: binding.view(3)?,
            running_var: binding.view(4)?,
            partials,
            table: binding.view(Self::TABLE)?,
            y: binding.view(Self::OUTPUT)?,
        };
        let variant = batch_norm_variant(binding.gpu);
        let norm = kernels::BatchNorm::new(binding.gpu, variant, self.shape, &views, self.activation, self.eps)?;
        Ok(Box::new(norm))
    }
}

/// The backward of a batch norm by the batch's statistics; operands: gradient of the output, input, table, partial sums,
/// coefficients, gradients of weight, bias and input, then that of the residual where there is one, then the output where an
/// activation was applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormBackward {
    /// Samples, pixels, channels.
    pub shape: BatchNormShape,
    /// Undone first.
    pub activation: Activation,
    /// Whether the residual's gradient is made too.
    pub residual: bool,
}

impl BatchNormBackward {
    const PARTIALS: usize = 3;
    const COEFFICIENTS: usize = 4;
    const GRAD_WEIGHT: usize = 5;
    const GRAD_BIAS: usize = 6;
    /// Place of the input's gradient.
    pub const GRAD_INPUT: usize = 7;
    /// Place of the residual's gradient, where there is one.
    pub const GRAD_RESIDUAL: usize = 8;

    fn activates(&self) -> bool {
        self.activation != Activation::Identity
    }

    fn saved_place(&self) -> usize {
        Self::GRAD_RESIDUAL + usize::from(self.residual)
    }

    fn residual_adds(&self, call: &Call) -> Option<bool> {
        self.residual.then(|| call.adds(Self::GRAD_RESIDUAL))
    }
}

impl Kernel for BatchNormBackward {
    fn kind(&self) -> &'static str {
        "batch norm gradient"
    }

    fn sizes(&self) -> String {
        self.shape.to_string()
    }

    /// As of [`BatchNormForward`].
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        self.work(call).iter().map(|work| work.flops).sum()
    }

    fn work(&self, call: &Call) -> Vec<Work> {
        let (elements, at) = (call.len(1) as u64, |place| call.operand(place));
        let active = 2 * u64::from(self.activates());
        let saved = if self.activates() { at(self.saved_place()) } else { None };
        let read = bytes([at(0), at(1), at(2), saved]);
        let partials = at(Self::PARTIALS);
        let moments = Work { flops: (4 + active) * elements, bytes: read + bytes([partials]) };
        let finish = Work {
            flops: 4 * partials.map_or(0, |partials| partials.len as u64),
            bytes: bytes([partials, at(2), at(Self::COEFFICIENTS)]),
        };
        // A gradient that is added to is read as well.
        let residual = if self.residual { at(Self::GRAD_RESIDUAL) } else { None };
        let results = [at(Self::GRAD_INPUT), residual];
        let again = results.map(|result| result.filter(|result| result.adds()));
        let added = again.iter().flatten().count() as u64;
        let apply = Work {
            flops: (5 + active + added) * elements,
            bytes: read + bytes([at(Self::COEFFICIENTS)]) + bytes(results) + bytes(again),
        };
        vec![moments, finish, apply]
    }

    fn launches(&self, call: &Call, context: &LaunchContext<'_>) -> Result<Vec<Launch>, GpuError> {
        let adds = BatchNormAdds {
            input: call.adds(Self::GRAD_INPUT),
            residual: self.residual_adds(call),
            params: call.adds(Self::GRAD_WEIGHT),
        };
        let variant = context.target.class.batch_norm_variant();
        Ok(self.shape.gradient_launches(context.target, variant, self.activation, adds)?.into())
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let residual = if self.residual { Some(binding.view(Self::GRAD_RESIDUAL)?) } else { None };
        let views = BatchNormGradientViews {
            grad: binding.view(0)?,
            saved: if self.activates() { Some(binding.view(self.saved_place())?) } else { None },
            x: binding.view(1)?,
            table: binding.view(2)?,
            partials: binding.view(Self::PARTIALS)?,
            coefficients: binding.view(Self::COEFFICIENTS)?,
            grad_weight: binding.view(Self::GRAD_WEIGHT)?,
            grad_bias: binding.view(Self::GRAD_BIAS)?,
            grad_x: (binding.view(Self::GRAD_INPUT)?, call.adds(Self::GRAD_INPUT)),
            grad_residual: residual.zip(self.residual_adds(call)),
        };
        let (variant, accumulate) = (batch_norm_variant(binding.gpu), call.adds(Self::GRAD_WEIGHT));
        let norm = BatchNormGradient::new(binding.gpu, variant, self.shape, &views, self.activation, accumulate)?;
        Ok(Box::new(norm))
    }
}

/// (input - mean) / standard deviation by running statistics; operands: input, running mean, running variance, output.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ChannelNormalise {
    shape: NormShape,
    /// Whether the mean is taken off: not in derivatives.
    centre: bool,
}

impl Kernel for ChannelNormalise {
    fn kind(&self) -> &'static str {
        "normalise"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.shape.batch())
    }

    /// A fixed scale and shift, of which derivatives have the scale.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| {
            let mut derivative = call.clone();
            derivative.kernel = Arc::new(Self { centre: false, ..*self });
            pass.linear(name, &derivative, &[0])
        }))
    }

    fn flops(&self, call: &Call) -> u64 {
        2 * call.len(3) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext<'_>) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.shape.channel_normalise_launch(context.target, self.centre, call.adds(3))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(0)?, binding.view(3)?];
        let stats = [binding.view(1)?, binding.view(2)?];
        Ok(Box::new(channel_normalise(binding.gpu, &self.shape, views, stats, self.centre, call.adds(3))?))
    }
}

impl Graph {
    /// Adds a batch norm `name` over the channels of images or the features of rows.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken.
    pub fn batch_norm(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        if !self.shape(input).stride().is_multiple_of(4) {
            // The kernels read whole vec4s of channels, which rows of such a width do not line up with.
            let image = self.add_op(Arc::new(Unflatten), "", &[input])?;
            let normalised = self.batch_norm(image, name)?;
            return self.flatten(normalised);
        }
        self.add_op(Arc::new(BatchNorm { eps: EPS, activation: Activation::Identity }), name, &[input])
    }
}
