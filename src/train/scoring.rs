//! What is measured of a network in training: losses, accuracies, norms, traces of curvature.

use crate::{
    analysis::{
        AnalysisError, Curvature, CurvatureProduct, GroupTrace, Spectrum, SpectrumOptions, Subject, TraceEstimate,
        TraceOptions, grouped_trace, hessian_trace, spectrum,
    },
    gpu::{Gpu, GpuError, Recorder},
    noise::{Grouping, NoisePart, Point, StepNoise},
    rules::Effective,
};

use super::{
    DeviceData, Evaluation, Evaluator, Posterior, Recalibration, Scored, Scores, TrainError, Trainer,
    average::Average,
    evaluate::{SetWeights, set},
    evaluators::Evaluators,
};

/// Traces of curvature matrices of the training loss at the clean weights.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Traces {
    /// Of the Hessian.
    pub hessian: TraceEstimate,
    /// Of its Gauss-Newton part.
    pub gauss_newton: TraceEstimate,
    /// The shares of groups of weights, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupCurvature>,
}

/// What was measured of the curvature along the weights of a group.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct GroupCurvature {
    /// Its block's name, or its parts' names.
    pub name: String,
    /// Names of its parts: parameters, or projections that they pack.
    pub parts: Vec<String>,
    /// Of the Hessian.
    pub hessian: GroupTrace,
    /// Of its Gauss-Newton part.
    pub gauss_newton: GroupTrace,
}

impl Traces {
    /// Of a network and its loss, whatever matrix the options name, with the shares of some groups of its weights.
    ///
    /// # Errors
    /// Those of the device.
    pub(super) fn measure(
        gpu: &Gpu,
        subject: &Subject<'_>,
        options: TraceOptions,
        groups: &[Vec<NoisePart>],
    ) -> Result<Self, AnalysisError> {
        let trace = |curvature| grouped_trace(gpu, subject, TraceOptions { curvature, ..options }, groups);
        let (hessian, of_hessian) = trace(Curvature::Hessian)?;
        let (gauss_newton, of_gauss_newton) = trace(Curvature::GaussNewton)?;
        let group = |(group, (hessian, gauss_newton)): (&Vec<NoisePart>, (GroupTrace, GroupTrace))| GroupCurvature {
            name: subject.model.group_name(group),
            parts: group.iter().map(|part| subject.model.part_name(part)).collect(),
            hessian,
            gauss_newton,
        };
        let groups = groups.iter().zip(of_hessian.into_iter().zip(of_gauss_newton)).map(group).collect();
        Ok(Self { hessian, gauss_newton, groups })
    }
}

