//! Products with the Hessian of a model's loss, and with its Gauss-Newton part, beside a gradient of the same batch: in one
//! process, taking turns.

use std::time::Instant;

use serde::Serialize;

use crate::{
    analysis::Curvature,
    gpu::{Element, Gpu, GpuError, KernelTime, Profile, WORD_BYTES},
    graph::{BatchInfo, Plan, PlanMode, Schedule, TangentArenas, memory},
    kernels::{AdapterClass, Arena},
    nn::{self, Model},
    noise::probe,
    ops::Loss,
    train::{DeviceData, RunConfig, TrainError},
};

use super::{
    runner::prepared,
    stopwatch::warm_up,
    turns::{Rounds, Turns},
};

/// What to time: gradients and products of the model and batch of `config`, in f32, on random samples that lie on the device.
#[derive(Clone, Debug)]
pub struct HessianBench {
    /// The batch, loss and seed; its data are not used, nor its model but for the report.
    pub config: RunConfig,
    /// The model.
    pub model: Model,
    /// Timed passes of each kind.
    pub passes: u32,
    /// Rounds over which they alternate.
    pub rounds: u32,
    /// No further round begins after this long, once there are three.
    pub seconds: f64,
    /// Whether to time every kernel as well, in passes of their own.
    pub profile: bool,
}

/// A gradient, or a product.
#[derive(Clone, Debug, Serialize)]
pub struct PassReport {
    /// Calls of the schedule.
    pub calls: usize,
    /// Floating-point operations of its matrix products and convolutions.
    pub product_flops: u64,
    /// Of what lies between its calls: activations, their gradients, and the tangents of both.
    pub activation_bytes: u64,
    /// Milliseconds from recording to the device's end, median.
    pub median_ms: f64,
    /// Time per kernel, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernels: Option<Vec<KernelTime>>,
}

/// A product beside the gradient.
#[derive(Clone, Debug, Serialize)]
pub struct ProductReport {
    /// With which matrix.
    pub curvature: Curvature,
    /// What it takes.
    #[serde(flatten)]
    pub pass: PassReport,
    /// Median over paired rounds of its time over the gradient's.
    pub time_ratio: f64,
    /// Standard error of that median, from the rounds' interquartile range as if they were normal.
    pub time_ratio_error: f64,
    /// Its activation bytes over the gradient's.
    pub memory_ratio: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct HessianReport {
    /// The adapter.
    pub adapter: String,
    /// The model.
    pub model: String,
    /// Samples of a pass.
    pub batch: usize,
    /// Rounds that were run.
    pub rounds: u32,
    /// Forward, loss and backward, as training takes them; no update.
    pub gradient: PassReport,
    /// The products, each over one batch; the sum over batches, which the host adds up, is left out.
    pub products: Vec<ProductReport>,
}

/// What all passes go over.
struct Ground<'g> {
    gpu: &'g Gpu,
    arena: Arena,
    tangents: TangentArenas,
    data: DeviceData,
    batch: BatchInfo,
}

/// A pass that takes its turns.
struct Contender {
    schedule: Schedule,
    plan: Plan,
}

impl HessianBench {
    /// Measures.
    ///
    /// # Errors
    /// Those of the device and of the model's graph.
    pub fn run(&self, gpu: &Gpu) -> Result<HessianReport, TrainError> {
        let ground = Ground::new(gpu, &self.model, &self.config)?;
        let contender = |mode| ground.contender(&self.model, self.config.loss, mode);
        let passes = [
            contender(PlanMode::Train)?,
            contender(PlanMode::HessianProduct)?,
            contender(PlanMode::GaussNewtonProduct)?,
        ];
        let turns = self.race(&ground, &passes)?;
        let report = |number: usize| self.report(&ground, &passes[number], turns.median(number));
        let of_gradient = report(0)?;
        let product = |curvature, number| -> Result<ProductReport, TrainError> {
            let pass = report(number)?;
            let (time_ratio, time_ratio_error) = turns.ratio(number, 0);
            Ok(ProductReport {
                curvature,
                time_ratio,
                time_ratio_error,
                memory_ratio: pass.activation_bytes as f64 / of_gradient.activation_bytes as f64,
                pass,
            })
        };
        Ok(HessianReport {
            adapter: gpu.adapter_name().to_owned(),
            model: self.config.model.clone(),
            batch: self.config.batch,
            rounds: turns.rounds(),
            products: vec![product(Curvature::Hessian, 1)?, product(Curvature::GaussNewton, 2)?],
            gradient: of_gradient,
        })
    }

