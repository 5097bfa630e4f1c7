//! The claims: pure functions of what was measured.

use crate::{
    experiments::{
        Bar, Claim, Measured, Verdict,
        comparisons::{Comparison, judge_family},
        statistics::paired_differences,
    },
    noise::Mode,
};

use super::{
    measurements::{Family, Level, Measurements, Score, Tested, Tuned},
    onset,
    settings::NOISY,
};

/// What differences should be: the paper's signs, unless a test says otherwise.
#[derive(Clone, Copy, Debug)]
pub(in crate::experiments) struct Expected {
    /// Accuracy of layer less that of none, in points.
    pub(in crate::experiments) accuracy: Bar,
    /// Loss of layer less that of none.
    pub(in crate::experiments) loss: Bar,
    /// Points that layer gains on all with each doubling of the width.
    pub(in crate::experiments) growth: Bar,
    /// Loss of layer less that of all, gained with each doubling of the width.
    pub(in crate::experiments) loss_growth: Bar,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            accuracy: Bar::AtLeast(0.0),
            loss: Bar::AtMost(0.0),
            growth: Bar::AtLeast(0.0),
            loss_growth: Bar::AtMost(0.0),
        }
    }
}

/// A claim's comparison, with the runs that it says are better and what buys more of them.
struct Better<'a> {
    comparison: Comparison,
    layer: &'a Tested,
    seeds: &'static str,
}

/// All claims. The device is not asked again.
pub(in crate::experiments) fn judge(measured: &Measurements, expected: &Expected) -> Vec<Claim> {
    let Measurements { classes, levels, families } = measured;
    let mut claims = judge_better(levels.iter().filter_map(|level| over_label_noise(level, expected)).collect());
    claims.push(blind(levels));
    claims.extend(judge_better(families.iter().flat_map(|family| over_widths(family, expected)).collect()));
    claims.extend(growth(families, *classes, expected));
    claims.extend(families.iter().map(no_use));
    claims
}

/// A family of claims that mode layer does better than none.
fn judge_better(family: Vec<Better<'_>>) -> Vec<Claim> {
    let comparisons: Vec<Comparison> = family.iter().map(|better| better.comparison.clone()).collect();
    let claim = |(claim, better): (Claim, &Better<'_>)| {
        let runs = better.layer.test.len();
        let claim = claim.essential().more_by(better.seeds, runs);
        match better.layer.diverged() {
            0 => claim,
            count => claim.ruled(Verdict::Fails, format!("{count} of {runs} runs of layer diverged")),
        }
    };
    judge_family(&comparisons).into_iter().zip(&family).map(claim).collect()
}

/// With replaced labels a better accuracy, without a lower loss.
fn over_label_noise<'a>(level: &'a Level, expected: &Expected) -> Option<Better<'a>> {
    let (none, layer) = (level.tested(Mode::None)?, level.tested(Mode::Layer)?);
    let percent = 100.0 * level.label_noise;
    let (name, differences, bar) = if level.label_noise > 0.0 {
        let differences = paired_differences(&layer.accuracies(), &none.accuracies());
        ("accuracy in points", differences, expected.accuracy)
    } else {
        ("loss", paired_differences(&layer.losses(), &none.losses()), expected.loss)
    };
    let comparison = Comparison {
        id: format!("label-noise-{percent:.0}.layer.{}", name.split(' ').next().unwrap_or(name)),
        statement: format!("{percent:.0} % of labels replaced: test {name}, layer (sigma {}) less none", layer.sigma),
        differences,
        bar,
    };
    Some(Better { comparison, layer, seeds: "levels.seeds" })
}

/// At every width a better accuracy.
fn over_widths<'a>(family: &'a Family, expected: &Expected) -> Vec<Better<'a>> {
    let at = |width: usize| {
        let (none, layer) = (family.tested(width, Mode::None)?, family.tested(width, Mode::Layer)?);
        let comparison = Comparison {
            id: format!("{}.{width}.layer.accuracy", family.label),
            statement: format!("{}, width {width}: test accuracy in points, layer less none", family.label),
            differences: paired_differences(&layer.accuracies(), &none.accuracies()),
            bar: expected.accuracy,
        };
        Some(Better { comparison, layer, seeds: "widths.seeds" })
    };
    family.widths().into_iter().filter_map(at).collect()
}

/// The sigma of a mode: the one with the lowest mean validation loss, of those at which no run diverged; the smaller of two
/// that are equal. It is given no test score.
pub(super) fn choose(tuned: &[Tuned], mode: Mode) -> Option<f64> {
    let loss = |tuned: &Tuned| {
        let losses: Option<Vec<f64>> = tuned.validation.iter().map(|run| run.map(|Score { loss, .. }| loss)).collect();
        let losses = losses.filter(|losses| !losses.is_empty())?;
        Some((losses.iter().sum::<f64>() / losses.len() as f64, tuned.sigma))
    };
    let candidates = tuned.iter().filter(|tuned| tuned.mode == mode).filter_map(loss);
    candidates.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(_, sigma)| sigma)
}

