//! The programs of known rules. Sources are at [`RuleKind`](super::RuleKind).

use super::{Draw, Gradients, Instruction, Part, PartMean, Program, RuleError, StatisticsPass};

/// The gradients of programs that need one or two.
const G: [Gradients; 2] = [Gradients(0), Gradients(1)];

/// A program that is right by construction.
fn known(name: &str, instructions: Vec<Instruction>) -> Program {
    Program { name: name.to_owned(), instructions, statistics: StatisticsPass::First }
}

/// One draw of the step.
fn perturb(number: u32) -> Instruction {
    Instruction::Perturb { draw: Draw { number, ..Draw::FIRST } }
}

impl Program {
    /// Weight noise: the gradient is taken at noisy weights and moves the clean ones.
    ///
    /// Source: Orvieto, Raj, Kersting and Bach, *Explicit Regularization in Overparametrized Models via Noise Injection*,
    /// AISTATS 2023.
    #[must_use]
    pub fn noise() -> Self {
        let at = Instruction::Gradient { into: G[0] };
        known("noise", vec![perturb(0), at, Instruction::Update { along: G[0] }])
    }

    /// Noise of both signs: the mean of the gradients at the weights with a step's noise and with its mirror image.
    ///
    /// Source: Zhang, Li and Ju, *Noise Stability Optimization for Finding Flat Minima*, TMLR 2024.
    #[must_use]
    pub fn antithetic() -> Self {
        Self { name: "antithetic noise".to_owned(), ..Self::two_sided(1, 0.0) }
    }

    /// Noise of both signs in `pairs` draws, whose gradients' mean has the weight 1 - `lambda` beside the clean gradient's.
    ///
    /// Source: as [`Program::antithetic`].
    ///
    /// # Errors
    /// [`RuleError::Number`] for a share that is not finite.
    pub fn noise_stability(pairs: u32, lambda: f64) -> Result<Self, RuleError> {
        Self::new("nso", Self::two_sided(pairs.max(1), lambda).instructions)
    }

    fn two_sided(pairs: u32, lambda: f64) -> Self {
        let (mut instructions, mut held) = (Vec::new(), lambda);
        if lambda != 0.0 {
            instructions.push(Instruction::Gradient { into: G[0] });
        }
        let share = (1.0 - lambda) / f64::from(2 * pairs);
        for number in 0..pairs {
            let draw = Draw { number, ..Draw::FIRST };
            for draw in [draw, draw.mirrored()] {
                let into = if instructions.is_empty() { G[0] } else { G[1] };
                instructions.extend([Instruction::Perturb { draw }, Instruction::Gradient { into }]);
                if into == G[1] {
                    instructions.push(Instruction::Combine { into: G[0], keep: held, other: G[1], add: share });
                    held = 1.0;
                } else {
                    held = share;
                }
            }
        }
        instructions.push(Instruction::Update { along: G[0] });
        known("nso", instructions)
    }

    /// Sharpness-aware minimisation: the gradient is taken at a distance `rho` up the gradient.
    ///
    /// Source: Foret, Kleiner, Mobahi and Neyshabur, *Sharpness-aware minimization*, ICLR 2021.
    ///
    /// # Errors
    /// [`RuleError::Number`] for a distance that is not finite.
    pub fn sharpness_aware(rho: f64) -> Result<Self, RuleError> {
        Self::up("sharpness-aware", Instruction::Ascend { along: G[0], rho })
    }

    /// Adaptive sharpness-aware minimisation: the distance is in units of the weights' magnitudes plus `eta`.
    ///
    /// Source: Kwon, Kim, Park and Choi, *ASAM*, ICML 2021.
    ///
    /// # Errors
    /// As [`Program::sharpness_aware`].
    pub fn adaptive(rho: f64, eta: f64) -> Result<Self, RuleError> {
        Self::up("asam", Instruction::AscendAdaptively { along: G[0], rho, eta })
    }

    fn up(name: &str, ascend: Instruction) -> Result<Self, RuleError> {
        let gradient = Instruction::Gradient { into: G[0] };
        Self::new(name, vec![gradient, ascend, gradient, Instruction::Update { along: G[0] }])
    }

    /// Sharpness-aware minimisation by `parts` of a step's samples, each with an ascent of its own.
    ///
    /// Source: as [`Program::sharpness_aware`], section 4.1.
    ///
    /// # Errors
    /// As [`Program::sharpness_aware`].
    pub fn sharpness_aware_by_parts(rho: f64, parts: u32) -> Result<Self, RuleError> {
        let up = |into, part| {
            let gradient = Instruction::PartGradient { into, part };
            vec![Instruction::Clean, gradient, Instruction::Ascend { along: into, rho }, gradient]
        };
        Self::new("m-sam", by_parts(parts, |_, into, part| up(into, part)))
    }

