//! Verdicts on variances that follow the formulas, against right targets and wrong ones. No device.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{
    Settings,
    claims::{Expectation, expectations, judge},
    measurements::{ARMS, Arm, BlockVariance, Grouped, Measurements, Parts, Point, Unit},
};
use crate::experiments::{Choices, Claim, Definition, Verdict};

fn settings() -> Settings {
    Definition::find("attention-width").unwrap().settings(&Choices::default()).unwrap()
}

/// What the blocks are off by.
const OFF: [f64; 8] = [0.93, 0.97, 1.03, 1.07, 0.95, 0.99, 1.01, 1.05];

/// The formulas' variances; `first` is sigma^2 C. The output's are of the same shape: of the first order, and what multiplies it.
fn block(arm: Arm, first: f64, off: f64) -> BlockVariance {
    let m = arm.grouped.groups();
    let even = match arm.grouped {
        Grouped::All => (first / m).powi(2),
        Grouped::Tensor => first.powi(2) / m,
        Grouped::Projection => 1e-14 * first,
    };
    let output_even = match arm.grouped {
        Grouped::All => first.powi(3),
        Grouped::Tensor => 0.5 * first,
        Grouped::Projection => 0.05 * first,
    };
    let parts = |odd: f64, even: f64| Parts { odd: off * odd, even: off * even };
    BlockVariance {
        logits: parts(2.0 * first / m, even),
        output: parts(first, output_even),
        loss: parts(first, 0.1 * first),
    }
}

fn measured(settings: &Settings) -> Measurements {
    let points = settings.widths.iter().enumerate().flat_map(|(at, width)| {
        ARMS.iter().map(move |arm| {
            let first = match arm.unit {
                Unit::Absolute | Unit::Filter => settings.sigma.powi(2) * *width as f64,
                Unit::Share => settings.share.powi(2),
            };
            let blocks = (0..OFF.len()).map(|number| block(*arm, first, OFF[(number + 3 * at) % OFF.len()]));
            Point { width: *width, arm: *arm, blocks: blocks.collect() }
        })
    });
    Measurements { points: points.collect() }
}

fn refuted(measured: &Measurements, expected: &[Expectation], ids: &[&str]) -> usize {
    let claims = judge(measured, expected);
    assert_eq!(Verdict::overall(&claims), Verdict::Fails);
    let named: Vec<&Claim> = claims.iter().filter(|claim| ids.iter().any(|id| claim.id.ends_with(id))).collect();
    for claim in &named {
        assert_eq!(claim.verdict(), Verdict::Fails, "{}: {:?}", claim.id, claim.measured);
    }
    named.len()
}

#[test]
fn packed_queries_and_keys_do_not_pass_for_those_apart() {
    let settings = settings();
    let measured = measured(&settings);
    let expected = expectations(&settings.bars, settings.sigma);
    for claim in judge(&measured, &expected) {
        assert_eq!(claim.verdict(), Verdict::Holds, "{}: {:?}", claim.id, claim.measured);
    }
    // Where sigma falls the logits' rounding stays as it is too.
    let ids = ["fixed.layer-by-tensor.logits-even", "fixed.layer-by-projection.logits-even", "size", "output-even"];
    assert_eq!(refuted(&measured, &swapped(&expected), &ids), 6);
}

/// What is expected of packed queries and keys, of those apart, and the other way round.
fn swapped(expected: &[Expectation]) -> Vec<Expectation> {
    let two = expected.iter().filter(|expectation| expectation.arm.grouped != Grouped::All).cloned();
    let exchanged = two.map(|mut expectation| {
        let packed = expectation.arm.grouped == Grouped::Tensor;
        expectation.arm.grouped = if packed { Grouped::Projection } else { Grouped::Tensor };
        expectation
    });
    exchanged.filter(|expectation| ARMS.contains(&expectation.arm)).collect()
}

/// Those of the page in docs/.
#[test]
fn what_was_measured_does_not_pass_for_the_other_grouping() {
    let settings = settings();
    let text = include_str!("../../../assets/measurements/attention-width.json");
    let measured: Measurements = serde_json::from_str(text).unwrap();
    let expected = expectations(&settings.bars, settings.sigma);
    let claims = judge(&measured, &expected);
    assert_eq!(Verdict::overall(&claims), Verdict::Holds, "{claims:#?}");
    let ids = ["fixed.layer-by-tensor.logits-even", "fixed.layer-by-projection.logits-even", "output-even"];
    assert_eq!(refuted(&measured, &swapped(&expected), &ids), 3);
}

#[test]
fn another_sigma_is_refuted() {
    let settings = settings();
    let measured = measured(&settings);
    let mut exchanged = expectations(&settings.bars, settings.sigma);
    exchanged
        .retain(|expectation| expectation.arm.unit != Unit::Filter && expectation.arm.grouped != Grouped::Projection);
    for Expectation { arm, .. } in &mut exchanged {
        arm.unit = if arm.unit == Unit::Absolute { Unit::Share } else { Unit::Absolute };
    }
    assert_eq!(refuted(&measured, &exchanged, &["logits-odd", "logits-even", ".output"]), 11);
    let larger = expectations(&settings.bars, 1.1 * settings.sigma);
    assert_eq!(refuted(&measured, &larger, &["size"]), 5);
}

#[test]
fn what_was_not_measured_decides_nothing() {
    let settings = settings();
    let claims = judge(&Measurements::default(), &expectations(&settings.bars, settings.sigma));
    assert_eq!(Verdict::overall(&claims), Verdict::Inconclusive);
    assert!(claims.iter().all(|claim| claim.verdict() == Verdict::Inconclusive && claim.reason().is_some()));
}
