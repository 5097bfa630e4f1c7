//! A schedule bound on a device: made once, recorded every step.

use crate::{
    gpu::{Buffer, Dispatch, Gpu, GpuError, Recorder, View},
    kernels::{
        Arena, Gather, LossBuffers, LossKernel, LossTangent, MatmulOperands, MatmulShape, MetricsSum, MseTargets,
        column_sum, elementwise, loss_tangent, matmul, matmul_variant, mse, softmax_nll,
    },
};

use super::{
    memory::Placement,
    schedule::{Call, Loss, MatmulCall, Schedule, SlotId, Tensor},
};

/// A data set on the device.
#[derive(Clone, Debug)]
pub struct DataViews {
    /// [samples * features] bytes, four to a word
    pub pixels: View,
    /// [samples], class indices
    pub labels: View,
    /// [positions], the order in which batches take samples
    pub indices: View,
    /// input = byte * scale + shift
    pub scale: f32,
    /// See `scale`.
    pub shift: f32,
}

/// What changes from batch to batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchInfo {
    /// First position in the order of the epoch.
    pub first: u32,
    /// Samples in this batch; rows beyond count for nothing.
    pub valid: u32,
    /// Slot of the metrics ring.
    pub slot: u32,
}

/// What a product with the Hessian reads and writes, laid out as the weights.
#[derive(Clone, Debug)]
pub struct TangentArenas {
    /// The direction.
    pub direction: Buffer,
    /// The product.
    pub product: Buffer,
}

#[derive(Debug)]
enum Stage {
    Fixed(Dispatch),
    Gather(Gather),
    Loss(LossKernel),
    Metrics(MetricsSum),
}

/// Every dispatch of a batch, bound and ready.
#[derive(Debug)]
pub struct Plan {
    stages: Vec<Stage>,
    output: View,
}

struct Binder<'a> {
    gpu: &'a Gpu,
    schedule: &'a Schedule,
    placement: Placement,
    activations: Buffer,
    arena: &'a Arena,
    tangents: Option<&'a TangentArenas>,
}

impl Binder<'_> {
    fn slot(&self, SlotId(slot): SlotId) -> Result<View, GpuError> {
        self.activations.part(self.placement.offsets[slot], self.schedule.slots[slot].words)
    }

    fn tensor(&self, tensor: Tensor) -> Result<View, GpuError> {
        match tensor {
            Tensor::Slot(slot) => self.slot(slot),
            Tensor::Weight(param) => self.arena.tensor(&self.arena.weights_eff, param.0),
            Tensor::Grad(param) => self.arena.tensor(&self.arena.grads, param.0),
            Tensor::Direction(param) => self.arena.tensor(&self.tangents()?.direction, param.0),
            Tensor::Product(param) => self.arena.tensor(&self.tangents()?.product, param.0),
        }
    }

    fn tangents(&self) -> Result<&TangentArenas, GpuError> {
        let missing = GpuError::Length { kernel: "plan", argument: "tangent arenas", expected: 2, found: 0 };
        self.tangents.ok_or(missing)
    }

    fn stage(&self, call: &Call, data: &DataViews, metrics: &View, loss: Loss) -> Result<Stage, GpuError> {
        let (gpu, schedule) = (self.gpu, self.schedule);
        let batch = schedule.batch;
        Ok(match call {
            Call::Gather { output } => {
                let views = [&data.pixels, &data.indices, &self.slot(*output)?];
                Stage::Gather(Gather::new(gpu, views, [batch, schedule.features], [data.scale, data.shift])?)
            }
            Call::Matmul(call) => Stage::Fixed(self.matmul(call)?),
            Call::Elementwise { operation, left, right, output, accumulate } => {
                let unused = gpu.unused(0)?;
                let right = right.map(|slot| self.slot(slot)).transpose()?.unwrap_or(unused);
                let views = [&self.slot(*left)?, &right, &self.slot(*output)?];
                Stage::Fixed(elementwise(gpu, *operation, views, *accumulate)?)
            }
            Call::ColumnSum { input, output, shape, accumulate } => {
                let output = self.tensor(*output)?;
                Stage::Fixed(column_sum(gpu, &self.slot(*input)?, &output, *shape, *accumulate)?)
            }
            Call::LossTangent { logits, tangent, output } => {
                let views = [&self.slot(*logits)?, &self.slot(*tangent)?, &self.slot(*output)?];
                let of = if loss == Loss::Nll { LossTangent::Nll } else { LossTangent::Mse };
                Stage::Loss(loss_tangent(gpu, of, views, [batch, schedule.classes])?)
            }
            Call::Loss { logits, grad_logits, row_stats } => {
                let buffers = LossBuffers {
                    logits: &self.slot(*logits)?,
                    labels: &data.labels,
                    indices: &data.indices,
                    grad_logits: &self.slot(*grad_logits)?,
                    row_stats: &self.slot(*row_stats)?,
                };
                let shape = [batch, schedule.classes];
                Stage::Loss(match loss {
                    Loss::Nll => softmax_nll(gpu, &buffers, shape)?,
                    Loss::Mse => mse(gpu, &buffers, &MseTargets::OneHot, shape)?,
                })
            }
            Call::Metrics { row_stats } => {
                Stage::Metrics(MetricsSum::new(gpu, &self.slot(*row_stats)?, metrics, batch)?)
            }
        })
    }

    fn matmul(&self, call: &MatmulCall) -> Result<Dispatch, GpuError> {
        let [m, n, k] = call.shape;
        let shape = MatmulShape::new(m, n, k)?;
        let variant = matmul_variant(self.gpu, shape);
        let aux = call.aux.map(|tensor| self.tensor(tensor)).transpose()?;
        let pre = call.pre.map(|slot| self.slot(slot)).transpose()?;
        let operands = MatmulOperands {
            a: &self.tensor(call.a)?,
            b: &self.tensor(call.b)?,
            aux: aux.as_ref(),
            c: &self.tensor(call.c)?,
            pre: pre.as_ref(),
        };
        matmul(self.gpu, variant, call.layout, shape, call.epilogue, call.accumulate, &operands)
    }
}