impl Trainer<'_> {
    /// Re-estimates the running statistics of batch norms at the clean weights, where the configuration says so.
    ///
    /// # Errors
    /// Those of the device.
    pub fn recalibrate(&self) -> Result<(), GpuError> {
        let Some(calibration) = &self.calibration else { return Ok(()) };
        self.now_holds(Effective::Other);
        calibration.run(self.gpu(), &self.data, self.epoch as u32)?;
        self.now_holds(Effective::At(Point::Clean));
        Ok(())
    }

    /// Loss and accuracy at the clean weights; over the test data only with `test`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn scores(&self, test: bool) -> Result<Scores, GpuError> {
        self.scores_at_point(test, Point::Clean)
    }

    /// Loss and accuracy at the moving average of the weights, where it is kept, with the running statistics of the
    /// weights themselves; over the test data only with `test`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn average_scores(&self, test: bool) -> Result<Option<Scores>, GpuError> {
        let scores = |average: &Average| self.scores_at(test, Effective::Other, &set(&average.effective));
        self.average.as_ref().map(scores).transpose()
    }

    /// Loss and accuracy at weights with this noise; over the test data only with `test`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn noisy_scores(&self, test: bool, noise: &StepNoise) -> Result<Scores, GpuError> {
        self.scores_at_point(test, noise.clone().into())
    }

    fn scores_at_point(&self, test: bool, point: Point) -> Result<Scores, GpuError> {
        let put = |recorder: &mut Recorder<'_>| self.machine.put(self.gpu(), recorder, &point);
        self.scores_at(test, Effective::At(point.clone()), &put)
    }

    /// Scores the weights that `set` leaves in `weights_eff`, which are `effective`.
    fn scores_at(&self, test: bool, effective: Effective, set: &SetWeights<'_>) -> Result<Scores, GpuError> {
        self.now_holds(Effective::Other);
        let score = |evaluator: &Evaluator| evaluator.evaluate_at(self.gpu(), set);
        let Evaluators { train, validation, test: test_data } = &self.evaluators;
        let scores = Scores::new(
            train.as_ref().map(score).transpose()?,
            validation.as_ref().map(score).transpose()?,
            test.then(|| score(test_data)).transpose()?,
        );
        if train.is_some() || validation.is_some() || test {
            self.now_holds(effective);
        }
        Ok(scores)
    }

    /// Loss and accuracy on the test data, clean weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn evaluate_test(&self) -> Result<Evaluation, GpuError> {
        self.now_holds(Effective::Other);
        let evaluation = self.evaluators.test.evaluate(self.gpu())?;
        self.now_holds(Effective::At(Point::Clean));
        Ok(evaluation)
    }

    /// As [`Trainer::evaluate_test`], with the quality of the predictions where there is one, for which it reads the outputs back.
    ///
    /// # Errors
    /// Those of the device.
    pub fn score_test(&self) -> Result<Scored, GpuError> {
        self.now_holds(Effective::Other);
        let scored = self.evaluators.test.score(self.gpu())?;
        self.now_holds(Effective::At(Point::Clean));
        Ok(scored)
    }

    /// Scores the test data by the mean of the probabilities over draws of a posterior, as [`Evaluator::score_mean`]; with batch
    /// norms' statistics estimated anew at each draw where the configuration says so.
    ///
    /// # Errors
    /// As [`Evaluator::score_mean`].
    pub fn score_mean(&self, posterior: &dyn Posterior, draws: u32) -> Result<Option<Scored>, GpuError> {
        self.now_holds(Effective::Other);
        self.evaluators.test.score_mean(self.gpu(), posterior, draws, self.recalibration())
    }

    /// What estimates batch norms' statistics anew, where the configuration says so.
    #[must_use]
    pub fn recalibration(&self) -> Option<Recalibration<'_>> {
        let calibration = self.calibration.as_ref()?;
        Some(Recalibration { calibration, data: &self.data, epoch: self.epoch as u32 })
    }

    /// The trace of the Hessian of the loss over `data`, or over the training data as they are, at the clean weights.
    ///
    /// # Errors
    /// As [`hessian_trace`], and as [`DeviceData::new`] where the training data are not on the device as they are.
    pub fn hessian_trace(&self, data: Option<&DeviceData>, options: TraceOptions) -> Result<TraceEstimate, TrainError> {
        self.over(data, |subject| Ok(hessian_trace(self.gpu(), subject, options)?))
    }

    /// The product of the Hessian of the training loss, at the clean weights and over the data as they are, with a direction
    /// laid out as the weights.
    ///
    /// # Errors
    /// As [`Trainer::hessian_trace`]; [`GpuError::Length`] for a direction of another length.
    pub fn hessian_product(&self, direction: &[f32]) -> Result<Vec<f64>, TrainError> {
        let data = self.undisturbed_data()?;
        self.with_subject(&data, |subject| {
            Ok(CurvatureProduct::new(self.gpu(), subject, Curvature::Hessian)?.apply(direction)?)
        })
    }

    /// Measures the network and its loss over `data`, or over the training data as they are.
    fn over<T>(
        &self,
        data: Option<&DeviceData>,
        measure: impl FnOnce(&Subject<'_>) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let scored = self.evaluators.train.as_ref().map(Evaluator::data);
        match data.or(scored.filter(|data| data.len() == self.samples())) {
            Some(data) => self.with_subject(data, measure),
            None => self.with_subject(&self.undisturbed_data()?, measure),
        }
    }

    /// The training data as they are, without augmentation.
    fn undisturbed_data(&self) -> Result<DeviceData, TrainError> {
        let train = self.data.dataset().clone();
        let batch = Evaluator::batch(&self.model, train.len());
        Ok(DeviceData::new(self.gpu(), train, batch, &self.normalisation)?)
    }

    /// Measures the network and its loss over `data`.
    fn with_subject<T>(
        &self,
        data: &DeviceData,
        measure: impl FnOnce(&Subject<'_>) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        self.now_holds(Effective::Other);
        let arena = self.arena.in_f32(self.gpu())?;
        let subject = Subject {
            model: &self.model,
            arena: &arena,
            loss: self.loss.clone(),
            label_smoothing: self.label_smoothing,
            data,
        };
        measure(&subject)
    }

    /// The traces of the Hessian and of its Gauss-Newton part, as [`Trainer::hessian_trace`].
    ///
    /// Probes are of the run's seed: over seeds their error averages out, and runs of one seed, which are compared with each
    /// other, share it.
    ///
    /// # Errors
    /// As [`Trainer::hessian_trace`].
    pub fn traces(&self, data: Option<&DeviceData>, probes: u32) -> Result<Traces, TrainError> {
        self.grouped_traces(data, probes, None)
    }

    /// The same with the shares of groups of weights, which need not be those of the run's noise.
    ///
    /// # Errors
    /// As [`Trainer::hessian_trace`].
    pub fn grouped_traces(
        &self,
        data: Option<&DeviceData>,
        probes: u32,
        grouping: Option<Grouping>,
    ) -> Result<Traces, TrainError> {
        let options = TraceOptions::default();
        let options = TraceOptions { probes, seed: options.seed ^ self.seed(), ..options };
        let groups = grouping
            .map_or(Vec::new(), |grouping| grouping.groups(&self.model.graph.layout(), &self.model.noise_tensors()));
        self.over(data, |subject| Ok(Traces::measure(self.gpu(), subject, options, &groups)?))
    }

    /// The spectrum of a curvature matrix of the loss, as [`Trainer::hessian_trace`].
    ///
    /// # Errors
    /// As [`Trainer::hessian_trace`].
    pub fn spectrum(&self, data: Option<&DeviceData>, options: SpectrumOptions) -> Result<Spectrum, TrainError> {
        self.over(data, |subject| Ok(spectrum(self.gpu(), subject, options)?))
    }

    /// (L1, L2) norm of the clean weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn norms(&self) -> Result<(f64, f64), GpuError> {
        self.norms.read(self.gpu())
    }
}
