//! Sums of parts that nothing reads before a step's end, put off: one dispatch adds up those of many products, where each would
//! have had one of its own, too small to fill a GPU.

use crate::{
    gpu::{Element, GpuError, align_words},
    kernels::AdapterClass,
};

use super::{Call, Deferred, Operand, OperandAccess, PlanStep, Schedule, Tensor};

/// Words of parts that wait at most, 128 MiB: those of all weight gradients of ResNet-18 in two or three times.
const PENDING_WORDS: usize = 1 << 25;

/// Sums that wait, a call for each kind, and the words of their parts.
#[derive(Default)]
struct Pending {
    sums: Vec<Call>,
    words: usize,
}

impl Pending {
    fn add(&mut self, sum: Call, words: usize) {
        self.words += words;
        if !self.sums.iter_mut().any(|other| other.joins(&sum)) {
            self.sums.push(sum);
        }
    }

    /// Whether a call uses one of the results.
    fn is_used_by(&self, call: &Call) -> bool {
        let mut results = self.sums.iter().flat_map(|sum| &sum.operands).filter(|operand| operand.access.writes());
        results.any(|result| call.operands.iter().any(|operand| operand.tensor == result.tensor))
    }

    /// Pushes what waits.
    fn flush(&mut self, schedule: &mut Schedule) {
        for sum in std::mem::take(self).sums {
            schedule.push("sums", sum);
        }
    }
}

impl Schedule {
    /// The schedule of a step of training with the sums of products' parts put off for adapters of a class, as far as they are
    /// gradients of parameters; their parts lie in the activation arena meanwhile. The order of all additions, and so every bit,
    /// stays the same. Other schedules stay as they are.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for a product past 2^32 elements.
    pub fn with_deferred_sums(mut self, class: AdapterClass) -> Result<Self, GpuError> {
        if !self.mode.trains() {
            return Ok(self);
        }
        let steps = std::mem::take(&mut self.steps);
        let mut pending = Pending::default();
        for step in steps {
            if pending.is_used_by(&step.call) {
                pending.flush(&mut self);
            }
            match self.deferrable(&step.call, class)? {
                Some((place, deferred)) => self.defer(step, place, deferred, &mut pending),
                None => self.steps.push(step),
            }
        }
        pending.flush(&mut self);
        Ok(self)
    }

    /// Where the result of a call stands whose sum can wait.
    fn deferrable(&self, call: &Call, class: AdapterClass) -> Result<Option<(usize, Deferred)>, GpuError> {
        let is_gradient = |operand: &Operand| matches!(operand.tensor, Tensor::Grad(_)) && operand.access.writes();
        let Some(place) = call.operands.iter().position(is_gradient) else { return Ok(None) };
        let deferred = call.kernel.deferred(class, self.element)?;
        Ok(deferred.filter(|deferred| align_words(deferred.words) <= PENDING_WORDS).map(|deferred| (place, deferred)))
    }

    /// Pushes a product without its sum, which waits.
    fn defer(&mut self, step: PlanStep, place: usize, deferred: Deferred, pending: &mut Pending) {
        let PlanStep { name, mut call } = step;
        let Deferred { parts, words, sum } = deferred;
        if pending.words + align_words(words) > PENDING_WORDS {
            pending.flush(self);
        }
        let slot = self.slot("parts", words, Element::Word);
        let written = self.operand(Tensor::Slot(slot), OperandAccess::Write);
        let result = std::mem::replace(&mut call.operands[place], written);
        self.push(&name, Call { kernel: parts, operands: call.operands });
        pending.add(Call { kernel: sum, operands: vec![written.read(), result] }, align_words(words));
    }
}
