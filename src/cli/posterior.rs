//! The mean of predictions over draws of weights, in `jostle eval`.

use std::sync::Arc;

use jostle::{
    data::Dataset,
    gpu::Gpu,
    noise::{Mode, Scheme},
    schedule::Moment,
    train::{
        Evaluator, Network, NoisePosterior, Posterior, PosteriorOf, Prepared, RunConfig, Scored, TrainError,
        has_quality,
    },
};
use serde::Serialize;

use super::{CliError, eval::Args};

/// The file of a moving average, beside that of the weights.
const AVERAGE: &str = "weights-average.safetensors";

/// What is to be averaged.
pub(super) struct Averaging<'a> {
    args: &'a Args,
    config: &'a RunConfig,
    draws: u32,
}

/// What the mean of the probabilities scores.
#[derive(Serialize)]
pub(super) struct Averaged {
    /// Whose draws.
    of: PosteriorOf,
    draws: u32,
    #[serde(flatten)]
    pub(super) scored: Scored,
}

impl Averaged {
    /// What it is, for people.
    pub(super) fn title(&self) -> String {
        match (self.of, self.draws) {
            (PosteriorOf::Ema, _) => "average of weights".to_owned(),
            (PosteriorOf::Noise, 1) => "one draw of noise".to_owned(),
            (PosteriorOf::Noise, draws) => format!("mean of the probabilities over {draws} draws of noise"),
        }
    }
}

impl<'a> Averaging<'a> {
    /// As the command line says, if it does.
    ///
    /// # Errors
    /// [`CliError::Usage`] for no draws, and where there is nothing to draw from.
    pub(super) fn new(args: &'a Args, config: &'a RunConfig) -> Result<Option<Self>, CliError> {
        let wrong = |reason: String| Err(CliError::Usage(format!("--posterior: {reason}")));
        let Some(draws) = args.posterior else { return Ok(None) };
        match (draws, args.posterior_of) {
            (0, _) => return wrong("expected at least 1 draw, found 0".to_owned()),
            (1, PosteriorOf::Ema) => {}
            (_, PosteriorOf::Ema) => {
                return wrong(format!("the moving average is one point: expected 1 draw, found {draws}"));
            }
            (_, PosteriorOf::Noise) => {
                if config.noise == Mode::None {
                    return wrong("noise none has no draws: give --noise all, layer or model".to_owned());
                }
                if config.noise_config().sigma_at(Moment::START) == 0.0 {
                    return wrong("noise of sigma 0 has no draws".to_owned());
                }
            }
        }
        Ok(Some(Self { args, config, draws }))
    }

    /// Whether there are probabilities to average.
    ///
    /// # Errors
    /// [`CliError::Usage`] where there are none, or too many.
    pub(super) fn check(&self, prepared: &Prepared, data: &Dataset) -> Result<(), CliError> {
        if has_quality(&prepared.model, data, &*prepared.loss) {
            return Ok(());
        }
        let reason = if prepared.loss.outputs_are_logits() {
            format!("the outputs over {} are too many to be averaged: give a smaller --eval-windows", data.name)
        } else {
            format!("loss {} has no probabilities of classes to average", prepared.loss.name())
        };
        Err(CliError::Usage(format!("--posterior: {reason}")))
    }

    /// Scores the mean, with batch norms' statistics estimated at each draw where that was asked for.
    ///
    /// # Errors
    /// Those of the device and of the average's file.
    pub(super) fn score(
        self,
        gpu: &Gpu,
        network: &Network<'_>,
        evaluator: &Evaluator,
        prepared: &Prepared,
    ) -> Result<Averaged, CliError> {
        let Self { args, config, draws } = self;
        let of = args.posterior_of;
        let posterior: Box<dyn Posterior> = match of {
            PosteriorOf::Ema => Box::new(network.average(&args.weights.with_file_name(AVERAGE))?),
            PosteriorOf::Noise => {
                let (model, layout) = (network.model(), network.arena().layout.clone());
                let tensors = model.noise_tensors();
                let scheme = Scheme::new(config.noise_config(), &layout, &tensors, args.posterior_seed);
                Box::new(NoisePosterior::new(gpu, network.arena(), Arc::new(scheme), Moment::START)?)
            }
        };
        let anew = config.bn_recalibrate || of == PosteriorOf::Ema;
        let statistics = if anew { network.statistics(config, &prepared.split.train)? } else { None };
        let recalibration = statistics.as_ref().map(|statistics| statistics.recalibration());
        let scored = evaluator.score_mean(gpu, &*posterior, draws, recalibration)?;
        let none = || TrainError::Config { key: "posterior".to_owned(), reason: "nothing to average".to_owned() };
        Ok(Averaged { of, draws, scored: scored.ok_or_else(none)? })
    }
}
