//! Experiments can be fooled, and are not: measurements of runs at the size of the pages in `docs/`, judged once against the
//! right target and once against a wrong one. No device: `scripts/docs.sh` wrote the measurements.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::de::DeserializeOwned;

use crate::noise::Mode;

use super::{
    Bar, Choices, Claim, Definition, Verdict, convergence,
    convex::Penalty,
    generalisation, group_l1, l1, networks, nuclear, penalty_claims,
    penalty_measurements::{Bars, CaseMeasurements},
    simple::{ArmSettings, Case, ConvexTarget, NOISY, SimpleModel, SolvedCase, penalty_share},
    smoothed_loss, width, width_claims, width_measurements,
};

fn settings<T: DeserializeOwned>(name: &str) -> T {
    Definition::find(name).unwrap().settings(&Choices::default()).unwrap()
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// (id, verdict) of each claim.
fn verdicts(claims: &[Claim]) -> Vec<(&str, Verdict)> {
    claims.iter().map(|claim| (claim.id.as_str(), claim.verdict())).collect()
}

/// Holds against the targets of the paper, and fails against those of `wrong`, which is given a problem and a variance.
fn penalty_is_told(
    measured: &CaseMeasurements,
    case: Case,
    (arms, bars): (&ArmSettings, &Bars),
    wrong: impl Fn(&SolvedCase, f64) -> Penalty,
) {
    let mut solved = SolvedCase::new(case, arms).unwrap();
    let claims = penalty_claims::judge(measured, &solved, bars, arms);
    assert_eq!(Verdict::overall(&claims), Verdict::Holds, "{:#?}", verdicts(&claims));
    let target = |mode: Mode| {
        let variance = penalty_share(mode) * solved.units.sigma.powi(2);
        ConvexTarget::new(wrong(&solved, variance), &solved.loss).unwrap()
    };
    solved.targets = NOISY.map(target).into();
    let claims = penalty_claims::judge(measured, &solved, bars, arms);
    assert_eq!(Verdict::overall(&claims), Verdict::Fails);
    for claim in claims.iter().filter(|claim| claim.id.ends_with(".theta")) {
        assert_eq!(claim.verdict(), Verdict::Fails, "{}: {:?}", claim.id, claim.reason());
    }
}

#[test]
fn the_lasso_with_half_the_weights_is_refuted() {
    let settings: l1::Settings = settings("l1");
    let measured: l1::Measurements = read(include_str!("../../assets/measurements/l1.json"));
    let case = l1::declared(&settings).remove(0);
    let solved = SolvedCase::new(case.clone(), &settings.arms).unwrap();
    let half = |solved: &SolvedCase, variance: f64| solved.case.model.penalty(&solved.loss, 0.5 * variance);
    penalty_is_told(&measured.cases[0], case, (&settings.arms, &settings.bars), half);
    let path = |factor: f64| {
        let target = |sigma: f64| {
            ConvexTarget::new(solved.case.model.penalty(&solved.loss, factor * sigma * sigma), &solved.loss)
        };
        l1::judge_path(&measured.path, &solved, &target, &settings.path).unwrap().verdict()
    };
    assert_eq!([path(1.0), path(0.5)], [Verdict::Holds, Verdict::Fails]);
}

#[test]
fn the_group_lasso_without_the_root_of_the_size_is_refuted() {
    let settings: group_l1::Settings = settings("group-l1");
    let measured: Vec<CaseMeasurements> = read(include_str!("../../assets/measurements/group-l1.json"));
    let case = group_l1::declared(&settings).remove(0);
    let without = |solved: &SolvedCase, variance: f64| {
        let SimpleModel::Group { groups } = &solved.case.model else { unreachable!("the group model") };
        let block = |group: &std::ops::Range<usize>| {
            solved.loss.hessian.view((group.start, group.start), (group.len(), group.len())).into_owned()
        };
        let weighted = groups.iter().map(|group| {
            let block = block(group);
            let weight = variance * (block.trace() / group.len() as f64).sqrt();
            (block, weight)
        });
        Penalty::group(groups.clone(), weighted)
    };
    penalty_is_told(&measured[0], case, (&settings.arms, &settings.bars), without);
}

#[test]
fn the_nuclear_norm_with_a_wrong_weight_is_refuted() {
    let settings: nuclear::Settings = settings("nuclear");
    let measured: Vec<CaseMeasurements> = read(include_str!("../../assets/measurements/nuclear.json"));
    let case = nuclear::declared(&settings).remove(0);
    let wrong = |solved: &SolvedCase, variance: f64| solved.case.model.penalty(&solved.loss, 0.7 * variance);
    penalty_is_told(&measured[0], case, (&settings.arms, &settings.bars), wrong);
}

#[test]
fn convergence_to_another_point_is_refuted() {
    let settings: convergence::Settings = settings("convergence");
    let measured: Vec<convergence::Measurements> = read(include_str!("../../assets/measurements/convergence.json"));
    assert_eq!(measured.len(), 3);
    for (measured, case) in measured.iter().zip(convergence::declared(&settings)) {
        let solved = SolvedCase::new(case, &settings.arms).unwrap();
        let targets = |factor: f64| convergence::targets(&solved, &settings, factor).unwrap();
        let claims = convergence::judge(measured, &targets(1.0), settings.bars);
        assert_eq!(Verdict::overall(&claims), Verdict::Holds, "{:#?}", verdicts(&claims));
        let claims = convergence::judge(measured, &targets(0.5), settings.bars);
        assert_eq!(Verdict::overall(&claims), Verdict::Fails, "half the penalty: {:#?}", verdicts(&claims));
    }
}

#[test]
fn mode_all_does_not_pass_for_mode_layer() {
    let settings: width::Settings = settings("width");
    let measured: width_measurements::Measurements = read(include_str!("../../assets/measurements/width.json"));
    let expected = width_claims::expectations(&settings.bars);
    let claims = width_claims::judge(&measured, &expected, &settings.training);
    assert_eq!(Verdict::overall(&claims), Verdict::Holds, "{:#?}", verdicts(&claims));
    let swap = |mode: Mode, instead: Mode| {
        let expected = expected.iter().filter(move |expectation| expectation.mode == mode);
        expected.map(move |expectation| width_claims::Expectation { mode: instead, ..expectation.clone() })
    };
    let swapped: Vec<_> = [(Mode::Layer, Mode::Model), (Mode::Layer, Mode::All), (Mode::All, Mode::Layer)]
        .into_iter()
        .flat_map(|(mode, instead)| swap(mode, instead))
        .collect();
    let claims = width_claims::judge(&measured, &swapped, &settings.training);
    assert_eq!(Verdict::overall(&claims), Verdict::Fails);
    let refuted = [".model.output", ".model.gradient", ".all.output", ".all.gradient", ".layer.gradient"];
    let refuted: Vec<&Claim> = claims.iter().filter(|claim| refuted.iter().any(|id| claim.id.ends_with(id))).collect();
    assert_eq!(refuted.len(), 5 * measured.variances.len());
    for claim in refuted {
        assert_eq!(claim.verdict(), Verdict::Fails, "{}: {:?}", claim.id, claim.measured);
    }
    let slopes = claims.iter().filter(|claim| !claim.id.starts_with("training"));
    let passed: Vec<&str> =
        slopes.filter(|claim| claim.verdict() == Verdict::Holds).map(|claim| claim.id.as_str()).collect();
    assert!(passed.is_empty(), "a slope of the other mode holds: {passed:?}");
}

/// Left out, the claims of other nets and of training would have held without it.
#[test]
fn a_net_whose_widths_are_all_refused_leaves_the_experiment_undecided() {
    let settings: width::Settings = settings("width");
    let mut measured: width_measurements::Measurements = read(include_str!("../../assets/measurements/width.json"));
    measured.variances[0].points.clear();
    let claims = width_claims::judge(&measured, &width_claims::expectations(&settings.bars), &settings.training);
    assert_eq!(Verdict::overall(&claims), Verdict::Inconclusive);
    let label = &measured.variances[0].label;
    let unmeasured: Vec<&Claim> = claims.iter().filter(|claim| claim.id.starts_with(label.as_str())).collect();
    assert_eq!(unmeasured.len(), 9);
    assert!(unmeasured.iter().all(|claim| claim.reason().as_deref() == Some("no width was measured")));
}

#[test]
fn a_trace_of_another_size_is_refuted() {
    let settings: smoothed_loss::Settings = settings("smoothed-loss");
    let measured: Vec<smoothed_loss::Measurements> = read(include_str!("../../assets/measurements/smoothed-loss.json"));
    let smooth: Vec<_> = measured.iter().filter(|network| network.kinks.is_empty()).collect();
    assert_eq!(smooth.len(), 1);
    for network in smooth {
        for (factor, expected) in [(1.0, Verdict::Holds), (1.25, Verdict::Fails), (0.8, Verdict::Fails)] {
            let mut network = network.clone();
            network.hessian.trace *= factor;
            let claims = smoothed_loss::judge(&network, &settings.reference());
            assert_eq!(claims.len(), 3);
            for claim in claims {
                assert_eq!(claim.verdict(), expected, "{} at {factor}: {:?}", claim.id, claim.measured);
            }
        }
    }
}

#[test]
fn a_difference_of_the_wrong_sign_is_refuted() {
    let measured: Vec<networks::Measurements> = read(include_str!("../../assets/measurements/fmnist-mlp.json"));
    for (bar, expected) in [(Bar::AtMost(0.0), Verdict::Holds), (Bar::AtLeast(0.0), Verdict::Fails)] {
        let claims = networks::judge(&measured, bar);
        let all = claims.iter().all(|claim| claim.verdict() == expected);
        assert!(all && claims.len() == 2, "{:#?}", verdicts(&claims));
    }
}

/// Noise on transformers: whatever a claim came to, its contrary came to the contrary, and an open one stays open.
#[test]
fn transformers_with_a_difference_of_the_wrong_sign_are_refuted() {
    for text in [
        include_str!("../../assets/measurements/gpt-noise.json"),
        include_str!("../../assets/measurements/vit-noise.json"),
    ] {
        let measured: Vec<networks::Measurements> = read(text);
        let [claimed, contrary] = [Bar::AtMost(0.0), Bar::AtLeast(0.0)].map(|bar| networks::judge(&measured, bar));
        assert_eq!((claimed.len(), contrary.len()), (3, 3));
        for (claim, wrong) in claimed.iter().zip(&contrary) {
            let expected = match claim.verdict() {
                Verdict::Holds => Verdict::Fails,
                Verdict::Fails => Verdict::Holds,
                other => other,
            };
            assert_eq!(wrong.verdict(), expected, "{}: {:?}", claim.id, claim.measured);
        }
    }
}

#[test]
fn generalisation_of_the_wrong_sign_is_refuted() {
    let measured: generalisation::Measurements = read(include_str!("../../assets/measurements/generalisation.json"));
    let judged = |expected: &generalisation::Expected| {
        let claims = generalisation::judge(&measured, expected);
        claims.into_iter().filter(|claim| claim.id.contains(".layer")).collect::<Vec<_>>()
    };
    let claimed = judged(&generalisation::Expected::default());
    let contrary = generalisation::Expected {
        accuracy: Bar::AtMost(0.0),
        loss: Bar::AtLeast(0.0),
        growth: Bar::AtMost(0.0),
        loss_growth: Bar::AtLeast(0.0),
    };
    let contrary = judged(&contrary);
    for (claim, wrong) in claimed.iter().zip(&contrary) {
        let expected = match claim.verdict() {
            // Where a run of layer diverged neither sign holds.
            Verdict::Fails if claim.measured.value.is_nan() => Verdict::Fails,
            Verdict::Holds => Verdict::Fails,
            Verdict::Fails => Verdict::Holds,
            other => other,
        };
        assert_eq!(wrong.verdict(), expected, "{}: {:?}", claim.id, claim.measured);
    }
    let headline = claimed.iter().filter(|claim| claim.id.starts_with("label-noise") && claim.id.ends_with("accuracy"));
    assert!(headline.clone().all(|claim| claim.verdict() == Verdict::Holds), "{:#?}", verdicts(&claimed));
    assert_eq!(headline.count(), 2);
}
