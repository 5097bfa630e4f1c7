//! The likelihood over parts of the classes, as calls: each part is gathered, then each part's gradient made.

use std::{ops::Range, sync::Arc};

use crate::{
    gpu::{GpuError, Launch},
    graph::{Binding, Call, Cut, GradientInPlace, Kernel, LaunchContext, Operand, OutputShape, Record, Tangent},
    kernels::AdapterClass,
};

use super::{
    ClassPart, GRADIENT, Loss, LossCurvature, LossOfBatch, LossTangent, OUTPUTS, PartBuffers, nll_part,
    nll_part_gradient,
    part::{PartForm, ROW_WORDS},
};

const LOGITS: usize = 0;
const SO_FAR: usize = 1;
/// What follows in the calls of a loss: row statistics if it is gathered, targets, indices, then of a gradient the scaling and, if
/// it lies apart, the gradient; in those of a tangent the logits' tangent, then the result.
const REST: usize = 2;

/// Gathers a part.
#[derive(Clone, Copy, Debug)]
struct GatherPart {
    part: ClassPart,
    /// Whose targets; none of a tangent.
    loss: Option<LossOfBatch>,
}

/// Makes the gradient of a part, or its tangent.
#[derive(Clone, Copy, Debug)]
struct GradientOfPart {
    part: ClassPart,
    form: PartForm,
}

fn part_of(outputs: OutputShape, classes: &Range<usize>) -> ClassPart {
    ClassPart { shape: outputs.sides(), first: classes.start, columns: classes.len() }
}

fn part_sizes(part: &ClassPart) -> String {
    format!("{} x {} from class {} on", part.shape[0] * part.shape[1], part.columns, part.first)
}

fn call(kernel: impl Kernel, operands: impl IntoIterator<Item = Operand>) -> Call {
    Call { kernel: Arc::new(kernel), operands: operands.into_iter().collect() }
}

impl Kernel for GatherPart {
    fn kind(&self) -> &'static str {
        "loss"
    }

    fn sizes(&self) -> String {
        part_sizes(&self.part)
    }

    /// Schedules are cut after they are differentiated.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    /// Largest, difference, exponential, sum.
    fn flops(&self, call: &Call) -> u64 {
        4 * call.len(LOGITS) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.part.gather_launch(&context.target, self.loss.is_none())?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        if let Some(loss) = &self.loss {
            loss.targets(binding.data.target_kind)?;
        }
        let is_loss = self.loss.is_some();
        let buffers = PartBuffers {
            logits: binding.view(LOGITS)?,
            tangent: if is_loss { None } else { Some(binding.view(REST)?) },
            targets: if is_loss { Some([binding.view(REST + 1)?, binding.view(REST + 2)?]) } else { None },
            windows: binding.data.target_kind.is_of_windows(),
            so_far: binding.view(SO_FAR)?,
        };
        let row_stats = if is_loss { Some(binding.view(REST)?) } else { None };
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(nll_part(binding.gpu, class, &buffers, row_stats, self.part)?))
    }
}

impl Kernel for GradientOfPart {
    fn kind(&self) -> &'static str {
        if self.form.tangent { "loss tangent" } else { "loss" }
    }

    fn sizes(&self) -> String {
        part_sizes(&self.part)
    }

    /// As [`GatherPart`].
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    /// Division, the label's or the mean's difference, scale.
    fn flops(&self, call: &Call) -> u64 {
        3 * call.len(LOGITS) as u64
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.part.gradient_launch(&context.target, self.form)?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let PartForm { scaled, in_place, tangent } = self.form;
        let buffers = PartBuffers {
            logits: binding.view(LOGITS)?,
            tangent: if tangent { Some(binding.view(REST)?) } else { None },
            targets: if tangent { None } else { Some([binding.view(REST)?, binding.view(REST + 1)?]) },
            windows: binding.data.target_kind.is_of_windows(),
            so_far: binding.view(SO_FAR)?,
        };
        let output = if in_place { None } else { Some(binding.view(call.operands.len() - 1)?) };
        let scaling = if scaled { Some(binding.view(REST + 2)?) } else { None };
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(nll_part_gradient(binding.gpu, class, &buffers, [output, scaling], self.part)?))
    }
}

