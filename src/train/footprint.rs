//! Bytes that a run will take on the device, known before anything is allocated.

use serde::Serialize;

use crate::{
    data::Dataset,
    gpu::{Element, Gpu, GpuError, Limits, WORD_BYTES},
    graph::{Destination, PlanMode, Schedule, Slot, memory},
    kernels::AdapterClass,
    nn::Model,
    ops::Loss,
    optim::{OptimizerConfig, OptimizerKind},
    rules::{Compiled, Program, UpdateFusion},
};

use super::{
    AUTO_BATCH, DeviceData, Evaluator, Prepared, RunConfig, SampleSize, TrainError,
    shares::{Shares, rule_modes},
};

const ACTIVATIONS: &str = "activations and their gradients";
const EVALUATION: &str = "activations of evaluations";
/// Those trained on, and each part that is scored.
const DATA: &str = "data";
const LOSS: &str = "activations of the rule's loss";
const CALIBRATION: &str = "activations of batch norms' calibration";

/// What an update iterates its matrices through: several buffers, the largest as long as a matrix.
const UPDATE: &str = "matrices of the update";

/// The arenas that are cut into as many buffers as the adapter's limit makes it, or are several from the start.
const CUT: [&str; 5] = [ACTIVATIONS, EVALUATION, LOSS, CALIBRATION, UPDATE];

/// The arenas of a run and their bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Footprint {
    /// Name and bytes of each arena, in the order of their use.
    pub arenas: Vec<(String, u64)>,
    /// Their sum.
    pub total_bytes: u64,
    /// The least bytes that any placement of activations needs: those alive at once.
    pub activations_lower_bound_bytes: u64,
    /// The largest tensor, or part of one, that a kernel binds.
    pub largest_binding_bytes: u64,
    /// The largest tensor of the activations, which lies in one buffer.
    pub largest_tensor_bytes: u64,
    /// Floating-point operations of a step's products.
    pub flops: u64,
}

/// What a rule keeps beside weights.
#[derive(Clone, Copy, Debug)]
struct Kept {
    gradients: bool,
    /// Arenas of the optimizer's state, where there are gradients.
    state: usize,
    /// Words that its update takes beside.
    update: usize,
}

impl Kept {
    fn new(gradients: bool, optimizer: &OptimizerConfig, class: AdapterClass, model: &Model) -> Result<Self, GpuError> {
        let update = optimizer.scratch_words(class, &model.graph.layout())?;
        Ok(Self { gradients, state: optimizer.state_arenas(), update })
    }
}