impl Plan {
    /// Allocates the activation arena and binds every call; `metrics` is [slots, 2].
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] before anything is allocated past a limit; errors of the kernels.
    pub fn new(
        gpu: &Gpu,
        schedule: &Schedule,
        arena: &Arena,
        data: &DataViews,
        metrics: &View,
        loss: Loss,
    ) -> Result<Self, GpuError> {
        Self::with_tangents(gpu, schedule, arena, None, data, metrics, loss)
    }

    /// As [`Plan::new`], for a schedule of a product with the Hessian, which needs `tangents`.
    ///
    /// # Errors
    /// As [`Plan::new`]; [`GpuError::Length`] for such a schedule without `tangents`.
    pub fn with_tangents(
        gpu: &Gpu,
        schedule: &Schedule,
        arena: &Arena,
        tangents: Option<&TangentArenas>,
        data: &DataViews,
        metrics: &View,
        loss: Loss,
    ) -> Result<Self, GpuError> {
        let placement = schedule.placement();
        let activations = gpu.buffer("activations", placement.words)?;
        let binder = Binder { gpu, schedule, placement, activations, arena, tangents };
        let stages = schedule
            .steps
            .iter()
            .map(|step| binder.stage(&step.call, data, metrics, loss))
            .collect::<Result<_, _>>()?;
        Ok(Self { stages, output: binder.slot(schedule.output)? })
    }

    /// Records one batch.
    pub fn record(&self, recorder: &mut Recorder<'_>, batch: BatchInfo) {
        for stage in &self.stages {
            match stage {
                Stage::Fixed(dispatch) => recorder.run(dispatch),
                Stage::Gather(gather) => gather.record(recorder, batch.first, batch.valid),
                Stage::Loss(loss) => loss.record(recorder, batch.first, batch.valid),
                Stage::Metrics(metrics) => metrics.record(recorder, batch.slot),
            }
        }
    }

    /// The model's output [batch, classes]; holds after a recorded batch in mode `Evaluate`.
    #[must_use]
    pub fn output(&self) -> &View {
        &self.output
    }
}
