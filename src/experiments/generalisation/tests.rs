//! Verdicts of measurements made up for the purpose, and what tuning runs are given. No device.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::{
    experiments::{Bar, Claim, Verdict},
    noise::Mode,
    train::RunConfig,
};

use super::{
    Expected, judge,
    judge::choose,
    measure::Trial,
    measurements::{Family, Level, Measurements, Point, Score, Tested, Tuned},
    settings::{MODES, NOISY},
};

/// Runs around an accuracy, a little apart.
fn runs(accuracy: f64, seeds: usize) -> Vec<Option<Score>> {
    let apart = |seed: usize| 0.002 * (seed % 3) as f64;
    (0..seeds)
        .map(|seed| Some(Score { accuracy: accuracy + apart(seed), loss: 1.5 - accuracy + apart(seed) }))
        .collect()
}

/// Every mode, its differences to the others a little apart from seed to seed, by as much as `spread` says.
fn arms(accuracies: [f64; 3], sigmas: [f64; 3], spread: f64, seeds: usize) -> Vec<Tested> {
    let spread = [0.0, spread, -spread];
    let arm = |at: usize| {
        let mut test = runs(accuracies[at], seeds);
        for (seed, run) in test.iter_mut().enumerate() {
            if let Some(score) = run {
                score.accuracy += spread[at] * (seed % 2) as f64;
                score.loss -= spread[at] * (seed % 2) as f64;
            }
        }
        Tested { mode: MODES[at], sigma: sigmas[at], test }
    };
    (0..3).map(arm).collect()
}

fn tuned() -> Vec<Tuned> {
    let arm = |(mode, best): (Mode, f64)| {
        [0.1, 0.2, 0.4].map(|sigma: f64| Tuned { mode, sigma, validation: runs(0.9 - (sigma - best).abs(), 2) })
    };
    [(Mode::All, 0.1), (Mode::Layer, 0.2)].into_iter().flat_map(arm).collect()
}

/// As the paper has it: over the width layer gains on all, which is below none at the widest.
fn as_claimed(seeds: usize) -> Measurements {
    let level = |label_noise: f64| Level {
        label_noise,
        tuned: tuned(),
        tested: arms([0.8, 0.86, 0.87], [0.0, 0.1, 0.2], 0.001, seeds),
    };
    let point = |(width, all): (usize, f64)| {
        let spread = 1e-4 * (width as f64).log2();
        arms([0.8, all, 0.88], [0.0, 0.2, 0.2], spread, seeds).into_iter().map(move |tested| Point { width, tested })
    };
    let points = [(64, 0.88), (256, 0.86), (1024, 0.82), (4096, 0.76)].into_iter().flat_map(point).collect();
    let family = Family { label: "net".to_owned(), label_noise: 0.3, sigma: 0.2, points };
    Measurements { classes: 10, levels: [0.0, 0.2, 0.4].map(level).into(), families: vec![family] }
}

fn verdicts(claims: &[Claim]) -> Vec<(String, Verdict)> {
    claims.iter().map(|claim| (claim.id.clone(), claim.verdict())).collect()
}

fn verdict(measured: &Measurements, id: &str) -> Verdict {
    let claims = judge(measured, &Expected::default());
    claims.iter().find(|claim| claim.id == id).unwrap().verdict()
}

const SIGMA: &str = "sigma.chosen-without-test-set";

#[test]
fn what_is_claimed_holds_and_its_contrary_fails() {
    let measured = as_claimed(8);
    let claims = judge(&measured, &Expected::default());
    assert_eq!(claims.len(), 3 + 1 + 4 + 2 + 1);
    assert!(claims.iter().all(|claim| claim.verdict() == Verdict::Holds), "{:#?}", verdicts(&claims));
    let contrary = Expected {
        accuracy: Bar::AtMost(0.0),
        loss: Bar::AtLeast(0.0),
        growth: Bar::AtMost(0.0),
        loss_growth: Bar::AtLeast(0.0),
    };
    let claims = judge(&measured, &contrary);
    let differences = claims.iter().filter(|claim| claim.id.contains(".layer"));
    assert!(differences.clone().all(|claim| claim.verdict() == Verdict::Fails), "{:#?}", verdicts(&claims));
    assert_eq!(differences.count(), 3 + 4 + 2);
}

#[test]
fn nothing_measured_is_inconclusive() {
    let nothing = Measurements { classes: 10, levels: Vec::new(), families: Vec::new() };
    assert_eq!(Verdict::overall(&judge(&nothing, &Expected::default())), Verdict::Inconclusive);
    for seeds in [0, 1] {
        let claims = judge(&as_claimed(seeds), &Expected::default());
        for claim in claims.iter().filter(|claim| claim.id != SIGMA) {
            assert_eq!(claim.verdict(), Verdict::Inconclusive, "{} of {seeds} seeds", claim.id);
        }
    }
    let mut blind = as_claimed(8);
    blind.levels[1].tuned.clear();
    assert_eq!(verdict(&blind, SIGMA), Verdict::Inconclusive);
}