impl Footprint {
    /// The footprint of a whole run in batches of `batch`: training, evaluation and data.
    ///
    /// # Errors
    /// [`GraphError`](crate::graph::GraphError) for a model or batch that cannot be planned, [`GpuError::Shape`](crate::gpu::GpuError::Shape) for one
    /// past 2^32 elements.
    pub fn for_run<'a>(
        config: &RunConfig,
        prepared: &Prepared,
        batch: usize,
        destination: impl Into<Destination<'a>>,
    ) -> Result<Self, TrainError> {
        Self::for_rule(config, prepared, batch, destination, &Compiled::new(&Program::noise(), UpdateFusion::Fused))
    }

    /// As [`Footprint::for_run`], with what a rule keeps beside.
    ///
    /// # Errors
    /// As [`Footprint::for_run`].
    pub fn for_rule<'a>(
        config: &RunConfig,
        prepared: &Prepared,
        batch: usize,
        destination: impl Into<Destination<'a>>,
        rule: &Compiled,
    ) -> Result<Self, TrainError> {
        let destination = destination.into();
        let target = destination.target();
        let (model, split, element) = (&prepared.model, &prepared.split, config.precision.element());
        let shares = Shares::new(rule, batch, config.accumulate);
        let batch = shares.planned;
        let kept = Kept::new(rule.takes_gradients(), &config.optimizer_for(1), target.class, model)?;
        let (mode, _) = rule_modes(rule, shares);
        let (footprint, schedule) = Self::in_mode(model, batch, mode, kept, element, destination)?;
        let mut footprint = footprint.with_scratch(schedule.scratch_words(target.class)?);
        let arena = (model.graph.layout().words() as u64) * WORD_BYTES;
        if config.ema.is_some() {
            footprint.add("moving average", arena);
        }
        (0..rule.kept()).for_each(|_| footprint.add("kept gradients", arena));
        let mut planned = |name: &str, batch, mode| -> Result<(), TrainError> {
            let schedule = Schedule::suited(&model.graph, batch, mode, Loss::Nll, element, destination)?;
            let words = schedule.placement(whole_bank()).words + schedule.scratch_words(target.class)?;
            footprint.largest_binding_bytes = footprint.largest_binding_bytes.max(schedule.largest_binding_bytes());
            footprint.largest_tensor_bytes = footprint.largest_tensor_bytes.max(largest_slot(&schedule));
            footprint.add(name, words as u64 * WORD_BYTES);
            Ok(())
        };
        if config.bn_recalibrate && !model.graph.stats().is_empty() {
            planned(CALIBRATION, batch, PlanMode::Calibrate)?;
        }
        if rule.takes_loss() && rule.takes_gradients() {
            planned(LOSS, batch, PlanMode::Calibrate)?;
        }
        let train = config.scored_train_len(&split.train);
        let validation = prepared.validation.as_ref().map(Dataset::len);
        let scored: Vec<usize> = [train, validation, Some(split.test.len())].into_iter().flatten().collect();
        for samples in &scored {
            planned(EVALUATION, Evaluator::batch(model, *samples), PlanMode::Evaluate)?;
        }
        let mut held = |samples: usize, batch: usize| {
            footprint.add(DATA, DeviceData::bytes(target.limits, samples, SampleSize::new(&split.train), batch));
        };
        held(split.train.len(), batch);
        scored.into_iter().for_each(|samples| held(samples, Evaluator::batch(model, samples)));
        Ok(footprint)
    }

    fn add(&mut self, name: &str, bytes: u64) {
        match self.arenas.iter_mut().find(|(present, _)| present == name) {
            Some((_, sum)) => *sum += bytes,
            None => self.arenas.push((name.to_owned(), bytes)),
        }
        self.total_bytes += bytes;
    }

    /// The footprint of training `model` with batches of `batch` on an adapter, activations and the weights that the
    /// network sees stored as `element`; data and evaluation are apart.
    ///
    /// # Errors
    /// As [`Footprint::for_run`].
    pub fn new<'a>(
        model: &Model,
        batch: usize,
        optimizer: OptimizerKind,
        element: Element,
        destination: impl Into<Destination<'a>>,
    ) -> Result<(Self, Schedule), TrainError> {
        let destination = destination.into();
        let optimizer = OptimizerConfig { kind: optimizer, ..OptimizerConfig::default() };
        let kept = Kept::new(true, &optimizer, destination.target().class, model)?;
        Self::in_mode(model, batch, PlanMode::Train, kept, element, destination)
    }

    fn in_mode(
        model: &Model,
        batch: usize,
        mode: PlanMode,
        kept: Kept,
        element: Element,
        destination: Destination<'_>,
    ) -> Result<(Self, Schedule), TrainError> {
        let schedule = Schedule::suited(&model.graph, batch, mode, Loss::Nll, element, destination)?;
        let schedule = schedule.with_deferred_sums(destination.target().class)?;
        let layout = model.graph.layout();
        let words = layout.words() as u64 * WORD_BYTES;
        let activations = schedule.placement(whole_bank()).words as u64 * WORD_BYTES;
        let effective = element.words(layout.words()) as u64 * WORD_BYTES;
        let mut arenas: Vec<(String, u64)> =
            [("weights", words), ("weights_eff", effective)].map(|(name, bytes)| (name.to_owned(), bytes)).into();
        if kept.gradients {
            arenas.push(("grads".to_owned(), words));
            arenas.extend((0..kept.state).map(|state| (format!("optimizer state {}", state + 1), words)));
        }
        if kept.update > 0 {
            arenas.push((UPDATE.to_owned(), kept.update as u64 * WORD_BYTES));
        }
        arenas.push((ACTIVATIONS.to_owned(), activations));
        arenas.push(("noise table".to_owned(), u64::from(layout.blocks()) * 16));
        let total_bytes = arenas.iter().map(|(_, bytes)| bytes).sum();
        let footprint = Self {
            arenas,
            total_bytes,
            activations_lower_bound_bytes: memory::lower_bound(&schedule.lives()) as u64 * WORD_BYTES,
            largest_binding_bytes: schedule.largest_binding_bytes(),
            largest_tensor_bytes: largest_slot(&schedule),
            flops: schedule.flops(),
        };
        Ok((footprint, schedule))
    }

    /// With the buffer that products keep partial sums and transforms in, which goes by the class of the adapter.
    #[must_use]
    pub fn with_scratch(mut self, words: usize) -> Self {
        self.add("scratch of products", words as u64 * WORD_BYTES);
        self
    }

    /// What is beyond the memory that is free, in words; `None` if nothing is, or where it is not known.
    #[must_use]
    pub fn beyond(&self, free: Option<u64>) -> Option<String> {
        let free = free.filter(|free| *free < self.total_bytes)?;
        Some(format!("it takes {} bytes, {free} are free", self.total_bytes))
    }

    /// What would not fit an adapter, in words; `None` if everything does. The activations may take several buffers.
    #[must_use]
    pub fn excess(&self, limits: Limits) -> Option<String> {
        let whole = self.arenas.iter().filter(|(name, _)| !CUT.contains(&name.as_str()) && name != DATA);
        let (name, bytes) = whole.max_by_key(|(_, bytes)| bytes)?;
        if *bytes > limits.buffer_bytes {
            return Some(format!("{name} takes {bytes} bytes, a buffer holds {}", limits.buffer_bytes));
        }
        if self.largest_tensor_bytes > limits.buffer_bytes {
            let (bytes, limit) = (self.largest_tensor_bytes, limits.buffer_bytes);
            return Some(format!("the largest tensor takes {bytes} bytes, a buffer holds {limit}"));
        }
        let (bytes, limit) = (self.largest_binding_bytes, limits.binding_bytes.min(limits.buffer_bytes));
        (bytes > limit).then(|| format!("the largest tensor takes {bytes} bytes, a binding holds {limit}"))
    }
}

