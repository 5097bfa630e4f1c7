//! Arms by their rules: which configurations a comparison of rules runs, and how long each is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    names::{UnknownName, named},
    nn::Model,
    noise::Mode,
    rules::RuleKind,
};

use super::{Given, Options, RunConfig, TrainError};

/// An arm by its rule: `sam`, or `noise:layer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleArm {
    /// The rule.
    pub rule: RuleKind,
    /// The mode of rule `noise`; none in every other.
    pub noise: Mode,
}

named!("length",
    /// What runs of different rules have in common.
    #[derive(Default)]
    Equal {
        /// The number of epochs, or of steps.
        #[default]
        Epochs = "epochs",
        /// Gradient evaluations, whatever the steps.
        Compute = "compute",
    }
);

/// A key with the values that it is chosen among: `rho=0.02,0.05`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridKey {
    key: String,
    values: Vec<String>,
}

/// What an arm may be run as: more than one where something of it is chosen.
#[derive(Clone, Debug)]
pub struct RuleChoices {
    /// The arm.
    pub arm: RuleArm,
    /// Every combination of the values that apply to it; one without any where none does.
    pub options: Vec<RuleChoice>,
}

/// One combination.
#[derive(Clone, Debug)]
pub struct RuleChoice {
    /// Such as `rho=0.05`, in the order in which the keys were given.
    pub values: Vec<String>,
    /// What is run.
    pub config: RunConfig,
}

/// Keys that every arm has, and that may be chosen among values.
const SHARED: [&str; 2] = ["lr", "weight-decay"];

impl RuleArm {
    /// Plain training.
    pub const NONE: Self = Self { rule: RuleKind::Noise, noise: Mode::None };

    fn all() -> impl Iterator<Item = Self> {
        let modes = Mode::ALL.into_iter().map(|noise| Self { rule: RuleKind::Noise, noise });
        let rules = RuleKind::ALL.into_iter().filter(|rule| !rule.is_noise());
        modes.chain(rules.map(|rule| Self { rule, noise: Mode::None }))
    }

    /// Whether a key has a meaning for it.
    fn has(self, key: &str) -> bool {
        let draws = self.noise != Mode::None || self.rule.draws_at_sigma();
        SHARED.contains(&key) || self.rule.parameters().contains(&key) || (key == "sigma" && draws)
    }

    /// Its configurations: over what is given, with its rule's published defaults for the rest.
    ///
    /// # Errors
    /// [`TrainError::Config`] for values that make no sense with the rule.
    fn choices(self, given: &Given, grid: &[GridKey]) -> Result<RuleChoices, TrainError> {
        let mut words: Vec<Vec<String>> = vec![Vec::new()];
        for GridKey { key, values } in grid.iter().filter(|axis| self.has(&axis.key)) {
            let longer = |words: &Vec<String>| -> Vec<Vec<String>> {
                values.iter().map(|value| [&words[..], &[format!("{key}={value}")]].concat()).collect()
            };
            words = words.iter().flat_map(longer).collect();
        }
        let choice = |values: Vec<String>| {
            let options = Options::parse(values.iter().map(|value| format!("--{value}")))?;
            let config = given.clone().with(&options)?.by_rule(self.rule, self.noise)?;
            Ok(RuleChoice { values, config })
        };
        let options = words.into_iter().map(choice).collect::<Result<_, TrainError>>()?;
        Ok(RuleChoices { arm: self, options })
    }
}

impl fmt::Display for RuleArm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            RuleKind::Noise => write!(f, "noise:{}", self.noise),
            rule => rule.fmt(f),
        }
    }
}

impl FromStr for RuleArm {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::all().find(|arm| arm.to_string() == text).ok_or_else(|| {
            let expected = Self::all().map(|arm| arm.to_string()).collect::<Vec<_>>().join(", ");
            UnknownName { what: "arm", found: text.to_owned(), expected }
        })
    }
}

