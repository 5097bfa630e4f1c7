//! The training counterpart of variance over the width: the same sigma and step size at every width.

use serde::{Deserialize, Serialize};

use crate::{
    gpu::Gpu,
    noise::{Grouping, Mode},
    ops::Loss,
    report::{AxisScale, Figure, MeanSd, Panel, Series, SeriesPoint, Table},
    train::{Control, EpochRecord, Prepared, RunConfig, Status, Trainer, run as train},
};

use super::{
    Bar, Claim, ExperimentError, Measured, Verdict,
    numbers::{self, short},
    statistics::{CONFIDENCE, Uncertain},
    width_net::{Net, initialise},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    net: Net,
    /// Standard deviation of the noise.
    sigma: f64,
    /// Step size of plain gradient descent on minibatches.
    lr: f64,
    steps: u64,
    batch: usize,
    /// Runs of each width and mode.
    seeds: u64,
    /// `layer` at the widest ends at most this many times where it ends at the narrowest.
    stays: f64,
    /// `all` at the widest ends at least this many times where `layer` does.
    degrades: f64,
}

/// How the runs of one width and mode ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Trained {
    width: usize,
    mode: Mode,
    /// At the clean weights; NaN (null in a file) where the run diverged.
    #[serde(deserialize_with = "numbers::or_nan")]
    train_loss: Vec<f64>,
    #[serde(deserialize_with = "numbers::or_nan")]
    test_loss: Vec<f64>,
}

const MODES: [Mode; 4] = [Mode::None, Mode::Model, Mode::All, Mode::Layer];

/// Trains every width in every mode.
pub(super) fn run(
    gpu: &Gpu,
    settings: &Settings,
    progress: &mut dyn FnMut(f64) -> Result<(), ExperimentError>,
) -> Result<Vec<Trained>, ExperimentError> {
    let total = settings.net.widths.iter().sum::<usize>().max(1) as f64;
    let mut done = 0.0;
    let mut trained = Vec::new();
    for width in &settings.net.widths {
        for mode in MODES {
            let ends: Vec<Option<EpochRecord>> =
                (0..settings.seeds).map(|seed| one(gpu, settings, *width, mode, seed)).collect::<Result<_, _>>()?;
            let losses = |loss: fn(&EpochRecord) -> Option<f64>| {
                ends.iter().map(|end| end.and_then(|end| loss(&end)).unwrap_or(f64::NAN)).collect()
            };
            let (train_loss, test_loss) = (losses(|end| end.scores.train_loss), losses(|end| end.scores.test_loss));
            trained.push(Trained { width: *width, mode, train_loss, test_loss });
            done += *width as f64 / MODES.len() as f64;
            progress(done / total)?;
        }
    }
    Ok(trained)
}

/// The last epoch of a run; `None` if it diverged.
fn one(
    gpu: &Gpu,
    settings: &Settings,
    width: usize,
    noise: Mode,
    seed: u64,
) -> Result<Option<EpochRecord>, ExperimentError> {
    let mut config = RunConfig {
        loss: Loss::Mse,
        noise,
        sigma: settings.sigma,
        groups: Grouping::Weights,
        lr: settings.lr,
        momentum: 0.0,
        weight_decay: 0.0,
        steps: Some(settings.steps),
        batch: settings.batch,
        seed,
        log_every: 0,
        ..RunConfig::default()
    };
    let data = crate::data::DataSource::Digits.load()?;
    config.model = settings.net.model(&data.train, width)?.description;
    let prepared = Prepared::load(&config)?;
    let mut trainer = Trainer::new(gpu, &config, &prepared)?;
    initialise(gpu, &trainer.model, &trainer.arena, width, seed)?;
    let result = train(&mut trainer, &config, None, &mut |_| Ok(Control::Continue))?;
    let finished = result.status == Status::Finished;
    Ok(result.epochs.last().copied().filter(|end| finished && end.scores.train_loss.is_some_and(f64::is_finite)))
}

/// The losses of all runs.
type Losses = fn(&Trained) -> &[f64];

const LOSSES: [(&str, Losses); 2] = [("train", |trained| &trained.train_loss), ("test", |trained| &trained.test_loss)];