    /// Lets passes take turns.
    fn race(&self, ground: &Ground<'_>, passes: &[Contender; 3]) -> Result<Turns, GpuError> {
        warm_up(ground.gpu, || passes.iter().try_fold(0.0, |sum, pass| Ok::<_, GpuError>(sum + ground.ms(pass, 1)?)))?;
        let rounds = Rounds { most: self.rounds, seconds: self.seconds };
        let each = self.passes.div_ceil(self.rounds.max(1)).max(1);
        Turns::take(passes.len(), rounds, |number| ground.ms(&passes[number], each))
    }

    fn report(&self, ground: &Ground<'_>, pass: &Contender, median_ms: f64) -> Result<PassReport, TrainError> {
        let Contender { schedule, .. } = pass;
        let bank_words = memory::bank_words(ground.gpu.limits().buffer_bytes);
        Ok(PassReport {
            calls: schedule.steps.len(),
            product_flops: schedule.flops(),
            activation_bytes: schedule.placement(bank_words).words as u64 * WORD_BYTES,
            median_ms,
            kernels: self.profile.then(|| ground.kernels(pass, self.passes)).transpose()?,
        })
    }
}

impl<'g> Ground<'g> {
    fn new(gpu: &'g Gpu, model: &Model, config: &RunConfig) -> Result<Self, TrainError> {
        let layout = model.graph.layout();
        let scales = vec![0.0; layout.spans().len()];
        let mut direction = vec![0.0_f32; layout.words()];
        for (tensor, span) in layout.spans().iter().enumerate() {
            for (element, v) in direction[span.start..][..span.len].iter_mut().enumerate() {
                *v = probe(config.seed, 0, tensor as u32, element);
            }
        }
        let tangents = TangentArenas {
            direction: gpu.upload("direction", &direction)?,
            product: gpu.buffer("product", direction.len())?,
        };
        let arena = Arena::new(gpu, layout, &scales)?;
        nn::initialise(gpu, model, &arena, config.seed)?;
        let mut recorder = gpu.record();
        recorder.copy(&arena.weights.view(), &arena.weights_eff.view());
        recorder.submit()?;
        let samples = prepared(model, config.batch, config.loss).split.train;
        let data = DeviceData::new(gpu, samples, config.batch, &[])?;
        let mut batch = BatchInfo::new(data.stage(gpu, 0, config.batch)?, config.batch as u32, 0);
        batch.terms.label_smoothing = config.label_smoothing as f32;
        Ok(Self { gpu, arena, tangents, data, batch })
    }

    fn contender(&self, model: &Model, loss: Loss, mode: PlanMode) -> Result<Contender, TrainError> {
        let Self { gpu, arena, tangents, data, .. } = self;
        let batch = self.batch.valid as usize;
        let mut schedule = Schedule::suited(&model.graph, batch, mode, loss, Element::Word, *gpu)?;
        if mode.trains() {
            schedule = schedule.with_deferred_sums(AdapterClass::for_device(gpu))?;
        }
        let metrics = gpu.buffer("unread metrics", 2)?.view();
        let plan = Plan::with_tangents(gpu, &schedule, arena, Some(tangents), data.views(), &metrics)?;
        Ok(Contender { schedule, plan })
    }

    fn submit(&self, pass: &Contender, profile: Option<&mut Profile>) -> Result<(), GpuError> {
        let mut recorder = self.gpu.record_with(profile);
        pass.plan.record(&mut recorder, self.batch);
        recorder.submit()
    }

    /// Milliseconds of one of `times` passes, one submitted after the other.
    fn ms(&self, pass: &Contender, times: u32) -> Result<f64, GpuError> {
        self.gpu.wait()?;
        let started = Instant::now();
        (0..times).try_for_each(|_| self.submit(pass, None))?;
        self.gpu.wait()?;
        Ok(started.elapsed().as_secs_f64() * 1e3 / f64::from(times))
    }

    fn kernels(&self, pass: &Contender, times: u32) -> Result<Vec<KernelTime>, GpuError> {
        let mut profile = Profile::new(self.gpu)?;
        (0..times).try_for_each(|_| self.submit(pass, Some(&mut profile)))?;
        Ok(profile.times())
    }
}
