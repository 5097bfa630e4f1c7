//! Settings of every scale, and claims from made-up measurements.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::{
    experiments::{Choices, Claim, Definition, Verdict},
    noise::Mode,
};

use super::{
    judge::judge,
    measurements::{ArmMeasurements, End, Measurements, Run},
    settings::Settings,
    tables,
};

fn settings(scale: &str, overrides: &[&str]) -> Result<Settings, String> {
    let overrides = overrides.iter().map(|text| (*text).to_owned()).collect();
    let choices = Choices { scale: Some(scale.to_owned()), overrides };
    let settings: Settings =
        Definition::find("rules").unwrap().settings(&choices).map_err(|error| error.to_string())?;
    settings.check("rules").map_err(|error| error.to_string())?;
    Ok(settings)
}

#[test]
fn every_scale_has_arms_that_go_together() {
    for scale in Definition::find("rules").unwrap().scales {
        let arms = settings(&scale.name, &[]).unwrap().arms().unwrap();
        let data = |index: usize| (&arms[index].config.data, arms[index].config.label_noise, arms[index].config.epochs);
        assert!((1..arms.len()).all(|index| data(index) == data(0)), "{}", scale.name);
        assert!(arms.iter().all(|arm| arm.config.noise == Mode::None || arm.label.starts_with("noise:")));
    }
    let paper = settings("paper", &[]).unwrap().arms().unwrap();
    let lpf = &paper.iter().find(|arm| arm.label == "lpf").unwrap().config;
    assert_eq!(
        (lpf.sigma, lpf.milestones.as_slice(), lpf.subset, lpf.label_noise),
        (0.002, &[100, 120][..], None, 0.0)
    );
}

#[test]
fn arms_that_make_no_comparison_are_refused() {
    for (setting, part) in [
        ("arms=[{ rule = 'sam' }, { rule = 'noise:none' }]", "begin with noise:none"),
        ("arms=[{ rule = 'noise:none' }]", "name another"),
        ("arms=[{ rule = 'noise:none' }, { rule = 'sam' }, { rule = 'sam' }]", "each rule once"),
        ("arms=[{ rule = 'noise:none' }, { rule = 'sam', train = { rho = -1.0 } }]", "rho"),
        ("arms=[{ rule = 'noise:none' }, { rule = 'sams' }]", "sams"),
        ("trace_probes=0", "probes"),
        ("train.epoch=3", "epoch"),
    ] {
        let error = settings("small", &[setting]).map(|_| ()).unwrap_err();
        assert!(error.contains(part), "{setting}: {error}");
    }
}

/// An arm whose runs end at some level of everything, a little apart from seed to seed.
fn arm(name: &str, level: f64) -> ArmMeasurements {
    let run = |seed: u64| {
        let at = level + 0.1 * seed as f64 + 0.01 * (level * seed as f64).sin();
        let end = End {
            test_accuracy: 1.0 - 0.1 * at,
            test_loss: at,
            brier: at,
            ece: at,
            train_loss: at,
            trace: 10.0 * at,
            largest_eigenvalue: at,
        };
        Run { seed, end: Some(end), epochs: serde_json::Value::Null }
    };
    ArmMeasurements {
        arm: name.to_owned(),
        own: String::new(),
        config: serde_json::Value::Null,
        step_milliseconds: 1.5,
        gradient_evaluations: 2.0,
        passes: 2,
        runs: (0..8).map(run).collect(),
    }
}

fn measured(arms: Vec<ArmMeasurements>, label_noise: f64) -> Measurements {
    Measurements { data: "d".to_owned(), model: "m".to_owned(), label_noise, arms }
}

fn verdicts(claims: &[Claim]) -> Vec<(&str, Verdict)> {
    claims.iter().map(|claim| (claim.id.as_str(), claim.verdict())).collect()
}

#[test]
fn what_is_lower_holds_and_what_is_higher_fails() {
    let claims = judge(&measured(vec![arm("noise:none", 2.0), arm("sam", 1.0), arm("ivon", 3.0)], 0.3));
    use Verdict::{Fails, Holds};
    let expected = [
        ("sam.Hessian-trace", Holds),
        ("sam.test-loss", Holds),
        ("sam.largest-eigenvalue", Holds),
        ("ivon.Hessian-trace", Fails),
        ("ivon.test-loss", Fails),
        ("ivon.test-ECE", Fails),
    ];
    assert_eq!(verdicts(&claims), expected);
    let claims = judge(&measured(vec![arm("noise:none", 2.0), arm("lpf", 1.0)], 0.0));
    assert_eq!(verdicts(&claims), [("lpf.Hessian-trace", Holds), ("lpf.test-accuracy", Holds)]);
    assert!(judge(&measured(Vec::new(), 0.0)).is_empty());
}

#[test]
fn equal_arms_show_nothing_and_diverged_ones_fail() {
    let same = judge(&measured(vec![arm("noise:none", 2.0), arm("nso", 2.0)], 0.3));
    assert!(same.iter().all(|claim| claim.verdict() == Verdict::Inconclusive), "{:?}", verdicts(&same));
    let mut broken = arm("nso", 1.0);
    broken.runs[3].end = None;
    let found = measured(vec![arm("noise:none", 2.0), broken], 0.3);
    let claims = judge(&found);
    assert!(claims.iter().all(|claim| claim.verdict() == Verdict::Fails), "{:?}", verdicts(&claims));
    assert_eq!((tables::ends(&found).rows[1][2].as_str(), tables::differences(&found).rows.len()), ("1", 1));
}

/// What holds of the page's measurements fails where plain training passes for the rule, and the rule for plain training.
#[test]
fn plain_training_does_not_pass_for_a_rule() {
    let page: Measurements = serde_json::from_str(include_str!("../../../assets/measurements/rules.json")).unwrap();
    let plain = page.arms[0].clone();
    let mut held = 0;
    for arm in &page.arms[1..] {
        let renamed =
            |from: &ArmMeasurements, to: &ArmMeasurements| ArmMeasurements { arm: to.arm.clone(), ..from.clone() };
        let claims = judge(&measured(vec![plain.clone(), arm.clone()], page.label_noise));
        let swapped = judge(&measured(vec![renamed(arm, &plain), renamed(&plain, arm)], page.label_noise));
        for (_, swapped) in claims.iter().zip(&swapped).filter(|(claim, _)| claim.verdict() == Verdict::Holds) {
            assert_eq!(swapped.verdict(), Verdict::Fails, "{}: {:?}", swapped.id, swapped.measured);
            held += 1;
        }
    }
    assert!(held > 0, "nothing that could be told was measured");
}
