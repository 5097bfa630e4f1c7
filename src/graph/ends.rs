//! The calls at both ends of a batch: its samples in, its sums out.

use std::sync::Arc;

use crate::{
    gpu::{GpuError, Launch, Work},
    kernels::{Augmentation, Gather, GatherViews, MetricsSum, SampleElement},
};

use super::{
    Binding, Call, DataTensor, Kernel, LaunchContext, Operand, OperandAccess, Record, Schedule, SlotId, Tangent,
    Tensor, ValueShape,
};

/// The batch from the data set; operands: samples, indices, ids, normalisation, output.
#[derive(Clone, Copy, Debug)]
struct GatherBatch {
    batch: usize,
    input: ValueShape,
}

impl GatherBatch {
    /// Rows of features keep the order of a sample's elements.
    fn is_planar(&self) -> bool {
        matches!(self.input, ValueShape::Features(_))
    }

    fn elements(&self) -> u64 {
        (self.batch * self.input.features()) as u64
    }
}

impl Kernel for GatherBatch {
    fn kind(&self) -> &'static str {
        "gather"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.batch)
    }

    /// The samples do not depend on the weights.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Constant
    }

    fn flops(&self, _call: &Call) -> u64 {
        2 * self.elements()
    }

    /// Of the data set a byte an element comes in.
    fn work(&self, call: &Call) -> Vec<Work> {
        vec![Work { flops: self.flops(call), bytes: call.traffic() + self.elements() }]
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let pixels = context.sample[1] * context.sample[2];
        Ok(vec![Gather::launch(
            &context.target,
            [self.batch, pixels],
            (SampleElement::default(), self.is_planar()),
            Augmentation::default(),
        )?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = GatherViews {
            samples: binding.view(0)?,
            indices: binding.view(1)?,
            ids: binding.view(2)?,
            normalisation: binding.view(3)?,
            output: binding.view(4)?,
        };
        let data = binding.data;
        let kind = (data.sample_element, self.is_planar());
        Ok(Box::new(Gather::new(binding.gpu, &views, self.batch, data.sample, kind, data.augment)?))
    }
}

/// The batch's sums into the metrics ring; operands: row stats, metrics.
#[derive(Clone, Copy, Debug)]
struct SumMetrics {
    batch: usize,
}

impl Kernel for SumMetrics {
    fn kind(&self) -> &'static str {
        "metrics"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.batch)
    }

    /// No gradient depends on the sums.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Constant
    }

    fn flops(&self, call: &Call) -> u64 {
        call.len(0) as u64
    }

    fn launches(&self, _call: &Call, _context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![MetricsSum::launch(self.batch)])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        Ok(Box::new(MetricsSum::new(binding.gpu, binding.view(0)?, binding.view(1)?, self.batch)?))
    }
}

impl Schedule {
    /// Pushes the gather of the batch; the slot of the model's input.
    pub(super) fn push_gather(&mut self) -> SlotId {
        let input = self.slot("input", self.batch * self.input.words(), self.element);
        let data = [DataTensor::Samples, DataTensor::Indices, DataTensor::Ids, DataTensor::Normalisation];
        let mut operands = data.map(|tensor| self.operand(Tensor::Data(tensor), OperandAccess::Read)).to_vec();
        operands.push(self.operand(Tensor::Slot(input), OperandAccess::Write));
        let kernel = Arc::new(GatherBatch { batch: self.batch, input: self.input });
        self.push("gather", Call { kernel, operands });
        input
    }

    /// Pushes the sums of what the loss says of each row.
    pub(super) fn push_metrics(&mut self, row_stats: Operand) {
        let operands = vec![row_stats.read(), self.operand(Tensor::Metrics, OperandAccess::Add)];
        self.push("metrics", Call { kernel: Arc::new(SumMetrics { batch: self.batch }), operands });
    }
}
