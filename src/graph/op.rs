//! What an operation has to say of itself: the one interface that graphs know operations by.

use std::{any::Any, fmt, sync::Arc};

use crate::kernels::{Activation, AdapterClass};

use super::{Backward, Forward, GraphError, ParamId, Saved, StatId, ValueId, ValueShape};

/// What a parameter is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamRole {
    /// A weight proper.
    Weight,
    /// A bias.
    Bias,
    /// The scale of a norm.
    Scale,
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParamInit {
    /// Uniform in +-1/sqrt(fan_in), where fan_in is the inputs of each output.
    Uniform {
        /// Inputs of each output.
        fan_in: usize,
    },
    /// Normal of mean 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// One value throughout.
    Constant(f32),
}

/// A parameter tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// PyTorch's name, `fc1.weight`.
    pub name: String,
    /// PyTorch's layout: weight [out_features, in_features] or [out, in / groups, height, width], bias `[out]`.
    pub shape: Vec<usize>,
    /// Number of the module it belongs to.
    pub module: usize,
    /// Number of the block that it belongs to, if it does: a transformer block, or another part that is repeated.
    pub block: Option<usize>,
    /// Names of the projections that it packs, in order, each of as many rows as the others; empty where it packs none.
    pub projections: Vec<&'static str>,
    /// Weight, bias or scale.
    pub role: ParamRole,
    /// How it starts.
    pub init: ParamInit,
}

/// A tensor of running statistics, `[channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stat {
    /// PyTorch's name, `bn1.running_mean`.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Its value at the start.
    pub initial: f32,
}

/// A parameter that an operation brings.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// What follows the operation's name, `weight` of `fc1.weight`; where it is empty, the parameter has that name alone.
    pub suffix: &'static str,
    /// PyTorch's layout.
    pub shape: Vec<usize>,
    /// Weight, bias or scale.
    pub role: ParamRole,
    /// How it starts.
    pub init: ParamInit,
}

/// A tensor of running statistics that an operation brings, `[channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatSpec {
    /// What follows the operation's name, `running_mean` of `bn1.running_mean`.
    pub suffix: &'static str,
    /// Channels.
    pub channels: usize,
    /// Its value at the start.
    pub initial: f32,
}

/// What an operation is given.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What is being added, for messages: `conv conv1`.
    pub operation: &'a str,
    /// Shape of each input.
    pub shapes: &'a [ValueShape],
}

impl Inputs<'_> {
    /// The first input's shape.
    #[must_use]
    pub fn first(&self) -> ValueShape {
        self.shapes.first().copied().unwrap_or(ValueShape::Features(0))
    }

    /// Height, width and channels of the first input.
    ///
    /// # Errors
    /// [`GraphError::Shape`] where it is no image.
    pub fn image(&self) -> Result<[usize; 3], GraphError> {
        self.first().image().ok_or_else(|| self.refusal("it needs an image"))
    }

    /// Features of the first input.
    ///
    /// # Errors
    /// [`GraphError::Shape`] where it is no row of features.
    pub fn features(&self) -> Result<usize, GraphError> {
        match self.first() {
            ValueShape::Features(features) => Ok(features),
            ValueShape::Image { .. } | ValueShape::Sequence { .. } => Err(self.refusal("flatten it first")),
            ValueShape::Tokens { .. } => Err(self.refusal("embed it first")),
        }
    }

    /// Features of each row of the first input, and the shape with so many others in their place: a row of features, or a vector
    /// of a sequence.
    ///
    /// # Errors
    /// [`GraphError::Shape`] where it is an image or tokens.
    pub fn rows(&self, out_features: usize) -> Result<(usize, ValueShape), GraphError> {
        match self.first() {
            ValueShape::Sequence { length, features } => {
                Ok((features, ValueShape::Sequence { length, features: out_features }))
            }
            _ => Ok((self.features()?, ValueShape::Features(out_features))),
        }
    }

    /// That the first input cannot be taken.
    #[must_use]
    pub fn refusal(&self, reason: impl Into<String>) -> GraphError {
        let (operation, input) = (self.operation.to_owned(), self.first().to_string());
        GraphError::Shape { operation, input, reason: reason.into() }
    }
}

