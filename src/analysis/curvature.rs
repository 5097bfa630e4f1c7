//! Exact products of a direction with the Hessian of the mean loss, or with its Gauss-Newton part.

use std::sync::Arc;

use crate::{
    device_data::DeviceData,
    gpu::{Element, Gpu, GpuError},
    graph::{BatchInfo, GraphError, LossFunction, Plan, PlanMode, Schedule, TangentArenas},
    kernels::Arena,
    nn::Model,
};

/// A measurement that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The model's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// A network and the data that its loss is taken over.
pub struct Subject<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its weights; `weights_eff` is overwritten with the clean ones.
    pub arena: &'a Arena,
    /// The loss.
    pub loss: Arc<dyn LossFunction>,
    /// Share of each target that is spread over all classes.
    pub label_smoothing: f32,
    /// The data on the device.
    pub data: &'a DeviceData,
}

impl Subject<'_> {
    /// Terms of the mean loss.
    pub(super) fn terms(&self) -> f64 {
        (self.data.len() * self.model.positions()) as f64
    }
}

/// Which matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curvature {
    /// The Hessian of the mean loss by the weights. ReLU counts with second derivative 0.
    #[default]
    Hessian,
    /// J' (d2 loss / d outputs2) J: what is left where the network is linear in its weights.
    GaussNewton,
}

/// Most samples of one batch of a product: what is kept grows with it.
const BATCH: usize = 512;

/// Words of the largest tensor of such a batch: 16 MiB.
const TENSOR_WORDS: usize = 1 << 22;

/// Products at the clean weights, over all samples.
///
/// Forward-over-reverse on the device in f32 (see `graph/tangent.rs`); the sum over batches on the host in f64.
pub struct CurvatureProduct<'a> {
    gpu: &'a Gpu,
    subject: &'a Subject<'a>,
    plan: Plan,
    tangents: TangentArenas,
    batch: usize,
}

impl<'a> CurvatureProduct<'a> {
    /// Plans the products and puts the clean weights into `weights_eff`.
    ///
    /// # Errors
    /// Those of the model and the device.
    pub fn new(gpu: &'a Gpu, subject: &'a Subject<'a>, curvature: Curvature) -> Result<Self, AnalysisError> {
        let arena = subject.arena;
        let words = arena.layout.words();
        let tangents =
            TangentArenas { direction: gpu.buffer("direction", words)?, product: gpu.buffer("product", words)? };
        let mode = match curvature {
            Curvature::Hessian => PlanMode::HessianProduct,
            Curvature::GaussNewton => PlanMode::GaussNewtonProduct,
        };
        let most = BATCH.min(subject.data.len()).min(subject.data.capacity());
        let batch = subject.model.graph.batch_within(most, TENSOR_WORDS);
        let graph = &subject.model.graph;
        let schedule = Schedule::suited(graph, batch, mode, subject.loss.clone(), Element::Word, gpu)?;
        let metrics = gpu.buffer("unread metrics", 2)?;
        let plan = Plan::with_tangents(gpu, &schedule, arena, Some(&tangents), subject.data.views(), &metrics.view())?;
        let mut recorder = gpu.record();
        recorder.copy(&arena.weights.view(), &arena.weights_eff.view());
        recorder.submit()?;
        Ok(Self { gpu, subject, plan, tangents, batch })
    }

    /// Elements of a direction: the arena with its padding, which has to be 0.
    #[must_use]
    pub fn words(&self) -> usize {
        self.subject.arena.layout.words()
    }

    /// The product with `direction` [`words`](Self::words), of the same shape.
    ///
    /// # Errors
    /// Those of the device; [`GpuError::Length`] for a direction of another length.
    pub fn apply(&self, direction: &[f32]) -> Result<Vec<f64>, GpuError> {
        let Self { gpu, subject, .. } = self;
        gpu.write(&self.tangents.direction.view(), direction)?;
        let mut sum = vec![0.0; self.words()];
        for batch in subject.data.batches(gpu, self.batch) {
            let mut batch = BatchInfo { slot: 0, ..batch? };
            batch.terms.label_smoothing = subject.label_smoothing;
            let mut recorder = gpu.record();
            self.plan.record(&mut recorder, batch);
            recorder.submit()?;
            let share = f64::from(batch.valid) / subject.data.len() as f64;
            let product: Vec<f32> = gpu.read(&self.tangents.product.view())?;
            sum.iter_mut().zip(product).for_each(|(sum, p)| *sum += share * f64::from(p));
        }
        Ok(sum)
    }
}
