//! Verdicts of the simple models' experiments on measurements made up: what has arrived, what is on its way, what broke.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::noise::Mode;

use super::{
    Choices, Claim, Definition, Verdict, l1, penalty_claims,
    penalty_measurements::{ArmMeasurements, CaseMeasurements},
    simple::{NOISY, Rounded, SolvedCase, Steps},
};

fn settings() -> l1::Settings {
    let small = "problem={samples=10,features=20,nonzeros=2,label_noise=0.1}";
    let overrides = vec![small.to_owned(), "correlations=[0.0]".to_owned()];
    Definition::find("l1").unwrap().settings(&Choices { scale: None, overrides }).unwrap()
}

/// Four runs that end `end` from their mode's solution, give or take a thousandth, and were `half` away after half of the steps.
fn arm(solved: &SolvedCase, mode: Mode, steps: Steps, half: f64, end: f64) -> ArmMeasurements {
    let solution = &solved.target(mode).unwrap().solution;
    let far = |by: f64| {
        let mut theta = solution.clone();
        theta[0] += by * solution.norm();
        Rounded::new(&theta, solution)
    };
    let ends = (0..4).map(|seed| far(end + 1e-3 * f64::from(seed))).collect();
    ArmMeasurements { mode, steps, ends, halfway: far(half), curve: Vec::new() }
}

/// What is measured where a run of step size s ends `distance(s)` from its mode's solution, give or take a thousandth.
fn measured(solved: &SolvedCase, sizes: &[f64], distance: impl Fn(f64) -> f64) -> CaseMeasurements {
    let arm = |(mode, size): (Mode, f64)| arm(solved, mode, Steps::Constant(size), distance(size), distance(size));
    let places = NOISY.iter().flat_map(|mode| sizes.iter().map(|size| (*mode, *size)));
    CaseMeasurements { case: "made up".to_owned(), arms: places.map(arm).collect() }
}

/// The claim on mode all's distance, whose bar is 0.02, and that on its exponent.
fn judged(sizes: &[f64], distance: impl Fn(f64) -> f64) -> [Claim; 2] {
    let settings = settings();
    let solved = SolvedCase::new(l1::declared(&settings).remove(0), &settings.arms).unwrap();
    let claims = penalty_claims::judge(&measured(&solved, sizes, distance), &solved, &settings.bars, &settings.arms);
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

/// Mode all's claim on decaying steps, where constant ones are near and still get nearer.
fn decaying(steps: u64, half: f64, end: f64) -> Claim {
    let mut settings = settings();
    settings.arms.steps = steps;
    let solved = SolvedCase::new(l1::declared(&settings).remove(0), &settings.arms).unwrap();
    let mut measured = measured(&solved, &SIZES, |size| 0.05 * size);
    measured.arms.push(arm(&solved, Mode::All, Steps::Decaying(0.6), half, end));
    let claims = penalty_claims::judge(&measured, &solved, &settings.bars, &settings.arms);
    claims.into_iter().find(|claim| claim.id == "independent.all.decaying").unwrap()
}

/// The constant steps' good course once excused decaying steps at any distance.
#[test]
fn decaying_steps_are_excused_by_their_own_course_alone() {
    assert_eq!(decaying(80_000, 0.01, 0.01).verdict(), Verdict::Holds);
    assert_eq!(decaying(80_000, 0.2, 0.2).verdict(), Verdict::Fails);
    // A run too short to get anywhere refutes nothing.
    assert_eq!(decaying(40, 0.99, 0.98).verdict(), Verdict::Inconclusive);
    let claim = decaying(80_000, 0.06, 0.03);
    assert_eq!(claim.verdict(), Verdict::Inconclusive);
    let reason = claim.reason().unwrap();
    assert!(reason.starts_with("at these steps: the distance still falls with the steps"), "{reason}");
    let steps: f64 = reason.split("arms.steps=").nth(1).unwrap().parse().unwrap();
    assert!(steps > 80_000.0, "{reason}");
}

/// Left out, the claims that were measured would have decided alone.
#[test]
fn essential_claims_without_a_run_are_undecided() {
    let settings = settings();
    let solved = SolvedCase::new(l1::declared(&settings).remove(0), &settings.arms).unwrap();
    let mut measured = measured(&solved, &SIZES, |_| 0.01);
    measured.arms.retain(|arm| arm.mode != Mode::Layer);
    let claims = penalty_claims::judge(&measured, &solved, &settings.bars, &settings.arms);
    for id in ["theta", "plain"] {
        let claim = claims.iter().find(|claim| claim.id == format!("independent.layer.{id}")).unwrap();
        assert_eq!((claim.essential, claim.verdict()), (true, Verdict::Inconclusive));
        assert_eq!(claim.reason().as_deref(), Some("no run of constant steps was measured"));
    }
}

/// Where plain gradient descent ends at the solution of mode model, it is not at that of mode all.
#[test]
fn plain_gradient_descent_is_compared_with_the_solution_of_the_same_mode() {
    let settings = settings();
    let solved = SolvedCase::new(l1::declared(&settings).remove(0), &settings.arms).unwrap();
    let mut measured = measured(&solved, &SIZES, |_| 0.01);
    let solution = &solved.target(Mode::Model).unwrap().solution;
    let end = Rounded::new(solution, solution);
    let steps = Steps::Constant(0.6);
    measured.arms.push(ArmMeasurements { ends: vec![end], ..arm(&solved, Mode::None, steps, 0.0, 0.0) });
    let claims = penalty_claims::judge(&measured, &solved, &settings.bars, &settings.arms);
    let times = |mode: Mode| {
        let id = format!("independent.{mode}.plain");
        claims.iter().find(|claim| claim.id == id).unwrap().measured.value
    };
    // The noisy runs end 0.0115 away on average.
    let apart = solved.distance(Mode::All, solution).theta;
    assert!(apart > 0.01, "{apart}");
    assert!((times(Mode::All) - apart / 0.0115).abs() < 0.02 * apart / 0.0115, "{} {apart}", times(Mode::All));
    assert!(times(Mode::Model) < 0.1, "{}", times(Mode::Model));
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
    let solved = SolvedCase::new(l1::declared(&settings).remove(0), &settings.arms).unwrap();
    let sigma = solved.units.sigma;
    let target = |sigma| solved.case.model.target(&solved.loss, Mode::Model, sigma);
    let solution = target(sigma).unwrap().solution;
    let run = |by: f64| Rounded::new(&(&solution * (1.0 + by)), &solution);
    let verdict = |last: f64| {
        let ends = [0.01, 0.011, 0.012, last].map(run).to_vec();
        let point = l1::PathPoint { sigma, ends, halfway: run(0.01) };
        let claim = l1::judge_path(&[point], &solved, &target, &settings.path).unwrap();
        (claim.verdict(), claim.reason())
    };
    assert_eq!(verdict(0.013), (Verdict::Holds, None));
    assert_eq!(verdict(f64::NAN), (Verdict::Fails, Some("1 of 4 runs diverged".to_owned())));
}
