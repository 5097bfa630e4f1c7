//! The runs, and what is kept of them.

use crate::{
    data::{DataSource, Dataset},
    experiments::{ExperimentError, width_net::Net},
    gpu::Gpu,
    noise::Mode,
    train::{
        Control, EvalEvery, Prepared, RunConfig, Status, TrainError, TrainEval, Trainer, Validation, run as train,
    },
};

use super::{
    judge::choose,
    measurements::{Family, Level, Measurements, Point, Score, Tested, Tuned},
    settings::{Depth, LevelSettings, MODES, NOISY, Settings, WidthSettings},
};

/// Seeds of tuning runs are those from here on: others than those of the runs that are tested.
const FIRST_TUNING_SEED: u64 = 1_000_000;

/// Everything, level by level and then width by width.
pub(super) fn measure(
    gpu: &Gpu,
    settings: &Settings,
    progress: &mut dyn FnMut(f64, &str) -> Result<(), ExperimentError>,
) -> Result<Measurements, ExperimentError> {
    let source: DataSource = settings.train.data.parse().map_err(TrainError::from)?;
    let data = source.load()?.train;
    let mut bench = Bench { gpu, train: &settings.train, data, work: Work::new(settings), progress };
    let levels = settings.levels.label_noise.iter().map(|share| level(&mut bench, &settings.levels, *share));
    let levels = levels.collect::<Result<_, _>>()?;
    let families = settings.widths.depths.iter().map(|depth| family(&mut bench, &settings.widths, depth));
    let families = families.collect::<Result<_, _>>()?;
    Ok(Measurements { classes: bench.data.targets.outputs(), levels, families })
}

/// Where runs are made, and who hears of their progress.
struct Bench<'a> {
    gpu: &'a Gpu,
    train: &'a RunConfig,
    /// For their shape.
    data: Dataset,
    work: Work,
    progress: &'a mut dyn FnMut(f64, &str) -> Result<(), ExperimentError>,
}

/// How much is to do and done, in weights.
struct Work {
    total: f64,
    done: f64,
}

/// About what a run costs: its weights, and what it costs however few they are.
fn cost(net: &Net, width: usize) -> f64 {
    const LEAST: f64 = 5e4;
    const ENDS: usize = 74;
    LEAST + (net.hidden.saturating_sub(1) * width * width + ENDS * width) as f64
}

impl Work {
    fn new(settings: &Settings) -> Self {
        let LevelSettings { label_noise, net, sigmas, tuning_seeds, seeds, .. } = &settings.levels;
        let runs = *tuning_seeds as usize * sigmas.len() * NOISY.len() + *seeds as usize * MODES.len();
        let level = net.widths.first().map_or(0.0, |width| cost(net, *width) * runs as f64);
        let widths =
            settings.widths.depths.iter().flat_map(|depth| depth.net.widths.iter().map(|at| cost(&depth.net, *at)));
        let runs = settings.widths.seeds as usize * MODES.len();
        Self { total: level * label_noise.len() as f64 + widths.sum::<f64>() * runs as f64, done: 0.0 }
    }
}

/// What the runs of one seed have in common.
pub(super) struct Trial {
    config: RunConfig,
    pub(super) data: Prepared,
}

/// What they differ in.
#[derive(Clone, Copy)]
struct Noise {
    mode: Mode,
    sigma: f64,
}

impl Trial {
    /// The data of a seed, with `apart` images kept apart.
    pub(super) fn new(
        train: &RunConfig,
        label_noise: f64,
        apart: Option<usize>,
        seed: u64,
    ) -> Result<Self, ExperimentError> {
        let config = RunConfig {
            seed,
            subset_seed: seed,
            label_noise,
            subset: train.subset.map(|images| images + apart.unwrap_or(0)),
            validation: apart.map(Validation::Samples),
            // One evaluation, after the last step.
            eval_every: EvalEvery::Epochs(train.epochs.max(1)),
            train_eval: TrainEval::None,
            log_every: 0,
            ..train.clone()
        };
        Ok(Self { data: Prepared::load(&config)?, config })
    }

    /// The same, with the images kept apart in the place of the test set, which is gone.
    pub(super) fn blind(mut self) -> Self {
        if let Some(apart) = self.data.validation.take() {
            self.data.split.test = apart;
        }
        self
    }
}