/// Where all runs of mode all diverge, that counts against it, and for nothing else; any run of layer that does is a failure.
#[test]
fn a_width_where_runs_diverge_is_no_success_of_theirs() {
    let mut measured = as_claimed(8);
    let at = |measured: &mut Measurements, mode: Mode| -> usize {
        measured.families[0].points.iter().rposition(|point| point.tested.mode == mode).unwrap()
    };
    let widest = at(&mut measured, Mode::All);
    measured.families[0].points[widest].tested.test = vec![None; 8];
    for id in ["net.4096.layer.accuracy", "net.layer-less-all.accuracy-slope", "net.all.no-use"] {
        assert_eq!(verdict(&measured, id), Verdict::Holds, "{id}");
    }
    let claims = judge(&measured, &Expected::default());
    let claim = |id: &str| claims.iter().find(|claim| claim.id == id).unwrap();
    assert_eq!(claim("net.all.no-use").measured.interval(), Some([1024.0, 4096.0]));
    // Chance: by hand, over x = 6, 8, 10, 12, layer less all being 0, 2, 6 and 78 points, times 20.
    let slope = claim("net.layer-less-all.accuracy-slope").measured.value;
    assert!((slope - (3.0 * 78.0 + 6.0 - 2.0) / 20.0).abs() < 0.1, "{slope}");

    let widest = at(&mut measured, Mode::None);
    measured.families[0].points[widest].tested.test[3] = None;
    assert_eq!(verdict(&measured, "net.4096.layer.accuracy"), Verdict::Inconclusive, "better than nothing measured");
    let widest = at(&mut measured, Mode::Layer);
    measured.families[0].points[widest].tested.test[3] = None;
    assert_eq!(verdict(&measured, "net.4096.layer.accuracy"), Verdict::Fails);
    measured.levels[0].tested[2].test = vec![None; 8];
    assert_eq!(verdict(&measured, "label-noise-0.layer.loss"), Verdict::Fails);
}

#[test]
fn a_width_of_no_use_that_was_not_reached_fails_and_one_that_some_seeds_reached_is_open() {
    let mut measured = as_claimed(8);
    measured.families[0].points.retain(|point| point.width < 4096);
    let claim = |measured: &Measurements| {
        let claims = judge(measured, &Expected::default());
        claims.into_iter().find(|claim| claim.id == "net.all.no-use").unwrap()
    };
    assert_eq!(claim(&measured).verdict(), Verdict::Fails);
    assert!(claim(&measured).reason().unwrap().contains("8 of 8 seeds"));
    let widest = measured.families[0].points.iter().rposition(|point| point.tested.mode == Mode::All).unwrap();
    measured.families[0].points[widest].tested.test[..4].fill(None);
    assert_eq!(claim(&measured).verdict(), Verdict::Inconclusive);
    assert!(claim(&measured).reason().unwrap().contains("4 of 8 seeds"));
}

/// The choice follows the validation scores alone, and a tested sigma that does not follow it is found out.
#[test]
fn the_choice_of_sigma_does_not_see_the_test_set() {
    assert_eq!(NOISY.map(|mode| choose(&tuned(), mode)), [Some(0.1), Some(0.2)]);
    let mut diverged = tuned();
    diverged[4].validation[1] = None;
    assert_eq!(choose(&diverged, Mode::Layer), Some(0.1), "0.2 diverged; 0.1 and 0.4 remain");
    assert_eq!(choose(&[], Mode::Layer), None);

    let mut measured = as_claimed(8);
    for level in &mut measured.levels {
        level.tested.iter_mut().for_each(|arm| arm.test.reverse());
    }
    assert_eq!(verdict(&measured, SIGMA), Verdict::Holds, "whatever the test scores");
    measured.levels[2].tested[2].sigma = 0.4;
    assert_eq!(verdict(&measured, SIGMA), Verdict::Fails);
}

/// What a tuning run is given: the images kept apart, with their own labels, in the place of the test set.
#[test]
fn a_tuning_run_is_not_given_the_test_set() {
    let train = RunConfig { model: "mlp:64-8-10".to_owned(), subset: Some(60), ..RunConfig::default() };
    let [open, blind] = [false, true].map(|blind| {
        let trial = Trial::new(&train, 0.4, Some(40), 5).unwrap();
        if blind { trial.blind() } else { trial }.data
    });
    let apart = open.validation.unwrap();
    assert_eq!((open.split.train.len(), apart.len(), open.split.test.len()), (60, 40, 500));
    assert_eq!(blind.split.train.targets, open.split.train.targets);
    assert_eq!((&blind.split.test.samples, &blind.split.test.targets), (&apart.samples, &apart.targets));
    assert!(blind.validation.is_none());
    // The labels kept apart are the true ones: drawn again without label noise they are the same.
    let clean = Trial::new(&train, 0.0, Some(40), 5).unwrap().data;
    assert_eq!(clean.validation.unwrap().targets, apart.targets);
    assert_ne!(clean.split.train.targets, open.split.train.targets);
}