impl TryFrom<String> for RuleArm {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RuleArm> for String {
    fn from(arm: RuleArm) -> Self {
        arm.to_string()
    }
}

impl FromStr for GridKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((key, values)) = text.split_once('=') else {
            return Err(format!("found {text:?}, expected KEY=VALUE,VALUE"));
        };
        let parameters = RuleKind::ALL.into_iter().flat_map(RuleKind::parameters).copied();
        let known: Vec<&str> = parameters.chain(["sigma"]).chain(SHARED).collect();
        if !known.contains(&key) {
            return Err(format!("{key} is none of the keys that can be chosen: {}", known.join(", ")));
        }
        let values: Vec<String> = values.split(',').map(str::to_owned).collect();
        match values.iter().enumerate().find(|(at, value)| value.is_empty() || values[..*at].contains(value)) {
            Some((_, value)) => Err(format!("{key} has the value {value:?}, expected values that differ")),
            None => Ok(Self { key: key.to_owned(), values }),
        }
    }
}

/// Arms of rules in common settings.
///
/// What is given holds for each arm that has a meaning for it: a parameter of one rule is left out of the others.
///
/// # Errors
/// [`TrainError::Config`] for an arm that is named twice, for a parameter or a key to choose that no arm has, and for values that
/// make no sense with a rule.
pub fn rule_arms(given: &Given, arms: &[RuleArm], grid: &[GridKey]) -> Result<Vec<RuleChoices>, TrainError> {
    let wrong = |key: &str, reason: String| Err(TrainError::Config { key: key.to_owned(), reason });
    if let Some((_, arm)) = arms.iter().enumerate().find(|(at, arm)| arms[..*at].contains(arm)) {
        return wrong("rules", format!("{arm} is there twice"));
    }
    let names = || arms.iter().map(RuleArm::to_string).collect::<Vec<_>>().join(", ");
    let keys: Vec<&str> = grid.iter().map(|axis| axis.key.as_str()).collect();
    let parameters = RuleKind::ALL.into_iter().flat_map(RuleKind::parameters).copied();
    let parameters: Vec<&str> = parameters.filter(|key| given.gives(key)).collect();
    for key in [&parameters[..], &keys].concat() {
        if !arms.iter().any(|arm| arm.has(key)) {
            return wrong(key, format!("no arm has it, of {}", names()));
        }
    }
    if let Some((_, key)) = keys.iter().enumerate().find(|(at, key)| keys[..*at].contains(key)) {
        return wrong("grid", format!("{key} is there twice"));
    }
    arms.iter().map(|arm| arm.choices(given, grid)).collect()
}

impl RunConfig {
    /// Gradient evaluations of a step by its rule over each of its samples.
    ///
    /// # Errors
    /// As [`RunConfig::rule_for`].
    pub fn gradient_evaluations(&self, model: &Model) -> Result<f64, TrainError> {
        Ok(self.rule_for(model)?.compiled().gradient_evaluations())
    }

    /// With as many epochs, or steps, as make so many times fewer, rounded and at least 1; what the schedules count in them goes along.
    #[must_use]
    pub fn shortened(&self, times: f64) -> Self {
        let scaled = |count: u64| (count as f64 / times).round() as u64;
        let positive = |count: u64| if count == 0 { 0 } else { scaled(count).max(1) };
        Self {
            epochs: positive(self.epochs),
            steps: self.steps.map(positive),
            milestones_every: positive(self.milestones_every),
            milestones: self.milestones.iter().copied().map(positive).collect(),
            noise_milestones_every: positive(self.noise_milestones_every),
            noise_milestones: self.noise_milestones.iter().copied().map(positive).collect(),
            noise_off_epoch: self.noise_off_epoch.map(scaled),
            noise_off_step: self.noise_off_step.map(scaled),
            warmup_steps: scaled(self.warmup_steps),
            ..self.clone()
        }
    }
}

