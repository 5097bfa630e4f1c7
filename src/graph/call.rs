//! The dispatches of a schedule, before any device is involved, and the tensors between them.

use crate::{
    gpu::Element,
    kernels::{
        Activation, BatchNormShape, ConvPass, ConvShape, Elementwise, Epilogue, MatmulLayout, NormShape, Pool,
        PoolShape,
    },
};

use super::{ParamId, StatId, op::BatchNormOp};

/// A tensor in the activation arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub(super) usize);

/// What is known of a tensor in the activation arena.
#[derive(Clone, Debug)]
pub struct Slot {
    /// For people.
    pub name: String,
    /// Elements.
    pub len: usize,
    /// How they are stored.
    pub element: Element,
}

impl Slot {
    /// Size in words.
    #[must_use]
    pub fn words(&self) -> usize {
        self.element.words(self.len)
    }
}

/// Any tensor that a call can read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// In the activation arena.
    Slot(SlotId),
    /// In `weights_eff`.
    Weight(ParamId),
    /// In `grads`.
    Grad(ParamId),
    /// In the direction that a product with the Hessian takes.
    Direction(ParamId),
    /// In the product with the Hessian.
    Product(ParamId),
}

impl Tensor {
    pub(super) fn slot(self) -> Option<SlotId> {
        if let Self::Slot(slot) = self { Some(slot) } else { None }
    }
}

/// A matrix product to be.
#[derive(Clone, Copy, Debug)]
pub struct MatmulCall {
    /// How the operands lie.
    pub layout: MatmulLayout,
    /// m, n, k.
    pub shape: [usize; 3],
    /// What happens to the sums.
    pub epilogue: Epilogue,
    /// Whether they add to what is there.
    pub accumulate: bool,
    /// Left operand.
    pub a: Tensor,
    /// Right operand.
    pub b: Tensor,
    /// Bias or what forward saved.
    pub aux: Option<Tensor>,
    /// Result.
    pub c: Tensor,
    /// Pre-activation kept for backward.
    pub pre: Option<SlotId>,
}

/// A pass of a convolution to be.
#[derive(Clone, Copy, Debug)]
pub struct ConvCall {
    /// Which product.
    pub pass: ConvPass,
    /// Every size.
    pub shape: ConvShape,
    /// What happens to the sums.
    pub epilogue: Epilogue,
    /// Whether they add to what is there.
    pub accumulate: bool,
    /// Input, or gradient of the output.
    pub a: Tensor,
    /// Weights ([`ConvShape::reads_packed`] or as they are), or input for the weight gradient.
    pub b: Tensor,
    /// Bias or what forward saved.
    pub aux: Option<Tensor>,
    /// Result.
    pub c: Tensor,
    /// Pre-activation kept for backward.
    pub pre: Option<SlotId>,
}

impl From<ConvCall> for Call {
    /// A 1 x 1 convolution that is a matrix product of images and weights as they lie becomes that.
    fn from(call: ConvCall) -> Self {
        let Some((layout, shape)) = call.shape.as_matmul(call.pass) else { return Self::Conv(call) };
        let ConvCall { epilogue, accumulate, a, b, aux, c, pre, .. } = call;
        Self::Matmul(MatmulCall { layout, shape, epilogue, accumulate, a, b, aux, c, pre })
    }
}

/// A batch norm to be: with `partials` by the batch's statistics.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormCall {
    /// Samples, pixels, channels.
    pub shape: BatchNormShape,
    /// Parameters and activation.
    pub op: BatchNormOp,
    /// Input.
    pub x: SlotId,
    /// Added before the activation.
    pub residual: Option<SlotId>,
    /// Sums of chunks.
    pub partials: Option<SlotId>,
    /// What normalises each channel; backward wants it.
    pub table: SlotId,
    /// Result.
    pub y: SlotId,
}

/// The backward of a batch norm to be.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormGradientCall {
    /// What forward did.
    pub forward: BatchNormCall,
    /// Gradient of y.
    pub grad: SlotId,
    /// Sums of chunks.
    pub partials: SlotId,
    /// What makes the gradient of each channel.
    pub coefficients: SlotId,
    /// Gradient of x, and whether it adds to what is there.
    pub grad_x: (SlotId, bool),
    /// Gradient of the residual, and whether it adds to what is there.
    pub grad_residual: Option<(SlotId, bool)>,
    /// Whether the parameters' gradients add to what is there.
    pub accumulate: bool,
}

impl BatchNormGradientCall {
    /// What the activation's derivative takes: the output, if there is an activation.
    pub(super) fn saved(&self) -> Option<SlotId> {
        (self.forward.op.activation != Activation::Identity).then_some(self.forward.y)
    }
}

/// A pool to be, in either direction.
#[derive(Clone, Copy, Debug)]
pub struct PoolCall {
    /// Kind and windows.
    pub pool: Pool,
    /// Every size.
    pub shape: PoolShape,
    /// What is read: the input, or the gradient of the output.
    pub input: SlotId,
    /// What is written.
    pub output: SlotId,
    /// Where a max pool found its values.
    pub chosen: Option<SlotId>,
    /// Whether the result adds to what is there.
    pub accumulate: bool,
}