/// What an operation may become part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Nothing.
    None,
    /// As an activation, of the operation before it, where that takes activations.
    Activation(Activation),
    /// As a sum of two values, of the operation that makes one of them.
    Sum,
}

/// An operation: shapes, parameters, forward and backward; its tangents are those of the kernels that it calls.
///
/// ```text
/// output = f(inputs; parameters)
/// ```
pub trait Op: Any + fmt::Debug + Send + Sync {
    /// Its name, such as `conv`.
    fn name(&self) -> &'static str;

    /// The operation with its settings and the numbers of its parameters as text, which stays the same from version to
    /// version: what a checkpoint's hash of its model is taken over.
    fn canonical_text(&self, params: &[ParamId], stats: &[StatId]) -> String;

    /// Shape of the output.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for inputs that it cannot take.
    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError>;

    /// Whether its input may be [`ValueShape::Tokens`], whose memory holds no numbers: others are refused before they are asked.
    fn takes_tokens(&self) -> bool {
        false
    }

    /// The place, among its parameters, of the matrix that its input is multiplied by, a row for each output: for optimizers that take
    /// hidden matrices apart. Of a convolution the rows are its filters.
    fn matrix(&self) -> Option<usize> {
        None
    }

    /// Its parameters, in the order that noise and checkpoints know them by.
    ///
    /// # Errors
    /// [`GraphError::TooLarge`] for sizes whose product overflows.
    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError>;

    /// Its running statistics.
    fn stats(&self, _inputs: &Inputs<'_>) -> Vec<StatSpec> {
        Vec::new()
    }

    /// What in it has kinks, where the second derivative does not exist; `None` for a smooth operation.
    fn kinks(&self) -> Option<&'static str>;

    /// Whether it draws masks in training, and so has a number among the graph's operations that do, by which they differ.
    fn draws_masks(&self) -> bool {
        false
    }

    /// Pushes the calls of the forward pass.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a batch that is too large.
    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError>;

    /// Pushes the calls of the backward pass: from the output's gradient those of the inputs and parameters.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a batch that is too large.
    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError>;

    /// The operation in the form that suits adapters of a class, where it has several: with the same results but for roundings.
    fn suited(&self, _class: AdapterClass) -> Option<Arc<dyn Op>> {
        None
    }

    /// The operation in the form that takes the place of one which a device is found to compute wrong, where the form is one that a
    /// table has chosen.
    fn ordinary(&self) -> Option<Arc<dyn Op>> {
        None
    }

    /// What it may become part of.
    fn fusion(&self) -> Fusion {
        Fusion::None
    }

    /// The operation with this activation after it, where it can take one along; `differentiated` says that the schedule takes
    /// derivatives along a direction, for which an operation may have to keep activations apart.
    fn with_activation(&self, _activation: Activation, _differentiated: bool) -> Option<Arc<dyn Op>> {
        None
    }

    /// The operation that adds a second input to its result, where it can; not asked for in schedules that are differentiated.
    fn with_residual(&self) -> Option<Arc<dyn Op>> {
        None
    }
}

/// An operation at its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub op: Arc<dyn Op>,
    /// From what.
    pub inputs: Vec<ValueId>,
    /// Into what.
    pub output: ValueId,
    /// By which parameters.
    pub params: Vec<ParamId>,
    /// By which running statistics.
    pub stats: Vec<StatId>,
}

impl Node {
    /// The operation, where it is of this type.
    #[must_use]
    pub fn op_as<O: Op>(&self) -> Option<&O> {
        let op: &dyn Any = &*self.op;
        op.downcast_ref()
    }

    /// The operation with its settings as text.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        self.op.canonical_text(&self.params, &self.stats)
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.inputs == other.inputs && self.output == other.output && self.canonical_text() == other.canonical_text()
    }
}