impl Bench<'_> {
    /// The configuration of every run of a network.
    fn train(&self, net: &Net, width: usize) -> Result<RunConfig, ExperimentError> {
        Ok(RunConfig { model: net.model(&self.data, width)?.description, ..self.train.clone() })
    }

    /// How a run ends; `None` where it diverges.
    fn score(&mut self, trial: &Trial, noise: Noise, cost: f64) -> Result<Option<Score>, ExperimentError> {
        let Noise { mode, sigma } = noise;
        let config = RunConfig { noise: mode, sigma, ..trial.config.clone() };
        let label = format!("{}, {:.0} % label noise, {mode}", config.model, 100.0 * config.label_noise);
        (self.progress)(self.work.done / self.work.total, &label)?;
        let mut trainer = Trainer::new(self.gpu, &config, &trial.data)?;
        let result = train(&mut trainer, &config, None, &mut |_| Ok(Control::Continue))?;
        self.work.done += cost;
        let end = result.epochs.last().filter(|_| result.status == Status::Finished);
        let score = end.and_then(|end| Some((end.scores.test_accuracy?, end.scores.test_loss?)));
        Ok(score.filter(|(_, loss)| loss.is_finite()).map(|(accuracy, loss)| Score { accuracy, loss }))
    }
}

/// One share of replaced labels: sigmas are chosen, and then each mode is tested with its own.
fn level(bench: &mut Bench<'_>, settings: &LevelSettings, label_noise: f64) -> Result<Level, ExperimentError> {
    let net = &settings.net;
    let width = net.widths.first().copied().unwrap_or(1);
    let (train, cost) = (bench.train(net, width)?, cost(net, width));
    let trial = |seed| Trial::new(&train, label_noise, Some(settings.validation), seed);
    let arm =
        |mode: Mode| settings.sigmas.iter().map(move |sigma| Tuned { mode, sigma: *sigma, validation: Vec::new() });
    let mut tuned: Vec<Tuned> = NOISY.into_iter().flat_map(arm).collect();
    for seed in FIRST_TUNING_SEED..FIRST_TUNING_SEED + settings.tuning_seeds {
        let trial = trial(seed)?.blind();
        for Tuned { mode, sigma, validation } in &mut tuned {
            validation.push(bench.score(&trial, Noise { mode: *mode, sigma: *sigma }, cost)?);
        }
    }
    // Where every sigma diverges the smallest is as good a choice as any.
    let smallest = settings.sigmas.iter().copied().fold(f64::INFINITY, f64::min);
    let sigma = |mode| if mode == Mode::None { 0.0 } else { choose(&tuned, mode).unwrap_or(smallest) };
    let mut tested = MODES.map(|mode| Tested { mode, sigma: sigma(mode), test: Vec::new() }).to_vec();
    for seed in 0..settings.seeds {
        let trial = trial(seed)?;
        for Tested { mode, sigma, test } in &mut tested {
            test.push(bench.score(&trial, Noise { mode: *mode, sigma: *sigma }, cost)?);
        }
    }
    Ok(Level { label_noise, tuned, tested })
}

/// Networks of one depth, width by width.
fn family(bench: &mut Bench<'_>, settings: &WidthSettings, depth: &Depth) -> Result<Family, ExperimentError> {
    let Depth { sigma, net } = depth;
    let mut points = Vec::new();
    for width in net.widths.iter().copied() {
        let train = bench.train(net, width)?;
        let sigma = |mode| if mode == Mode::None { 0.0 } else { *sigma };
        let mut tested = MODES.map(|mode| Tested { mode, sigma: sigma(mode), test: Vec::new() });
        for seed in 0..settings.seeds {
            let trial = Trial::new(&train, settings.label_noise, None, seed)?;
            for Tested { mode, sigma, test } in &mut tested {
                test.push(bench.score(&trial, Noise { mode: *mode, sigma: *sigma }, cost(net, width))?);
            }
        }
        points.extend(tested.map(|tested| Point { width, tested }));
    }
    Ok(Family { label: net.label.clone(), label_noise: settings.label_noise, sigma: *sigma, points })
}