    /// Momentum-SAM: the gradient is taken at a distance `rho` ahead, against the momentum.
    ///
    /// Source: Becker, Altrock and Risse, *Momentum-SAM*, 2024 (arXiv 2401.12033) and its code.
    ///
    /// # Errors
    /// As [`Program::sharpness_aware`].
    pub fn ahead(rho: f64) -> Result<Self, RuleError> {
        let at = Instruction::Gradient { into: G[0] };
        Self::new("msam", vec![Instruction::LookAhead { rho }, at, Instruction::Update { along: G[0] }])
    }

    /// Low-pass filter SGD: `parts` of a step's samples, each at a draw of its own.
    ///
    /// Source: Bisla, Wang and Choromanska, *Low-Pass Filtering SGD for Recovering Flat Optima*, AISTATS 2022.
    #[must_use]
    pub fn low_pass(parts: u32) -> Self {
        let at = |number, into, part| vec![perturb(number), Instruction::PartGradient { into, part }];
        known("lpf", by_parts(parts, at))
    }

    /// Adaptive random weight perturbation: noise that shrinks where past gradients were large.
    ///
    /// Source: Li, Liu, Lei et al., *Revisiting Random Weight Perturbation for Efficiently Improving Generalization*, TMLR 2024.
    #[must_use]
    pub fn adaptive_noise() -> Self {
        let (at, along) = (Instruction::Gradient { into: G[0] }, G[0]);
        known("arwp", vec![perturb(0), at, Instruction::Remember { along }, Instruction::Update { along }])
    }

    /// Mixed random weight perturbation: `lambda` times the noisy gradient over one half of a step's samples, and the rest the
    /// clean gradient over the other.
    ///
    /// Source: as [`Program::adaptive_noise`]; in its code, as here, `lambda` weighs the noisy gradient.
    ///
    /// # Errors
    /// [`RuleError::Number`] for a share that is not finite.
    pub fn mixed_noise(lambda: f64) -> Result<Self, RuleError> {
        let half =
            |into, index| Instruction::PartGradient { into, part: Part { index, parts: 2, mean: PartMean::Own } };
        let sum = Instruction::Combine { into: G[0], keep: 1.0 - lambda, other: G[1], add: lambda };
        let step = Instruction::Update { along: G[0] };
        Self::new("m-rwp", vec![half(G[0], 0), perturb(0), half(G[1], 1), sum, step])
    }

    /// Variational descent: gradients at `draws` of the posterior, by whose products with the noise it is updated.
    ///
    /// Source: Shen, Daheim, Cong et al., *Variational Learning is Effective for Large Deep Networks*, ICML 2024.
    #[must_use]
    pub fn variational(draws: u32) -> Self {
        let share = 1.0 / f64::from(draws.max(1));
        let mut instructions = vec![perturb(0), Instruction::Gradient { into: G[0] }];
        if draws > 1 {
            instructions.push(Instruction::Weigh { draw: 0, along: G[0] });
        }
        for draw in 1..draws {
            let keep = if draw == 1 { share } else { 1.0 };
            instructions.extend([
                perturb(draw),
                Instruction::Gradient { into: G[1] },
                Instruction::Weigh { draw, along: G[1] },
                Instruction::Combine { into: G[0], keep, other: G[1], add: share },
            ]);
        }
        instructions.push(Instruction::Update { along: G[0] });
        known("ivon", instructions)
    }

    /// Descent by the difference of two losses along a draw.
    ///
    /// Source: Malladi, Gao, Nichani et al., *Fine-Tuning Language Models with Just Forward Passes*, NeurIPS 2023.
    #[must_use]
    pub fn zeroth_order() -> Self {
        let probe = |number| Instruction::Probe { number };
        let mirrored = Instruction::Perturb { draw: Draw::FIRST.mirrored() };
        known("mezo", vec![perturb(0), probe(0), mirrored, probe(1), Instruction::Descend])
    }
}

/// Gradients of parts, each as `one` takes it by the part's number, summed up, and the update along the sum.
fn by_parts(parts: u32, one: impl Fn(u32, Gradients, Part) -> Vec<Instruction>) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    for index in 0..parts.max(1) {
        let into = if index == 0 { G[0] } else { G[1] };
        instructions.extend(one(index, into, Part { index, parts: parts.max(1), mean: PartMean::Step }));
        if index > 0 {
            instructions.push(Instruction::Combine { into: G[0], keep: 1.0, other: G[1], add: 1.0 });
        }
    }
    instructions.push(Instruction::Update { along: G[0] });
    instructions
}
