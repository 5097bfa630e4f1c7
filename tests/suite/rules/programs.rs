//! Programs: which lists of instructions are some, what they are compiled to, and how both read.

use jostle::rules::{
    Command, Compiled, Draw, GradientSlot, Gradients,
    Instruction::{self, Ascend, Clean, Combine, Gradient, Loss, Perturb, Update},
    Part, PartMean, Pass, Place, Program, RuleError, StatisticsPass, UpdateFusion,
};

const G: Gradients = Gradients(0);
const H: Gradients = Gradients(1);
const NOISE: Instruction = Perturb { draw: Draw::FIRST };
const AT: Instruction = Gradient { into: G };
const STEP: Instruction = Update { along: G };

fn combine(into: Gradients, other: Gradients) -> Instruction {
    Combine { into, keep: 0.5, other, add: 0.5 }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    let number = |line, name, value: &str, nonzero| RuleError::Number { line, name, value: value.to_owned(), nonzero };
    let by = |factor| Perturb { draw: Draw { number: 0, factor } };
    let cases = [
        (vec![], RuleError::Update { line: 1 }),
        (vec![NOISE, AT], RuleError::Update { line: 2 }),
        (vec![AT, STEP, AT, STEP], RuleError::Update { line: 2 }),
        (vec![STEP], RuleError::Unwritten { line: 1, buffer: G }),
        (vec![NOISE, STEP], RuleError::Unseen { line: 1 }),
        (vec![AT, NOISE, STEP], RuleError::Unseen { line: 2 }),
        (vec![NOISE, Clean, AT, STEP], RuleError::Unseen { line: 1 }),
        (vec![Loss, AT, Loss, STEP], RuleError::Losses { line: 3 }),
        (vec![AT, combine(G, H), STEP], RuleError::Unwritten { line: 2, buffer: H }),
        (vec![AT, combine(G, G), STEP], RuleError::Same { line: 2, buffer: G }),
        (vec![AT, AT, STEP], RuleError::Unread { line: 1, buffer: G }),
        (vec![Gradient { into: H }, AT, STEP], RuleError::Unread { line: 1, buffer: H }),
        (vec![Ascend { along: G, rho: 0.1 }, AT, STEP], RuleError::Unwritten { line: 1, buffer: G }),
        (vec![AT, Ascend { along: G, rho: f64::NAN }, AT, STEP], number(2, "rho", "NaN", false)),
        (vec![by(0.0), AT, STEP], number(1, "the factor of the noise", "0", true)),
        (vec![by(f64::INFINITY), AT, STEP], number(1, "the factor of the noise", "inf", true)),
    ];
    for (instructions, expected) in cases {
        assert_eq!(Program::new("wrong", instructions.clone()), Err(expected), "{instructions:?}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let texts = [
        (RuleError::Unwritten { line: 2, buffer: H }, "line 2 reads g1, which nothing has written in this step"),
        (
            RuleError::Unseen { line: 1 },
            "line 1 moves the effective weights, and neither a gradient nor the loss is taken there",
        ),
        (
            RuleError::Number { line: 1, name: "rho", value: "NaN".to_owned(), nonzero: false },
            "line 1: rho is NaN, expected a finite number",
        ),
        (
            RuleError::Number { line: 1, name: "the factor of the noise", value: "0".to_owned(), nonzero: true },
            "line 1: the factor of the noise is 0, expected a finite number other than 0",
        ),
    ];
    for (error, expected) in texts {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn programs_that_are_there_are_programs() {
    let again = |program: Program| Program::new(program.name(), program.instructions().to_vec()) == Ok(program.clone());
    assert!([Program::noise(), Program::antithetic(), Program::sharpness_aware(0.05).unwrap()].into_iter().all(again));
    assert_eq!(Program::new("plain", vec![AT, STEP]).map(|plain| plain.name().to_owned()), Ok("plain".to_owned()));
    assert!(Program::new("clean first", vec![Clean, AT, STEP]).is_ok());
}

#[test]
fn a_program_reads_line_by_line() {
    let lines = "rule noise\n  1 perturb: effective <- clean + noise 0\n  2 gradient: g0 <- gradient at effective\n  \
                 3 update: clean <- step of the optimizer along g0";
    assert_eq!(Program::noise().to_string(), lines);
    let text = Program::antithetic().to_string();
    assert!(text.contains("\n  3 perturb: effective <- clean - noise 0\n"), "{text}");
    assert!(text.contains("\n  5 combine: g0 <- 0.5 g0 + 0.5 g1\n"), "{text}");
    let text = Program::sharpness_aware(0.05).unwrap().to_string();
    assert!(text.contains("\n  2 ascend: effective <- clean + 0.05 g0 / norm(g0)\n"), "{text}");
    let draw = Draw { number: 1, factor: -0.5 };
    assert_eq!(Perturb { draw }.to_string(), "perturb: effective <- clean - 0.5 noise 1");
}

#[test]
fn the_peephole_fuses_the_update_with_the_next_perturb() {
    let [fused, separate] =
        [UpdateFusion::Fused, UpdateFusion::Separate].map(|fusion| Compiled::new(&Program::noise(), fusion).lines());
    let start = "perturb: effective <- clean + noise 0, unless the step before has";
    assert_eq!(fused, [start, "gradient at effective", "update, and perturb of the next step"]);
    assert_eq!(separate, [start, "gradient at effective", "update", "perturb of the next step"]);
    // Nothing to fuse where a step begins at the clean weights: the update leaves them there.
    let plain = Program::new("plain", vec![AT, STEP]).unwrap();
    for fusion in [UpdateFusion::Fused, UpdateFusion::Separate] {
        assert_eq!(Compiled::new(&plain, fusion).lines(), ["gradient at effective", "update"]);
    }
}

fn passes(program: &Program) -> (Vec<Vec<Command>>, usize) {
    let compiled = Compiled::new(program, UpdateFusion::Fused);
    (compiled.phases().iter().map(|phase| phase.after.clone()).collect(), compiled.kept())
}

#[test]
fn gradients_are_kept_only_where_another_pass_would_overwrite_them() {
    let first = Place::Draw(Draw::FIRST);
    // The sum is made in the arena, where the optimizer reads it.
    let mean = Command::Combine { into: GradientSlot::Arena, keep: 0.5, other: GradientSlot::Kept(0), add: 0.5 };
    let expected = vec![vec![Command::Mirror, Command::Keep(0)], vec![mean, Command::Update(first)]];
    assert_eq!(passes(&Program::antithetic()), (expected, 1));
    let rise = Command::Ascend { along: GradientSlot::Arena, rho: 0.05 };
    let expected = vec![vec![rise], vec![Command::Update(Place::Clean)]];
    assert_eq!(passes(&Program::sharpness_aware(0.05).unwrap()), (expected, 0));
}

#[test]
fn one_pass_tells_the_loss_and_one_moves_statistics() {
    let passes = |program: &Program| -> Vec<Pass> {
        Compiled::new(program, UpdateFusion::Fused).phases().iter().map(|phase| phase.pass).collect()
    };
    let gradient = |tells, moves_statistics| Pass { backward: true, tells, moves_statistics, part: None, probe: None };
    let loss = Pass { backward: false, tells: true, moves_statistics: false, part: None, probe: None };
    assert_eq!(passes(&Program::noise()), [gradient(true, true)]);
    assert_eq!(passes(&Program::antithetic()), [gradient(true, true), gradient(false, false)]);
    let program = Program::new("told", vec![Loss, NOISE, AT, STEP]).unwrap();
    assert_eq!(passes(&program), [loss, gradient(false, true)]);
    let program = Program::new("told late", vec![NOISE, AT, Clean, Loss, STEP]).unwrap();
    assert_eq!(passes(&program), [gradient(false, true), loss]);
}

#[test]
fn weights_of_a_sum_follow_its_gradients() {
    let sum = Combine { into: G, keep: 0.75, other: H, add: 0.25 };
    let program = Program::new("sum", vec![AT, NOISE, Gradient { into: H }, sum, STEP]).unwrap();
    let made = Command::Combine { into: GradientSlot::Arena, keep: 0.25, other: GradientSlot::Kept(0), add: 0.75 };
    let expected =
        vec![vec![Command::Put(Place::Draw(Draw::FIRST)), Command::Keep(0)], vec![made, Command::Update(Place::Clean)]];
    assert_eq!(passes(&program), (expected, 1));
    // What is added is read again: the sum is made where the other lies, and put back for the optimizer.
    let again = Combine { into: G, keep: 1.0, other: H, add: -2.0 };
    let program = Program::new("again", vec![AT, NOISE, Gradient { into: H }, sum, again, STEP]).unwrap();
    let (found, kept) = passes(&program);
    let in_place = Command::Combine { into: GradientSlot::Kept(0), keep: 0.75, other: GradientSlot::Arena, add: 0.25 };
    let last = Command::Combine { into: GradientSlot::Arena, keep: -2.0, other: GradientSlot::Kept(0), add: 1.0 };
    assert_eq!((&found[1], kept), (&vec![in_place, last, Command::Update(Place::Clean)], 1));
    // The update's gradient is the one that was kept.
    let program = vec![AT, Gradient { into: H }, Ascend { along: H, rho: 1.0 }, Gradient { into: H }, combine(H, G)];
    let program = Program::new("kept", [program, vec![combine(G, H), STEP]].concat()).unwrap();
    let (found, kept) = passes(&program);
    assert_eq!(kept, 1);
    assert_eq!(found[0], [Command::Keep(0)]);
    let both = Command::Combine { into: GradientSlot::Arena, keep: 0.5, other: GradientSlot::Kept(0), add: 0.5 };
    assert_eq!(found[2], [both, both, Command::Update(Place::Clean)]);
}

#[test]
fn a_gradient_of_another_buffer_is_put_where_the_optimizer_reads_it() {
    let rise = Ascend { along: H, rho: 1.0 };
    let other = Gradients(2);
    let program = vec![AT, Gradient { into: H }, rise, Gradient { into: other }, Ascend { along: other, rho: 1.0 }];
    let program = [program, vec![Gradient { into: H }, combine(H, other), Ascend { along: H, rho: 1.0 }]].concat();
    let program = Program::new("many", [program, vec![Gradient { into: H }, combine(H, G), STEP]].concat());
    // The last sum is read by nothing.
    assert_eq!(program, Err(RuleError::Unread { line: 10, buffer: H }));
    let program = vec![AT, NOISE, Gradient { into: H }, Ascend { along: H, rho: 1.0 }, Gradient { into: H }];
    let program = [program, vec![combine(G, H), Ascend { along: H, rho: 2.0 }, Gradient { into: H }]].concat();
    let program = Program::new("restored", [program, vec![combine(G, H), STEP]].concat()).unwrap();
    let (found, kept) = passes(&program);
    assert_eq!(kept, 1);
    let half = |into, other| Command::Combine { into, keep: 0.5, other, add: 0.5 };
    assert_eq!(found[2][0], half(GradientSlot::Kept(0), GradientSlot::Arena), "{found:?}");
    assert_eq!(found[3], [half(GradientSlot::Arena, GradientSlot::Kept(0)), Command::Update(Place::Clean)]);
}

#[test]
fn the_family_is_recorded_as_its_rules_say() {
    let lines = |program: Program, fusion| Compiled::new(&program, fusion).lines();
    let parts = Program::sharpness_aware_by_parts(0.1, 2).unwrap();
    let expected = [
        "gradient at effective, part 1 of 2",
        "ascend: effective <- clean + 0.1 grads / norm(grads)",
        "gradient at effective, part 1 of 2",
        "clean: effective <- clean",
        "keep: kept 0 <- grads",
        "gradient at effective, part 2 of 2",
        "ascend: effective <- clean + 0.1 grads / norm(grads)",
        "gradient at effective, part 2 of 2",
        "combine: grads <- 1 grads + 1 kept 0",
        "update",
    ];
    assert_eq!(lines(parts, UpdateFusion::Fused), expected);
    // What lies ahead depends on the momentum, which the update writes first.
    let ahead = lines(Program::ahead(3.0).unwrap(), UpdateFusion::Fused);
    assert_eq!(ahead[1..], ["gradient at effective", "update", "perturb of the next step"]);
    let probes = lines(Program::zeroth_order(), UpdateFusion::Fused);
    let expected = [
        "loss at effective",
        "mirror: effective <- 2 clean - effective",
        "loss at effective",
        "descend, and perturb of the next step",
    ];
    assert_eq!(probes[1..], expected);
    let variational = lines(Program::variational(2), UpdateFusion::Fused);
    assert!(variational.contains(&"weigh: products <- noise 0 grads".to_owned()), "{variational:?}");
    assert!(variational.contains(&"weigh: products <- products + noise 1 grads".to_owned()), "{variational:?}");
    let history = lines(Program::adaptive_noise(), UpdateFusion::Separate);
    assert_eq!(history[2..], ["remember: history <- beta history + grads^2", "update", "perturb of the next step"]);
}

/// The other side of the draw where the weights are, and of no other.
#[test]
fn a_draw_is_mirrored_in_its_place_alone() {
    let draw = |number, factor| Perturb { draw: Draw { number, factor } };
    let puts = |instructions: Vec<Instruction>| -> Vec<Command> {
        let (found, _) = passes(&Program::new("sides", instructions).unwrap());
        let placed = |command: &Command| matches!(command, Command::Put(_) | Command::Mirror);
        found.into_iter().flatten().filter(placed).collect()
    };
    let second =
        |put: Vec<Instruction>| [vec![draw(0, 1.0), AT], put, vec![Gradient { into: H }, combine(G, H), STEP]].concat();
    let put = |number, factor| Command::Put(Place::Draw(Draw { number, factor }));
    assert_eq!(puts(second(vec![draw(0, -1.0)])), [Command::Mirror]);
    assert_eq!(puts(second(vec![draw(0, -2.0)])), [put(0, -2.0)]);
    assert_eq!(puts(second(vec![draw(1, -1.0)])), [put(1, -1.0)]);
    assert_eq!(puts(second(vec![Clean, Loss, draw(0, -1.0)])), [Command::Put(Place::Clean), put(0, -1.0)]);
    assert_eq!(puts(second(vec![Ascend { along: G, rho: 1.0 }, Loss, draw(0, -1.0)])), [put(0, -1.0)]);
}

#[test]
fn running_statistics_move_in_the_passes_that_are_asked_for() {
    let moving = |program: Program, statistics| -> Vec<bool> {
        let compiled = Compiled::new(&program.with_statistics(statistics), UpdateFusion::Fused);
        compiled.phases().iter().map(|phase| phase.pass.moves_statistics).collect()
    };
    let sam = || Program::sharpness_aware(0.1).unwrap();
    assert_eq!(moving(sam(), StatisticsPass::First), [true, false]);
    assert_eq!(moving(sam(), StatisticsPass::Last), [false, true]);
    assert_eq!(moving(sam(), StatisticsPass::All), [true, true]);
    assert_eq!(moving(sam(), StatisticsPass::None), [false, false]);
    // The first pass is at the clean weights already; noise of both signs has none there.
    assert_eq!(moving(sam(), StatisticsPass::Clean), [true, false]);
    assert_eq!(moving(Program::antithetic(), StatisticsPass::Clean), [true, false, false]);
    // Of every part the first.
    let parts = || Program::sharpness_aware_by_parts(0.1, 2).unwrap();
    assert_eq!(moving(parts(), StatisticsPass::First), [true, false, true, false]);
    assert_eq!(moving(Program::low_pass(3), StatisticsPass::First), [true; 3]);
    let probes = Compiled::new(&Program::zeroth_order().with_statistics(StatisticsPass::None), UpdateFusion::Fused);
    assert!(probes.goes_by_running_statistics() && !probes.takes_gradients());
    assert_eq!(moving(Program::zeroth_order(), StatisticsPass::First), [true, false]);
}

#[test]
fn parts_of_different_numbers_are_no_program() {
    let part = |index, parts| Instruction::PartGradient { into: G, part: Part { index, parts, mean: PartMean::Step } };
    let with = |first, second| {
        let sum = Combine { into: G, keep: 1.0, other: H, add: 1.0 };
        let instructions = vec![first, Instruction::PartGradient { into: H, part: second }, sum, STEP];
        Program::new("parts", instructions).map(|_| ())
    };
    let second = |index, parts| Part { index, parts, mean: PartMean::Step };
    assert_eq!(with(part(0, 2), second(1, 2)), Ok(()));
    let wrong = |index, found, expected| Err(RuleError::Part { line: 2, index, found, expected });
    assert_eq!(with(part(0, 2), second(1, 3)), wrong(1, 3, 2));
    assert_eq!(with(part(0, 2), second(2, 2)), wrong(2, 2, 2));
    let text = RuleError::Part { line: 2, index: 2, found: 2, expected: 2 }.to_string();
    assert_eq!(text, "line 2 takes part 3 of 2, where there are 2");
}

#[test]
fn gradient_evaluations_are_counted_over_each_sample() {
    let evaluations = |program: Program| Compiled::new(&program, UpdateFusion::Fused).gradient_evaluations();
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    close(evaluations(Program::noise()), 1.0);
    close(evaluations(Program::sharpness_aware(0.1).unwrap()), 2.0);
    close(evaluations(Program::sharpness_aware_by_parts(0.1, 4).unwrap()), 2.0);
    close(evaluations(Program::noise_stability(2, 0.5).unwrap()), 5.0);
    close(evaluations(Program::low_pass(8)), 1.0);
    close(evaluations(Program::mixed_noise(0.5).unwrap()), 1.0);
    close(evaluations(Program::zeroth_order()), 2.0 / 3.0);
    let clean = Program::noise_stability(1, 0.0).unwrap().with_statistics(StatisticsPass::Clean);
    close(evaluations(clean), 2.0 + 1.0 / 3.0);
}
