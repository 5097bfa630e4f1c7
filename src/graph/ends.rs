//! The calls at both ends of a batch: its samples in, its sums out.

use std::sync::Arc;

use crate::{
    gpu::{Element, GpuError, Launch, Work},
    kernels::{AdapterClass, Augmentation, Gather, GatherForm, GatherTokens, GatherViews, MetricsSum, SampleElement},
};

use super::{
    Binding, Call, DataTensor, DataViews, Kernel, LaunchContext, Operand, OperandAccess, OutputShape, Record, Schedule,
    SlotId, Tangent, Tensor, ValueShape,
};

/// The batch from the data set; operands: samples, indices, ids, normalisation, output.
#[derive(Clone, Copy, Debug)]
struct GatherBatch {
    batch: usize,
    input: ValueShape,
}

impl GatherBatch {
    /// Rows of features and sequences keep the order of a sample's elements.
    fn form(&self, element: SampleElement) -> GatherForm {
        let planar = matches!(self.input, ValueShape::Features(_) | ValueShape::Sequence { .. });
        GatherForm { element, planar }
    }

    /// What is wrong with a data set, if anything that no length shows: the vectors of a sequence are rows of a single plane.
    fn refusal(&self, data: &DataViews) -> Option<&'static str> {
        let is_sequence = matches!(self.input, ValueShape::Sequence { .. });
        if is_sequence && data.sample != self.input.sample_sides() {
            return Some("a sequence is one channel, a row for each vector");
        }
        (is_sequence && data.augment.is_active()).then_some(ONLY_IMAGES)
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
    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        vec![Work { flops: self.flops(call), bytes: call.traffic() + self.elements() }]
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let pixels = context.sample[1] * context.sample[2];
        Ok(vec![Gather::launch(
            &context.target,
            [self.batch, pixels],
            self.form(SampleElement::default()),
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
        if let Some(reason) = self.refusal(data) {
            let shape = format!("samples of {:?} for {}", data.sample, self.input);
            return Err(GpuError::Shape { kernel: "gather", shape, reason });
        }
        let form = self.form(data.sample_element);
        Ok(Box::new(Gather::new(binding.gpu, &views, self.batch, data.sample, form, data.augment)?))
    }
}

/// Why other samples are not changed at random.
const ONLY_IMAGES: &str = "crops, flips and cutouts are of images";

/// The batch of tokens from the data set; operands: samples, indices, output.
#[derive(Clone, Copy, Debug)]
struct GatherText {
    batch: usize,
    length: usize,
    vocabulary: usize,
}

/// Tokens of a text.
fn text_length(data: &DataViews) -> usize {
    data.sample.iter().product()
}

impl GatherText {
    /// What is wrong with a data set, if anything.
    fn refusal(&self, data: &DataViews) -> Option<&'static str> {
        if data.sample_element != SampleElement::U32 {
            return Some("the model takes tokens, and the samples are none");
        }
        if text_length(data) != self.length {
            return Some("a text has another length");
        }
        if data.augment.is_active() {
            return Some(ONLY_IMAGES);
        }
        (data.vocabulary > self.vocabulary).then_some("a token is past the model's vocabulary")
    }
}

impl Kernel for GatherText {
    fn kind(&self) -> &'static str {
        "gather tokens"
    }

    fn sizes(&self) -> String {
        format!("batch {}, length {}", self.batch, self.length)
    }

    /// The samples do not depend on the weights.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Constant
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![GatherTokens::launch(&context.target, self.batch, self.length)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        if let Some(reason) = self.refusal(binding.data) {
            let found = text_length(binding.data);
            let shape = format!(
                "{found} tokens below {} for {} below {}",
                binding.data.vocabulary, self.length, self.vocabulary
            );
            return Err(GpuError::Shape { kernel: "gather_tokens", shape, reason });
        }
        let views = [binding.view(0)?, binding.view(1)?, binding.view(2)?];
        let windows = binding.data.target_kind.is_of_windows();
        Ok(Box::new(GatherTokens::new(binding.gpu, views, [self.batch, self.length], windows)?))
    }
}

/// The batch's sums into the metrics ring; operands: row stats, metrics.
#[derive(Clone, Copy, Debug)]
struct SumMetrics {
    outputs: OutputShape,
}

impl Kernel for SumMetrics {
    fn kind(&self) -> &'static str {
        "metrics"
    }

    fn sizes(&self) -> String {
        self.outputs.to_string()
    }

    /// No gradient depends on the sums.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Constant
    }

    fn flops(&self, call: &Call) -> u64 {
        call.len(0) as u64
    }

    fn launches(&self, _call: &Call, _context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![MetricsSum::launch(self.outputs.rows())])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        Ok(Box::new(MetricsSum::new(binding.gpu, binding.view(0)?, binding.view(1)?, self.outputs.rows())?))
    }
}

impl Schedule {
    /// Pushes the gather of the batch; the slot of the model's input.
    pub(super) fn push_gather(&mut self) -> SlotId {
        let (batch, input) = (self.batch, self.input);
        if let ValueShape::Tokens { length, vocabulary } = input {
            let kernel = Arc::new(GatherText { batch, length, vocabulary });
            return self.push_gather_of(kernel, &[DataTensor::Samples, DataTensor::Indices], Element::Word);
        }
        let data = [DataTensor::Samples, DataTensor::Indices, DataTensor::Ids, DataTensor::Normalisation];
        self.push_gather_of(Arc::new(GatherBatch { batch, input }), &data, self.element)
    }

    fn push_gather_of(&mut self, kernel: Arc<dyn Kernel>, data: &[DataTensor], element: Element) -> SlotId {
        let slot = self.slot("input", self.batch * self.input.words(), element);
        let read = data.iter().map(|tensor| self.operand(Tensor::Data(*tensor), OperandAccess::Read));
        let operands = read.chain([self.operand(Tensor::Slot(slot), OperandAccess::Write)]).collect();
        self.push("gather", Call { kernel, operands });
        slot
    }

    /// Pushes the sums of what the loss says of each row.
    pub(super) fn push_metrics(&mut self, row_stats: Operand) {
        let operands = vec![row_stats.read(), self.operand(Tensor::Metrics, OperandAccess::Add)];
        self.push("metrics", Call { kernel: Arc::new(SumMetrics { outputs: self.outputs }), operands });
    }
}
