//! The mean of predictions over draws of weights, in `jostle eval`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jostle::{
    data::Dataset,
    gpu::Gpu,
    noise::{Mode, Scheme},
    rules::RuleKind,
    schedule::Moment,
    train::{
        Evaluator, Gaussian, GaussianPosterior, Network, NoisePosterior, POSTERIOR, Posterior, PosteriorOf, Prepared,
        RunConfig, Scored, TrainError, has_quality,
    },
};
use serde::Serialize;

use super::CliError;

/// The file of a moving average, beside that of the weights.
const AVERAGE: &str = "weights-average.safetensors";

/// Options of `jostle eval` on draws of weights.
#[derive(Debug, clap::Args)]
pub(super) struct PosteriorArgs {
    /// Score the mean of the probabilities over so many draws of weights too
    #[arg(long, value_name = "DRAWS")]
    posterior: Option<u32>,
    /// Whose draws: noise for the configuration's on these weights, at its full sigma; ema for the moving average in
    /// weights-average.safetensors beside them, which is one point; swag or ivon for what the rule left. Batch norms'
    /// statistics are estimated at each draw of ema and swag. By default that of the configuration's rule, else noise
    #[arg(long, value_name = "WHOSE", requires = "posterior")]
    posterior_of: Option<PosteriorOf>,
    /// What rule swag or ivon left; by default posterior.safetensors beside the weights
    #[arg(long, value_name = "FILE.safetensors", requires = "posterior")]
    posterior_file: Option<PathBuf>,
    /// Seed of the draws, apart from the seed of a run
    #[arg(long, value_name = "SEED", default_value_t = 0x9057, requires = "posterior")]
    posterior_seed: u64,
}

/// What is to be averaged.
pub(super) struct Averaging<'a> {
    args: &'a PosteriorArgs,
    config: &'a RunConfig,
    kind: PosteriorOf,
    draws: u32,
}

/// What the mean of the probabilities scores.
#[derive(Serialize)]
pub(super) struct Averaged {
    /// Whose draws.
    kind: PosteriorOf,
    draws: u32,
    #[serde(flatten)]
    pub(super) scored: Scored,
}

impl Averaged {
    /// What it is, for people.
    pub(super) fn title(&self) -> String {
        match (self.kind, self.draws) {
            (PosteriorOf::Ema, _) => "average of weights".to_owned(),
            (PosteriorOf::Noise, 1) => "one draw of noise".to_owned(),
            (PosteriorOf::Noise, draws) => format!("mean of the probabilities over {draws} draws of noise"),
            (kind, 1) => format!("one draw of {kind}"),
            (kind, draws) => format!("mean of the probabilities over {draws} draws of {kind}"),
        }
    }
}

impl<'a> Averaging<'a> {
    /// As the command line says, if it does.
    ///
    /// # Errors
    /// [`CliError::Usage`] for no draws, and where there is nothing to draw from.
    pub(super) fn new(args: &'a PosteriorArgs, config: &'a RunConfig) -> Result<Option<Self>, CliError> {
        let wrong = |reason: String| Err(CliError::Usage(format!("--posterior: {reason}")));
        let Some(draws) = args.posterior else { return Ok(None) };
        let kind = args.posterior_of.unwrap_or(match config.rule {
            RuleKind::Swag => PosteriorOf::Swag,
            RuleKind::Ivon => PosteriorOf::Ivon,
            _ => PosteriorOf::Noise,
        });
        match (draws, kind) {
            (0, _) => return wrong("expected at least 1 draw, found 0".to_owned()),
            (1, PosteriorOf::Ema) | (_, PosteriorOf::Swag | PosteriorOf::Ivon) => {}
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
        Ok(Some(Self { args, config, kind, draws }))
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
            format!("the outputs over {} are more than 2^25, too many to be averaged", data.name)
        } else {
            format!("loss {} has no probabilities of classes to average", prepared.loss.name())
        };
        Err(CliError::Usage(format!("--posterior: {reason}")))
    }

    /// Scores the mean at the weights of this file, which the network has, with batch norms' statistics estimated at each draw where that was asked for.
    ///
    /// # Errors
    /// Those of the device and of the average's file.
    pub(super) fn score(
        self,
        gpu: &Gpu,
        network: &Network<'_>,
        evaluator: &Evaluator,
        (prepared, weights): (&Prepared, &Path),
    ) -> Result<Averaged, CliError> {
        let Self { args, config, kind, draws } = self;
        let posterior: Box<dyn Posterior> = match kind {
            PosteriorOf::Ema => Box::new(network.average(&weights.with_file_name(AVERAGE))?),
            PosteriorOf::Swag | PosteriorOf::Ivon => Box::new(self.gaussian(gpu, network, weights)?),
            PosteriorOf::Noise => {
                let (model, layout) = (network.model(), network.arena().layout.clone());
                let tensors = model.noise_tensors();
                let scheme = Scheme::new(config.noise_config(), &layout, &tensors, args.posterior_seed);
                Box::new(NoisePosterior::new(gpu, network.arena(), Arc::new(scheme), Moment::START)?)
            }
        };
        let anew = config.bn_recalibrate || matches!(kind, PosteriorOf::Ema | PosteriorOf::Swag);
        let statistics = if anew { network.statistics(config, &prepared.split.train)? } else { None };
        let recalibration = statistics.as_ref().map(|statistics| statistics.recalibration());
        let scored = evaluator.score_mean(gpu, &*posterior, draws, recalibration)?;
        let none = || TrainError::Config { key: "posterior".to_owned(), reason: "nothing to average".to_owned() };
        Ok(Averaged { kind, draws, scored: scored.ok_or_else(none)? })
    }

    /// What the rule left.
    fn gaussian(&self, gpu: &Gpu, network: &Network<'_>, weights: &Path) -> Result<GaussianPosterior, CliError> {
        let path = self.args.posterior_file.clone().unwrap_or_else(|| weights.with_file_name(POSTERIOR));
        let gaussian = Gaussian::read(&path, network.model())?;
        if gaussian.rule().name() != self.kind.name() {
            let (path, found, expected) = (path.display(), gaussian.rule(), self.kind);
            return Err(CliError::Usage(format!("--posterior-of: {path} is of rule {found}, expected {expected}")));
        }
        Ok(GaussianPosterior::new(gpu, network.arena(), gaussian, self.args.posterior_seed)?)
    }
}
