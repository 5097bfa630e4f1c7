//! How the samples of a step are shared out over its passes.

use std::ops::Range;

use crate::{
    graph::PlanMode,
    rules::{Compiled, PartMean, Pass},
};

/// How the samples of a step are shared out over what is planned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// Samples that a plan takes at once: of a batch, or of a part of a step where that is smaller.
    pub(super) planned: usize,
    /// Whether a gradient is the sum of several of those.
    pub(super) accumulates: bool,
    /// Samples of a whole step.
    pub(super) step: usize,
}

impl Shares {
    /// Of a step of so many batches.
    pub(super) fn new(rule: &Compiled, batch: usize, batches: usize) -> Self {
        let step = batch * batches;
        let part = step.div_ceil(rule.parts() as usize).max(1);
        let is_part = |pass: &Pass| pass.part.is_some();
        let mut passes = rule.phases().iter().map(|phase| phase.pass).filter(|pass| pass.backward);
        let planned = if rule.parts() > 1 { batch.min(part) } else { batch };
        let accumulates = passes.any(|pass| planned < if is_part(&pass) { part } else { step });
        Self { planned, accumulates, step }
    }

    /// Batches of what is planned in a step.
    pub(super) fn batches(self) -> u64 {
        self.step.div_ceil(self.planned.max(1)) as u64
    }
}

/// What a pass is taken over.
pub(super) struct Taken {
    /// Positions in the epoch's order.
    pub(super) samples: Range<usize>,
    /// Samples of the mean that its gradient is of.
    pub(super) mean_over: usize,
    /// Whether its loss is, or is a share of, the step's.
    pub(super) tells: bool,
}

impl Taken {
    /// Of a step of `valid` samples from position `first` on.
    pub(super) fn new((first, valid): (usize, usize), pass: Pass, shares: Shares) -> Self {
        let tells = pass.tells;
        let Some(part) = pass.part else {
            return Self { samples: first..first + valid, mean_over: valid, tells };
        };
        let (index, parts) = (part.index as usize, part.parts as usize);
        match part.mean {
            PartMean::Step => {
                let size = shares.step.div_ceil(parts);
                let [start, end] = [index, index + 1].map(|index| (index * size).min(valid));
                Self { samples: first + start..first + end, mean_over: valid, tells }
            }
            PartMean::Own => {
                let [start, end] = [index, index + 1].map(|index| index * valid / parts);
                // An empty part has the last sample, whose loss another part has told.
                let empty = start == end;
                let start = if empty { start.min(valid - 1) } else { start };
                let end = end.max(start + 1);
                Self { samples: first + start..first + end, mean_over: end - start, tells: tells && !empty }
            }
        }
    }
}

/// What a rule's passes are planned for, and those without a gradient beside others.
pub(super) fn rule_modes(rule: &Compiled, shares: Shares) -> (PlanMode, Option<PlanMode>) {
    let forward = if rule.goes_by_running_statistics() { PlanMode::Evaluate } else { PlanMode::Calibrate };
    match (rule.takes_gradients(), shares.accumulates) {
        (false, _) => (forward, None),
        (true, true) => (PlanMode::Accumulate, rule.takes_loss().then_some(forward)),
        (true, false) => (PlanMode::Train, rule.takes_loss().then_some(forward)),
    }
}
