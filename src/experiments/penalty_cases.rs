//! Verdicts of the simple models' experiments on measurements made up: what has arrived, what is on its way, what broke.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use nalgebra::DVector;

use crate::noise::Mode;

use super::{
    Choices, Claim, Definition, Verdict, l1,
    penalties::{ArmMeasurements, CaseMeasurements},
    penalty_claims,
    simple::{NOISY, Posed, Rounded, Steps},
};

fn settings() -> l1::Settings {
    let small = "problem={samples=10,features=20,nonzeros=2,label_noise=0.1}";
    let overrides = vec![small.to_owned(), "correlations=[0.0]".to_owned()];
    Definition::find("l1").unwrap().settings(&Choices { scale: None, overrides }).unwrap()
}

/// What is measured where a run of step size s ends `distance(s)` from its mode's solution, give or take a thousandth.
fn measured(posed: &Posed, sizes: &[f64], distance: impl Fn(f64) -> f64) -> CaseMeasurements {
    let arm = |(mode, size): (Mode, f64)| {
        let solution = &posed.target(mode).unwrap().solution;
        let far = |by: f64| {
            let mut theta = solution.clone();
            theta[0] += by * solution.norm();
            theta
        };
        let round = |theta: DVector<f64>| Rounded::new(&theta, solution);
        let run = |seed: usize| round(far(distance(size) + 1e-3 * seed as f64));
        ArmMeasurements {
            mode,
            steps: Steps::Constant(size),
            ends: (0..4).map(run).collect(),
            halfway: round(far(distance(size))),
            curve: Vec::new(),
        }
    };
    let places = NOISY.iter().flat_map(|mode| sizes.iter().map(|size| (*mode, *size)));
    CaseMeasurements { case: "made up".to_owned(), arms: places.map(arm).collect() }
}

/// The claim on mode all's distance, whose bar is 0.02, and that on its exponent.
fn judged(sizes: &[f64], distance: impl Fn(f64) -> f64) -> [Claim; 2] {
    let settings = settings();
    let posed = Posed::new(l1::declared(&settings).remove(0), &settings.arms).unwrap();
    let claims = penalty_claims::judge(&measured(&posed, sizes, distance), &posed, &settings.bars, &settings.arms);
    ["theta", "step-size"]
        .map(|id| claims.iter().find(|claim| claim.id == format!("independent.all.{id}")).unwrap().clone())
}

const SIZES: [f64; 3] = [0.6, 0.3, 0.15];

#[test]
fn a_distance_that_has_arrived_holds_or_fails() {
    for (distance, expected) in [(0.01, Verdict::Holds), (0.05, Verdict::Fails)] {
        assert_eq!(judged(&SIZES, |_| distance)[0].verdict(), expected, "{distance}");
    }
}

/// Once a problem of one's own failed by 0.0200 against 0.0200: it was on its way.
#[test]
fn a_distance_on_its_way_is_undecided_and_told_how_far_it_is() {
    let [claim, slope] = judged(&SIZES, |size| 0.2 * size);
    assert_eq!((claim.verdict(), slope.verdict()), (Verdict::Inconclusive, Verdict::Holds));
    let reason = claim.reason().unwrap();
    // 0.0315 at the smallest, aiming at 0.7 of 0.02: 2.25 times as many steps of their size, by the measured exponent 0.95
    assert!(reason.starts_with("at these steps: the distance still falls with the step size"), "{reason}");
    let steps: f64 = reason.split("arms.steps=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((2.0..3.0).contains(&(steps / 80_000.0)), "{reason}");
    assert!(reason.contains("--set 'arms.step_sizes=[0.2"), "{reason}");
}

#[test]
fn one_step_size_has_no_slope_and_a_run_that_diverged_fails() {
    let [_, slope] = judged(&SIZES[..1], |_| 0.01);
    assert_eq!(slope.verdict(), Verdict::Inconclusive);
    let [claim, slope] = judged(&SIZES, |size| if size < 0.2 { f64::NAN } else { 0.01 });
    assert_eq!((claim.verdict(), slope.verdict()), (Verdict::Fails, Verdict::Inconclusive));
    assert_eq!(claim.reason().as_deref(), Some("4 of 4 runs diverged"));
}

/// The median of all runs hid that almost half of them were NaN.
#[test]
fn a_run_of_the_path_that_diverged_fails_it() {
    let settings = settings();
    let posed = Posed::new(l1::declared(&settings).remove(0), &settings.arms).unwrap();
    let sigma = posed.units.sigma;
    let target = |sigma| posed.case.model.target(&posed.loss, Mode::Model, sigma);
    let solution = target(sigma).unwrap().solution;
    let run = |by: f64| Rounded::new(&(&solution * (1.0 + by)), &solution);
    let verdict = |last: f64| {
        let ends = [0.01, 0.011, 0.012, last].map(run).to_vec();
        let point = l1::PathPoint { sigma, ends, halfway: run(0.01) };
        let claim = l1::judge_path(&[point], &posed, &target, &settings.path).unwrap();
        (claim.verdict(), claim.reason())
    };
    assert_eq!(verdict(0.013), (Verdict::Holds, None));
    assert_eq!(verdict(f64::NAN), (Verdict::Fails, Some("1 of 4 runs diverged".to_owned())));
}