/// An affine map by channel or element to be, or its gradients.
#[derive(Clone, Copy, Debug)]
pub struct AffineCall {
    /// How the value lies.
    pub shape: NormShape,
    /// Input; for gradients the gradient of the output.
    pub input: SlotId,
    /// Output; for gradients the input.
    pub other: SlotId,
    /// Scale, or its gradient.
    pub scale: Tensor,
    /// Shift, or its gradient.
    pub shift: Option<Tensor>,
    /// Whether the result adds to what is there.
    pub accumulate: bool,
}

/// One dispatch to be (or the few of a batch norm).
#[derive(Clone, Debug)]
pub enum Call {
    /// The batch from the data set.
    Gather {
        /// The model's input.
        output: SlotId,
    },
    /// A matrix product.
    Matmul(MatmulCall),
    /// A convolution's weights as its products read them.
    Pack {
        /// [out, in, height, width]
        weight: Tensor,
        /// Packed.
        output: SlotId,
        /// Every size.
        shape: ConvShape,
    },
    /// A pass of a convolution.
    Conv(ConvCall),
    /// A batch norm.
    BatchNorm(BatchNormCall),
    /// Its backward.
    BatchNormGradient(BatchNormGradientCall),
    /// (input - mean) / standard deviation by running statistics.
    ChannelNormalise {
        /// How the value lies.
        shape: NormShape,
        /// Running mean and variance.
        running: [StatId; 2],
        /// Input.
        input: SlotId,
        /// Output.
        output: SlotId,
        /// Whether the mean is taken off: not in derivatives.
        centre: bool,
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// Each group of a sample to zero mean and unit variance.
    GroupNormalise {
        /// How the value lies.
        shape: NormShape,
        /// Input.
        input: SlotId,
        /// Output.
        xhat: SlotId,
        /// 1 / standard deviation of each group.
        inv_std: SlotId,
    },
    /// The derivative of that, applied to `grad`.
    GroupNormaliseGradient {
        /// How the value lies.
        shape: NormShape,
        /// What it is applied to.
        grad: SlotId,
        /// What forward made.
        xhat: SlotId,
        /// What forward kept.
        inv_std: SlotId,
        /// Result.
        output: SlotId,
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// The tangent of that derivative at a fixed `grad`, added to `output`.
    GroupNormaliseCurvature {
        /// How the value lies.
        shape: NormShape,
        /// grad, xhat, tangent of x, tangent of xhat, output.
        values: [SlotId; 5],
        /// What forward kept.
        inv_std: SlotId,
    },
    /// A scale and a shift.
    Affine(AffineCall),
    /// Their gradients.
    AffineGradient(AffineCall),
    /// A pool.
    Pool(PoolCall),
    /// What a max pool chose, of another tensor.
    PoolSelect(PoolCall),
    /// A pool's backward, with the derivative of an activation by what it saved of the pool's input.
    PoolGradient {
        /// Sizes and operands.
        call: PoolCall,
        /// The activation before the pool.
        saved: Option<(Activation, SlotId)>,
    },
    /// Images to rows, or back.
    Flatten {
        /// Input.
        input: SlotId,
        /// Output.
        output: SlotId,
        /// batch, pixels, channels.
        shape: [usize; 3],
        /// Rows to images.
        back: bool,
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// Random zeros, the same forward and backward.
    Dropout {
        /// Input.
        input: SlotId,
        /// Output.
        output: SlotId,
        /// Number of the dropout.
        layer: usize,
        /// Chance of a zero.
        probability: f32,
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// An elementwise step.
    Elementwise {
        /// Which.
        operation: Elementwise,
        /// First operand.
        left: SlotId,
        /// Second operand, where there is one.
        right: Option<SlotId>,
        /// Result.
        output: SlotId,
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// The gradient of a bias.
    ColumnSum {
        /// [rows, columns]
        input: SlotId,
        /// `[columns]`
        output: Tensor,
        /// rows, columns, words from one row to the next.
        shape: [usize; 3],
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// Loss, correct answers and the gradient of the mean loss.
    Loss {
        /// [batch, classes]
        logits: SlotId,
        /// [batch, classes]
        grad_logits: SlotId,
        /// [batch, 2]
        row_stats: SlotId,
    },
    /// The tangent of the loss' gradient: the loss' own Hessian times the tangent of the outputs.
    LossTangent {
        /// [batch, classes]
        logits: SlotId,
        /// [batch, classes]
        tangent: SlotId,
        /// [batch, classes]
        output: SlotId,
    },
    /// The batch's sums into the metrics ring.
    Metrics {
        /// [batch, 2]
        row_stats: SlotId,
    },
}

/// A call with a name for people.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Such as `fc1 forward`.
    pub name: String,
    /// The call.
    pub call: Call,
}
