//! The losses: negative log likelihood of a softmax, and mean squared error.

mod cut;
mod mse;
mod part;
mod softmax_nll;
mod tangent;

use std::sync::Arc;

use crate::{
    gpu::{Dispatch, GpuError, KernelSpec, Launch, Recorder},
    graph::{
        BatchInfo, Binding, Call, Cut, GradientInPlace, Kernel, LaunchContext, LossFunction, OutputShape, Record,
        Tangent, TargetKind,
    },
    kernels::AdapterClass,
    names::named,
};

pub use mse::{MseTargets, mse, mse_launch};
pub use part::{ClassPart, PartBuffers, PartKernel, nll_part, nll_part_gradient};
pub use softmax_nll::{LossBuffers, LossGradient, LossKernel, softmax_nll, softmax_nll_launch};
pub use tangent::{LossTangent, loss_tangent, loss_tangent_launch};

pub(super) const SPECS: &[&KernelSpec] =
    &[&softmax_nll::SOFTMAX_NLL, &mse::MSE, &tangent::LOSS_TANGENT, &part::NLL_PART, &part::NLL_PART_GRADIENT];

named!("loss",
    /// The loss that training minimises.
    #[derive(Default)]
    Loss {
        /// Negative log likelihood of a softmax: `torch.nn.CrossEntropyLoss`.
        #[default]
        Nll = "nll",
        /// Mean squared error against the one-hot label, or against vectors.
        Mse = "mse",
    }
);

impl From<Loss> for Arc<dyn LossFunction> {
    fn from(loss: Loss) -> Self {
        Arc::new(loss)
    }
}

impl LossFunction for Loss {
    fn name(&self) -> &'static str {
        (*self).name()
    }

    fn outputs_are_logits(&self) -> bool {
        *self == Self::Nll
    }

    fn kernel(&self, outputs: OutputShape, scaled: bool) -> Arc<dyn Kernel> {
        Arc::new(LossOfBatch { loss: *self, outputs, scaled, in_place: None })
    }

    fn kernel_in_place(
        &self,
        outputs: OutputShape,
        scaled: bool,
        gradient: GradientInPlace,
    ) -> Option<Arc<dyn Kernel>> {
        let scaled = scaled && gradient != GradientInPlace::LeftOut;
        let kernel = LossOfBatch { loss: *self, outputs, scaled, in_place: Some(gradient) };
        (*self == Self::Nll).then(|| Arc::new(kernel) as Arc<dyn Kernel>)
    }
}

/// A loss with its gradient; operands as [`LossFunction`] says, without the gradient where that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LossOfBatch {
    loss: Loss,
    outputs: OutputShape,
    /// Whether the gradient is multiplied by the loss scale.
    scaled: bool,
    /// Where the gradient goes, unless it has a tensor of its own.
    in_place: Option<GradientInPlace>,
}

const OUTPUTS: usize = 0;
const GRADIENT: usize = 1;

impl LossOfBatch {
    /// Where the operands after the gradient begin: row statistics, targets, indices, scaling.
    fn rest(&self) -> usize {
        if self.in_place == Some(GradientInPlace::LeftOut) { GRADIENT } else { GRADIENT + 1 }
    }

    /// What the outputs are compared with.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for targets that the loss does not take, or others than there are outputs for.
    fn targets(&self, kind: TargetKind) -> Result<MseTargets, GpuError> {
        let OutputShape { positions, width, .. } = self.outputs;
        let refused = |what: String, reason| Err(GpuError::Shape { kernel: "loss", shape: what, reason });
        let (labels, count) = match kind {
            TargetKind::Classes(classes) => (1, classes),
            TargetKind::Tokens { length, vocabulary } | TargetKind::Next { length, vocabulary } => (length, vocabulary),
            TargetKind::Vectors(numbers) => {
                let what = format!("{numbers} numbers a sample for {positions} x {width} outputs");
                return match self.loss {
                    Loss::Mse if numbers == positions * width => Ok(MseTargets::Given),
                    Loss::Mse => refused(what, "there is not a number for each output"),
                    Loss::Nll => refused(what, "the likelihood is that of classes; take loss mse"),
                };
            }
        };
        if labels != positions {
            return refused(format!("{labels} labels for {positions} rows of outputs"), "each row needs a label");
        }
        if count > width {
            return refused(format!("{count} classes for {width} outputs"), "a label may have no output");
        }
        Ok(MseTargets::OneHot)
    }
}

impl Kernel for LossOfBatch {
    fn kind(&self) -> &'static str {
        "loss"
    }

    fn sizes(&self) -> String {
        self.outputs.to_string()
    }

    fn tangent(&self) -> Tangent<'_> {
        let loss = match self.loss {
            Loss::Nll => LossTangent::Nll,
            Loss::Mse => LossTangent::Mse,
        };
        Tangent::Loss(Arc::new(LossCurvature { loss, outputs: self.outputs }))
    }

    /// Largest, difference, exponential, sum, division, the label's difference, scale.
    fn flops(&self, call: &Call) -> u64 {
        7 * call.len(OUTPUTS) as u64
    }

    fn cut(&self, call: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        self.by_parts(call, cut)
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let (target, shape) = (&context.target, self.outputs.sides());
        Ok(vec![match self.loss {
            Loss::Nll => softmax_nll_launch(target, shape, self.scaled, self.in_place)?,
            Loss::Mse => mse_launch(target, shape, MseTargets::OneHot, self.scaled)?,
        }])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let rest = self.rest();
        let buffers = LossBuffers {
            logits: binding.view(OUTPUTS)?,
            gradient: match self.in_place {
                Some(in_place) => LossGradient::InPlace(in_place),
                None => LossGradient::Apart(binding.view(GRADIENT)?),
            },
            row_stats: binding.view(rest)?,
            labels: binding.view(rest + 1)?,
            indices: binding.view(rest + 2)?,
            windows: binding.data.target_kind.is_of_windows(),
            scaling: if self.scaled { Some(binding.view(rest + 3)?) } else { None },
        };
        let targets = self.targets(binding.data.target_kind)?;
        let (class, shape) = (AdapterClass::for_device(binding.gpu), self.outputs.sides());
        Ok(Box::new(match self.loss {
            Loss::Nll => softmax_nll(binding.gpu, class, &buffers, shape)?,
            Loss::Mse => mse(binding.gpu, class, &buffers, targets, shape)?,
        }))
    }
}

impl Record for LossKernel {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.first, batch.valid, batch.terms);
    }
}

/// The tangent of the loss' gradient, its own Hessian times the tangent of the outputs; operands: outputs, their tangent,
/// result, all of the outputs' shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LossCurvature {
    loss: LossTangent,
    outputs: OutputShape,
}

impl Kernel for LossCurvature {
    fn kind(&self) -> &'static str {
        "loss tangent"
    }

    fn sizes(&self) -> String {
        self.outputs.to_string()
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        4 * call.len(2) as u64
    }

    fn cut(&self, call: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        self.by_parts(call, cut)
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![loss_tangent_launch(&context.target, self.loss, self.outputs.sides())?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (gpu, views) = (binding.gpu, [binding.view(0)?, binding.view(1)?, binding.view(2)?]);
        Ok(Box::new(loss_tangent(gpu, AdapterClass::for_device(gpu), self.loss, views, self.outputs.sides())?))
    }
}
