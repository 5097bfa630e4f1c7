//! Calls that bind no more than an adapter allows: larger ones are done in parts.
//!
//! What is past a binding is the output layer of a large vocabulary: its weight [vocabulary, features], outputs [rows, vocabulary],
//! or both. The products of the layer are cut by classes, columns of the outputs, and so is the loss. Outputs and their gradient
//! then lie part after part, [rows, columns of the part] each, so that each part is a binding of its own:
//!
//! ```text
//! outputs     [:, c] = input weight[c]'                      for each part c of the classes
//! loss        = log(sum over c of sum exp(outputs[:, c] - largest)) + ...
//! grad input  = sum over c of grad outputs[:, c] weight[c]
//! grad weight [c]    = grad outputs[:, c]' input
//! ```

use std::{collections::HashMap, ops::Range};

use crate::gpu::{Limits, WORD_BYTES};

use super::{
    Call, Cut, CutColumns, Operand, PlanStep, Schedule, SlotId,
    cut_columns::{most_words, ranges},
};

/// The pass over a schedule's calls.
#[derive(Debug)]
struct CutPass<'a> {
    schedule: &'a mut Schedule,
    limits: Limits,
    /// Columns that go together in the tensors of the activation arena that lie in parts.
    columns: HashMap<SlotId, usize>,
}

impl Cut for CutPass<'_> {
    fn parts(&self, operand: &Operand, all: usize) -> Option<Vec<Range<usize>>> {
        let columns = *self.columns.get(&operand.slot()?)?;
        Some(ranges(all, columns).collect())
    }

    fn rows(&self, rows: usize, row_words: usize) -> Option<Vec<Range<usize>>> {
        let cut = CutColumns::new(0, rows, row_words, self.limits)?;
        Some(ranges(rows, cut.columns).collect())
    }

    fn has_others(&self, call: &Call, places: &[usize]) -> bool {
        let mut others = call.operands.iter().enumerate().filter(|(place, _)| !places.contains(place));
        others.any(|(_, operand)| operand.slot().is_some_and(|slot| self.columns.contains_key(&slot)))
    }

    fn words(&mut self, name: &str, words: usize) -> Operand {
        self.schedule.words(name, words)
    }
}

impl CutPass<'_> {
    /// Whether a call cannot be as it is.
    fn is_needed(&self, call: &Call) -> bool {
        self.has_others(call, &[]) || largest(call) > most_words(self.limits) as u64 * WORD_BYTES
    }

    /// Notes how an operand lies; whether that agrees with what is known.
    fn note(&mut self, call: &Call) -> bool {
        let Some(cut) = call.kernel.columns(call, self.limits) else { return true };
        let Some(slot) = call.operand(cut.place).and_then(Operand::slot) else { return false };
        *self.columns.entry(slot).or_insert(cut.columns) == cut.columns
    }

    /// All steps, those that have to be in parts; none where one of them cannot.
    fn steps(&mut self, steps: &[PlanStep]) -> Option<Vec<PlanStep>> {
        if !steps.iter().all(|step| self.note(&step.call)) {
            return None;
        }
        let mut result = Vec::with_capacity(steps.len());
        for step in steps {
            if !self.is_needed(&step.call) {
                result.push(step.clone());
                continue;
            }
            let parts = step.call.kernel.cut(&step.call, self)?;
            result.extend(parts.into_iter().map(|call| PlanStep { name: step.name.clone(), call }));
        }
        Some(result)
    }
}

/// Bytes of a call's largest operand.
fn largest(call: &Call) -> u64 {
    call.operands.iter().map(Operand::bytes).max().unwrap_or(0)
}

impl Schedule {
    /// The schedule with calls past the bindings of an adapter in parts. It stays as it is where none is, and where some call cannot
    /// be in parts, which its adapter then refuses.
    #[must_use]
    pub fn within_bindings(mut self, limits: Limits) -> Self {
        if self.largest_binding_bytes() <= limits.binding_bytes.min(limits.buffer_bytes) {
            return self;
        }
        let (steps, slots) = (self.steps.clone(), self.slots.len());
        let mut cut = CutPass { schedule: &mut self, limits, columns: HashMap::new() };
        let (cut_steps, output_columns) = (cut.steps(&steps), cut.columns.get(&cut.schedule.output).copied());
        match cut_steps {
            Some(steps) => Self { steps, output_columns, ..self },
            None => {
                self.slots.truncate(slots);
                self
            }
        }
    }

    /// Bytes of the largest tensor, or part of one, that a call binds.
    #[must_use]
    pub fn largest_binding_bytes(&self) -> u64 {
        self.steps.iter().map(|step| largest(&step.call)).max().unwrap_or(0)
    }

    /// Outputs as they lie on the device, [batch, positions, width] row by row.
    pub(super) fn outputs_by_rows(outputs: Vec<f32>, width: usize, columns: Option<usize>) -> Vec<f32> {
        let Some(columns) = columns else { return outputs };
        let rows = outputs.len() / width.max(1);
        let mut by_rows = vec![0.0; outputs.len()];
        for range in ranges(width, columns) {
            let part = &outputs[rows * range.start..rows * range.end];
            for (row, values) in part.chunks_exact(range.len()).enumerate() {
                by_rows[row * width..][range.clone()].copy_from_slice(values);
            }
        }
        by_rows
    }
}