/// That the tested runs had the sigmas that the validation scores choose.
fn blind(levels: &[Level]) -> Claim {
    let arms = levels.iter().flat_map(|level| NOISY.map(|mode| (level, mode)));
    let pairs: Option<Vec<(f64, f64)>> =
        arms.map(|(level, mode)| Some((choose(&level.tuned, mode)?, level.tested(mode)?.sigma))).collect();
    let offered = |level: &Level, mode: Mode| level.tuned.iter().filter(|tuned| tuned.mode == mode).count();
    let single = levels.iter().any(|level| NOISY.iter().any(|mode| offered(level, *mode) == 1));
    let measured = match pairs {
        Some(pairs) if !pairs.is_empty() => {
            Measured::exact(pairs.iter().filter(|(chosen, tested)| chosen != tested).count() as f64)
        }
        _ => Measured::nothing("a mode has no sigma with validation scores of runs that did not diverge"),
    };
    let statement = "sigmas of tested runs that are not those with the lowest mean validation loss of tuning runs, which \
                     never had the test set";
    let one = single.then_some("there was one sigma, and so no choice");
    Claim::new("sigma.chosen-without-test-set", statement, measured, Bar::AtMost(0.0)).unless(one)
}

/// A quantity in which layer gains on all.
struct Gain {
    name: &'static str,
    quantity: fn(&Tested) -> Vec<f64>,
    /// Of a network that guesses, as one that diverged does.
    guess: f64,
    bar: Bar,
    essential: bool,
}

/// What layer gains on all with each doubling of the width: of all depths and quantities one family, a slope a seed.
fn growth(families: &[Family], classes: usize, expected: &Expected) -> Vec<Claim> {
    let classes = classes.max(1) as f64;
    let accuracy = Gain {
        name: "accuracy",
        quantity: Tested::accuracies,
        guess: 100.0 / classes,
        bar: expected.growth,
        essential: true,
    };
    let loss = Gain {
        name: "loss",
        quantity: Tested::losses,
        guess: classes.ln(),
        bar: expected.loss_growth,
        essential: false,
    };
    let gains = [accuracy, loss];
    let pairs = || families.iter().flat_map(|family| gains.iter().map(move |gain| (family, gain)));
    let comparison = |(family, gain): (&Family, &Gain)| Comparison {
        id: format!("{}.layer-less-all.{}-slope", family.label, gain.name),
        statement: format!(
            "{}: test {}{}, layer less all, with each doubling of the width",
            family.label,
            gain.name,
            if gain.name == "accuracy" { " in points" } else { "" }
        ),
        differences: slopes(family, gain),
        bar: gain.bar,
    };
    let comparisons: Vec<Comparison> = pairs().map(comparison).collect();
    let claim = |((claim, comparison), (_, gain)): ((Claim, &Comparison), (&Family, &Gain))| {
        let claim = claim.more_by("widths.seeds", comparison.differences.len());
        Claim { essential: gain.essential, ..claim }
    };
    judge_family(&comparisons).into_iter().zip(&comparisons).zip(pairs()).map(claim).collect()
}

/// The least squares slope of layer less all over the widths' logarithms, seed by seed.
fn slopes(family: &Family, gain: &Gain) -> Vec<f64> {
    let values = |width: usize, mode: Mode| -> Vec<f64> {
        let found = family.tested(width, mode).map_or(Vec::new(), gain.quantity);
        found.into_iter().map(|value| if value.is_nan() { gain.guess } else { value }).collect()
    };
    let at = |width: usize| {
        let advantage = paired_differences(&values(width, Mode::Layer), &values(width, Mode::All));
        ((width as f64).log2(), advantage)
    };
    let points: Vec<(f64, Vec<f64>)> = family.widths().into_iter().map(at).collect();
    let seeds = points.iter().map(|(_, advantage)| advantage.len()).min().unwrap_or(0);
    let centre = points.iter().map(|(x, _)| x).sum::<f64>() / points.len() as f64;
    let spread: f64 = points.iter().map(|(x, _)| (x - centre).powi(2)).sum();
    let slope = |seed: usize| points.iter().map(|(x, advantage)| (x - centre) * advantage[seed]).sum::<f64>() / spread;
    (0..seeds).map(slope).collect()
}

/// The width from which on mode all diverges or is below none: within what was measured?
fn no_use(family: &Family) -> Claim {
    let widths = family.widths();
    let score = |width: usize, mode: Mode, seed: usize| family.tested(width, mode)?.test.get(seed).copied().flatten();
    let useless = |width: usize, seed: usize| {
        let (none, all) = (score(width, Mode::None, seed), score(width, Mode::All, seed));
        all.is_none_or(|all| none.is_some_and(|none| all.accuracy < none.accuracy))
    };
    let seeds = family.points.iter().map(|point| point.tested.test.len()).min().unwrap_or(0);
    let places: Vec<_> = (0..seeds).map(|seed| onset::place(&widths, |width| useless(width, seed))).collect();
    let too_few =
        || Measured::nothing(format!("{seeds} seeds have no 95 % interval of a median, {} have", onset::LEAST));
    let measured = onset::median(&places).map_or_else(too_few, Measured::sampled);
    let widest = widths.last().map_or(f64::NAN, |width| *width as f64);
    let beyond = places.iter().filter(|place| place.at.is_infinite()).count();
    let claim = Claim::new(
        format!("{}.all.no-use", family.label),
        format!("{}: width from which on all diverges or is below none, median over seeds", family.label),
        measured,
        Bar::AtMost(widest),
    )
    .more_by("widths.seeds", seeds);
    let reason = format!("with {beyond} of {seeds} seeds all is of use at the widest still");
    match claim.measured.interval() {
        Some([low, high]) if high.is_infinite() && low >= widest => claim.ruled(Verdict::Fails, reason),
        Some([_, high]) if high.is_infinite() => claim.ruled(Verdict::Inconclusive, reason),
        _ => claim,
    }
}