/// The claims. A pure function: the device is not asked again.
pub(super) fn judge(trained: &[Trained], settings: &Settings) -> Vec<Claim> {
    let (Some(narrowest), Some(widest)) = (settings.net.widths.iter().min(), settings.net.widths.iter().max()) else {
        return Vec::new();
    };
    let mut claims = Vec::new();
    for (name, quantity) in LOSSES {
        let at = |width: usize, mode: Mode| {
            let found = trained.iter().find(|arm| arm.width == width && arm.mode == mode);
            found.map_or(&[][..], quantity)
        };
        let (narrow, wide) = (at(*narrowest, Mode::Layer), at(*widest, Mode::Layer));
        let statement = format!("training, layer: final {name} loss at width {widest} over that at width {narrowest}");
        let stays = Claim::new(
            format!("training.layer.{name}"),
            statement,
            if narrowest == widest {
                Measured::nothing("one width is not compared with itself")
            } else {
                quotient(wide, narrow)
            },
            Bar::AtMost(settings.stays),
        )
        .essential()
        .more_by("training.seeds", wide.len());
        claims.push(match diverged(wide) {
            0 => stays,
            count => stays.ruled(Verdict::Fails, format!("{count} of {} runs diverged", wide.len())),
        });
        let all = at(*widest, Mode::All);
        let statement = format!("training, all: final {name} loss at width {widest} over that of layer");
        claims.push(degrades(
            Claim::new(format!("training.all.{name}"), statement, quotient(all, wide), Bar::AtLeast(settings.degrades)),
            all,
            wide,
        ));
    }
    claims
}

fn diverged(losses: &[f64]) -> usize {
    losses.iter().filter(|loss| !loss.is_finite()).count()
}

/// A run of mode all that diverged is worse than any that did not: left out, it makes the quotient smaller.
fn degrades(claim: Claim, all: &[f64], layer: &[f64]) -> Claim {
    let claim = claim.essential().more_by("training.seeds", all.len());
    match diverged(all) {
        0 => claim,
        count if count == all.len() && count > 1 && diverged(layer) == 0 => {
            claim.ruled(Verdict::Holds, format!("all {count} runs of mode all diverged, none of mode layer"))
        }
        _ => {
            let finite: Vec<f64> = all.iter().copied().filter(|loss| loss.is_finite()).collect();
            Claim { measured: quotient(&finite, layer), ..claim }
        }
    }
}

/// The quotient of two means over independent runs.
fn quotient(over: &[f64], under: &[f64]) -> Measured {
    Measured::sampled(Uncertain::mean(over).over(Uncertain::mean(under)).at(CONFIDENCE))
}

pub(super) fn table(trained: &[Trained]) -> Table {
    let cell = |values: &[f64]| {
        let diverged = values.iter().filter(|value| !value.is_finite()).count();
        let summary = MeanSd::new(values.iter().copied());
        let text = format!("{} ± {}", short(summary.mean), summary.sd.map_or_else(|| "-".to_owned(), short));
        if diverged > 0 { format!("{diverged} of {} diverged", values.len()) } else { text }
    };
    let row =
        |arm: &Trained| vec![arm.mode.to_string(), arm.width.to_string(), cell(&arm.train_loss), cell(&arm.test_loss)];
    let headers = ["mode", "width", "train loss", "test loss"];
    Table::new("Final losses at the clean weights, mean ± sd over runs", &headers, trained.iter().map(row).collect())
}

pub(super) fn figure(trained: &[Trained], settings: &Settings) -> Figure {
    let panel = |(name, quantity): (&str, Losses)| {
        let series = MODES.map(|mode| {
            let point = |arm: &Trained| {
                let values = quantity(arm);
                let MeanSd { mean, sd, count } = MeanSd::new(values.iter().copied());
                // Where a run diverged the line breaks: the others' mean would show the lucky ones.
                let y = if count == values.len() { mean } else { f64::NAN };
                let band = sd.map(|sd| ((mean - sd).max(mean / 10.0), mean + sd));
                SeriesPoint { x: arm.width as f64, y, band: band.filter(|_| y.is_finite()) }
            };
            Series::banded(mode.name(), trained.iter().filter(|arm| arm.mode == mode).map(point).collect())
        });
        Panel {
            title: format!("Final {name} loss"),
            x_label: "width".to_owned(),
            y_label: "mean squared error".to_owned(),
            x_scale: AxisScale::Log,
            y_scale: AxisScale::Log,
            series: series.into(),
            ..Panel::default()
        }
    };
    Figure {
        title: format!("Training at sigma {} over the width: {}", settings.sigma, settings.net.label),
        caption: format!(
            "Loss at the clean weights after {} steps of size {}, mean and standard deviation over {} runs; a line ends where a \
             run diverges.",
            settings.steps, settings.lr, settings.seeds
        ),
        panels: LOSSES.map(panel).into(),
    }
}
