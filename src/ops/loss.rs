//! The losses: negative log likelihood of a softmax, and mean squared error.

use std::sync::Arc;

use crate::{
    gpu::{Dispatch, GpuError, Launch, Recorder},
    graph::{BatchInfo, Binding, Call, Kernel, LaunchContext, LossFunction, Record, Tangent},
    kernels::{
        AdapterClass, LossBuffers, LossKernel, LossTangent, MseTargets, loss_tangent, loss_tangent_launch, mse,
        mse_launch, softmax_nll, softmax_nll_launch,
    },
    names::named,
};

named!("loss",
    /// The loss that training minimises.
    #[derive(Default)]
    Loss {
        /// Negative log likelihood of a softmax: `torch.nn.CrossEntropyLoss`.
        #[default]
        Nll = "nll",
        /// Mean squared error against the one-hot label.
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

    fn kernel(&self, [batch, width]: [usize; 2], scaled: bool) -> Arc<dyn Kernel> {
        Arc::new(LossOfBatch { loss: *self, batch, width, scaled })
    }
}

/// A loss with its gradient; operands as [`LossFunction`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LossOfBatch {
    loss: Loss,
    batch: usize,
    width: usize,
    /// Whether the gradient is multiplied by the loss scale.
    scaled: bool,
}

impl Kernel for LossOfBatch {
    fn kind(&self) -> &'static str {
        "loss"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.batch)
    }

    fn tangent(&self) -> Tangent<'_> {
        let loss = match self.loss {
            Loss::Nll => LossTangent::Nll,
            Loss::Mse => LossTangent::Mse,
        };
        Tangent::Loss(Arc::new(LossCurvature { loss, batch: self.batch, width: self.width }))
    }

    /// Largest, difference, exponential, sum, division, the label's difference, scale.
    fn flops(&self, call: &Call) -> u64 {
        7 * call.len(0) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let (target, shape) = (&context.target, [self.batch, self.width]);
        Ok(vec![match self.loss {
            Loss::Nll => softmax_nll_launch(target, shape, self.scaled)?,
            Loss::Mse => mse_launch(target, shape, true, self.scaled)?,
        }])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let buffers = LossBuffers {
            logits: binding.view(0)?,
            grad_logits: binding.view(1)?,
            row_stats: binding.view(2)?,
            labels: binding.view(3)?,
            indices: binding.view(4)?,
            scaling: if self.scaled { Some(binding.view(5)?) } else { None },
        };
        if binding.data.classes > self.width {
            let shape = format!("{} classes for {} outputs", binding.data.classes, self.width);
            return Err(GpuError::Shape { kernel: "loss", shape, reason: "a label may have no output" });
        }
        let (class, shape) = (AdapterClass::for_device(binding.gpu), [self.batch, self.width]);
        Ok(Box::new(match self.loss {
            Loss::Nll => softmax_nll(binding.gpu, class, &buffers, shape)?,
            Loss::Mse => mse(binding.gpu, class, &buffers, &MseTargets::OneHot, shape)?,
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
/// result, all [batch, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LossCurvature {
    loss: LossTangent,
    batch: usize,
    width: usize,
}

impl Kernel for LossCurvature {
    fn kind(&self) -> &'static str {
        "loss tangent"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.batch)
    }

    /// Made by tangents alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        4 * call.len(2) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![loss_tangent_launch(&context.target, self.loss, [self.batch, self.width])?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (gpu, views) = (binding.gpu, [binding.view(0)?, binding.view(1)?, binding.view(2)?]);
        Ok(Box::new(loss_tangent(gpu, AdapterClass::for_device(gpu), self.loss, views, [self.batch, self.width])?))
    }
}
