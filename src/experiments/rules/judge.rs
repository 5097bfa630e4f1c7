//! The claims, as a pure function of what was measured.

use crate::experiments::{
    Bar, Claim, Verdict,
    comparisons::{Comparison, judge_family},
    statistics::paired_differences,
};

use super::measurements::{ArmMeasurements, ECE, EIGENVALUE, Measurements, Quantity, TEST_ACCURACY, TEST_LOSS, TRACE};

/// What the papers say of an arm beside plain training.
fn claimed(arm: &str, label_noise: f64) -> Vec<(Quantity, Bar)> {
    let (lower, higher) = (Bar::AtMost(0.0), Bar::AtLeast(0.0));
    let mut claimed = vec![(TRACE, lower)];
    claimed.push(if label_noise > 0.0 { (TEST_LOSS, lower) } else { (TEST_ACCURACY, higher) });
    match arm {
        "sam" => claimed.push((EIGENVALUE, lower)),
        "ivon" => claimed.push((ECE, lower)),
        _ => {}
    }
    claimed
}

/// Every claim about every arm but the first: one family.
pub(super) fn judge(measured: &Measurements) -> Vec<Claim> {
    let Some((plain, others)) = measured.arms.split_first() else { return Vec::new() };
    let about = |arm: &ArmMeasurements| claimed(&arm.arm, measured.label_noise).into_iter();
    let comparison = |arm: &ArmMeasurements, (quantity, bar): (Quantity, Bar)| Comparison {
        id: format!("{}.{}", arm.arm, quantity.name.replace(' ', "-").replace("-%", "")),
        statement: format!("{} less {}: {}", arm.arm, plain.arm, quantity.name),
        differences: paired_differences(&arm.values(&quantity), &plain.values(&quantity)),
        bar,
    };
    let family: Vec<(&ArmMeasurements, Comparison)> =
        others.iter().flat_map(|arm| about(arm).map(move |claimed| (arm, comparison(arm, claimed)))).collect();
    let comparisons: Vec<Comparison> = family.iter().map(|(_, comparison)| comparison.clone()).collect();
    let claim = |(claim, (arm, _)): (Claim, &(&ArmMeasurements, Comparison))| {
        let claim = claim.essential().more_by("seeds", arm.runs.len());
        match arm.diverged() {
            0 => claim,
            count => claim.ruled(Verdict::Fails, format!("{count} of {} runs diverged", arm.runs.len())),
        }
    };
    judge_family(&comparisons).into_iter().zip(&family).map(claim).collect()
}