impl Equal {
    /// Gives the runs of all arms the same compute, where that is what they are to have in common.
    ///
    /// # Errors
    /// As [`RunConfig::gradient_evaluations`], and [`TrainError::Config`] for schedules that are nothing in so few epochs.
    pub fn adjust(self, choices: &mut [RuleChoices], model: &Model) -> Result<(), TrainError> {
        if self == Self::Epochs {
            return Ok(());
        }
        for choice in choices.iter_mut().flat_map(|arm| &mut arm.options) {
            choice.config = choice.config.shortened(choice.config.gradient_evaluations(model)?);
            choice.config.check()?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn given(words: &[&str]) -> Given {
        Given::read(None, &Options::parse(words.iter().copied()).unwrap()).unwrap()
    }

    fn arms(words: &[&str], rules: &[&str], grid: &[&str]) -> Result<Vec<RuleChoices>, String> {
        let rules: Vec<RuleArm> = rules.iter().map(|arm| arm.parse().unwrap()).collect();
        let grid: Vec<GridKey> = grid.iter().map(|axis| axis.parse().unwrap()).collect();
        rule_arms(&given(words), &rules, &grid).map_err(|error| error.to_string())
    }

    #[test]
    fn an_arm_is_what_its_text_says() {
        for arm in RuleArm::all() {
            assert_eq!(arm.to_string().parse(), Ok(arm));
        }
        for text in ["noise", "noise:layers", "sam:layer", ""] {
            let error = text.parse::<RuleArm>().unwrap_err().to_string();
            assert!(error.contains("noise:none, noise:all") && error.contains("sam"), "{error}");
        }
    }

    #[test]
    fn keys_go_to_the_arms_that_have_them() {
        let found = arms(
            &["--rho=0.2", "--lr=0.5"],
            &["noise:none", "noise:layer", "sam", "nso"],
            &["sigma=0.1,0.2", "lr=1,2,3", "pairs=1,2"],
        );
        let found = found.unwrap();
        let counts: Vec<usize> = found.iter().map(|arm| arm.options.len()).collect();
        assert_eq!(counts, [3, 6, 3, 12]);
        let [sam, nso] = [&found[2].options[1], &found[3].options[11]];
        assert_eq!((sam.config.rho, sam.config.lr, sam.values.as_slice()), (Some(0.2), 2.0, &["lr=2".to_owned()][..]));
        assert_eq!((nso.config.rho, nso.config.pairs, nso.config.sigma, nso.config.lr), (None, Some(2), 0.2, 3.0));
        assert_eq!(nso.values, ["sigma=0.2", "lr=3", "pairs=2"]);
        assert_eq!(arms(&[], &["sam"], &[]).unwrap()[0].options[0].values, [""; 0]);
    }

    #[test]
    fn what_no_arm_has_is_refused_by_name() {
        for (words, rules, grid, part) in [
            (&["--rho=0.1"][..], &["noise:all", "nso"][..], &[][..], "rho: no arm has it, of noise:all, nso"),
            (&[], &["sam", "sam"], &[], "rules: sam is there twice"),
            (&[], &["sam", "noise:none"], &["sigma=1,2"], "sigma: no arm has it"),
            (&[], &["sam"], &["rho=1,2", "rho=3"], "grid: rho is there twice"),
            (&[], &["sam"], &["rho=1,-2"], "rho: has to be positive, found -2"),
            (&[], &["sam"], &["rho=1,x"], "invalid value 'x'"),
        ] {
            let error = arms(words, rules, grid).map(|_| ()).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        for (text, part) in [
            ("rho", "KEY=VALUE"),
            ("momentum=0.1", "momentum is none of the keys"),
            ("rho=1,1", "\"1\""),
            ("rho=1,", "\"\""),
        ] {
            let error = text.parse::<GridKey>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn fewer_epochs_take_their_schedules_along() {
        let config = RunConfig {
            epochs: 21,
            milestones: vec![4, 10],
            noise_off_epoch: Some(18),
            warmup_steps: 5,
            ..RunConfig::default()
        };
        let half = config.shortened(2.0);
        assert_eq!((half.epochs, half.milestones, half.noise_off_epoch), (11, vec![2, 5], Some(9)));
        assert_eq!((half.warmup_steps, half.noise_milestones_every), (3, 15));
        assert_eq!(config.shortened(100.0).epochs, 1);
        assert_eq!(config.shortened(2.0 / 3.0).epochs, 32);
        assert_eq!(config.shortened(1.0), config);
    }
}