impl LossOfBatch {
    /// The loss over parts of the outputs; none for another loss than the likelihood.
    pub(super) fn by_parts(&self, whole: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        let operands = &whole.operands;
        let outputs = *operands.get(OUTPUTS)?;
        let (rows, width) = (self.outputs.rows(), self.outputs.width);
        let parts = cut.parts(&outputs, width)?;
        let [row_stats, targets, indices] = operands.get(self.rest()..)?.first_chunk::<3>().copied()?;
        let gradient = match self.in_place {
            None => Some(*operands.get(GRADIENT)?),
            Some(GradientInPlace::Outputs | GradientInPlace::LeftOut) => None,
        };
        let lies_alike = gradient.is_none_or(|gradient| cut.parts(&gradient, width).as_ref() == Some(&parts));
        if self.loss != Loss::Nll || !lies_alike {
            return None;
        }
        let so_far = cut.words("rows so far", rows * ROW_WORDS);
        let mut calls: Vec<Call> = Vec::with_capacity(2 * parts.len());
        for classes in &parts {
            let kernel = GatherPart { part: part_of(self.outputs, classes), loss: Some(*self) };
            let so_far = so_far.term(calls.is_empty());
            calls.push(call(kernel, [outputs.columns(rows, classes), so_far, row_stats, targets, indices]));
        }
        if self.in_place == Some(GradientInPlace::LeftOut) {
            return Some(calls);
        }
        let in_place = gradient.is_none();
        let form = PartForm { scaled: self.scaled, in_place, tangent: false };
        let scaling = self.scaled.then(|| operands.get(self.rest() + 3).copied()).flatten();
        for classes in &parts {
            let kernel = GradientOfPart { part: part_of(self.outputs, classes), form };
            let logits = if in_place { outputs.result(true) } else { outputs };
            let operands = [logits.columns(rows, classes), so_far.read(), targets, indices].into_iter();
            let gradient = gradient.map(|gradient| gradient.columns(rows, classes));
            calls.push(call(kernel, operands.chain(scaling).chain(gradient)));
        }
        Some(calls)
    }
}

impl LossCurvature {
    /// The tangent over parts of the outputs; none for another loss than the likelihood.
    pub(super) fn by_parts(&self, whole: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        let [outputs, tangent, result] = whole.operands.first_chunk::<3>().copied()?;
        let (rows, width) = (self.outputs.rows(), self.outputs.width);
        let parts = cut.parts(&outputs, width)?;
        let lies_alike = [tangent, result].iter().all(|operand| cut.parts(operand, width).as_ref() == Some(&parts));
        if self.loss != LossTangent::Nll || !lies_alike {
            return None;
        }
        let so_far = cut.words("rows so far", rows * ROW_WORDS);
        let mut calls: Vec<Call> = Vec::with_capacity(2 * parts.len());
        for classes in &parts {
            let kernel = GatherPart { part: part_of(self.outputs, classes), loss: None };
            let [outputs, tangent] = [outputs, tangent].map(|operand| operand.columns(rows, classes));
            calls.push(call(kernel, [outputs, so_far.term(calls.is_empty()), tangent]));
        }
        let form = PartForm { scaled: false, in_place: false, tangent: true };
        for classes in &parts {
            let kernel = GradientOfPart { part: part_of(self.outputs, classes), form };
            let [outputs, tangent, result] = [outputs, tangent, result].map(|operand| operand.columns(rows, classes));
            calls.push(call(kernel, [outputs, so_far.read(), tangent, result]));
        }
        Some(calls)
    }
}