/// A bank that holds any arena whole.
fn whole_bank() -> usize {
    usize::MAX / 64 * 64
}

/// Bytes of a schedule's largest tensor.
fn largest_slot(schedule: &Schedule) -> u64 {
    schedule.slots.iter().map(Slot::words).max().unwrap_or(0) as u64 * WORD_BYTES
}

/// The batch that a run takes: that of its configuration, or with [`AUTO_BATCH`] the largest that fits; never more than there
/// are samples. Checked before anything is allocated, against the adapter's limits and, where it is known, the memory
/// that is free.
///
/// # Errors
/// [`TrainError::Memory`] with the largest batch that does fit; those of [`Footprint::for_run`].
pub(super) fn fitting_batch(
    gpu: &Gpu,
    config: &RunConfig,
    prepared: &Prepared,
    rule: &Compiled,
) -> Result<usize, TrainError> {
    let free = gpu.free_bytes();
    let excess = |batch: usize| -> Result<Option<String>, TrainError> {
        let footprint = Footprint::for_rule(config, prepared, batch, gpu, rule)?;
        Ok(footprint.excess(gpu.limits()).or_else(|| footprint.beyond(free)))
    };
    let wanted = config.batch.min(prepared.split.train.len());
    let reason = match excess(wanted) {
        Ok(None) => return Ok(wanted),
        Ok(Some(reason)) => reason,
        // Past what can be counted; a smaller one may be planned.
        Err(_) if config.batch == AUTO_BATCH => String::new(),
        Err(error) => return Err(error),
    };
    // What a batch takes grows with it, but for a little in the scratch of products: halve the range, then ask the result.
    let (mut fits, mut exceeds) = (0, wanted);
    while fits + 1 < exceeds {
        let middle = fits.midpoint(exceeds);
        let fit = matches!(excess(middle), Ok(None));
        (fits, exceeds) = if fit { (middle, exceeds) } else { (fits, middle) };
    }
    if fits > 0 && config.batch == AUTO_BATCH {
        return Ok(fits);
    }
    Err(TrainError::Memory {
        model: prepared.model.description.clone(),
        batch: wanted,
        adapter: gpu.adapter_name().to_owned(),
        reason,
        advice: match fits {
            0 => "no batch does".to_owned(),
            _ => format!("--batch {fits} does, and --batch auto takes the largest that does"),
        },
    })
}
