//! What a user gives of a configuration, apart from what is left to defaults: these are a rule's where it has some.

use std::{collections::BTreeSet, path::Path};

use crate::{input, noise::Mode, rules::RuleKind};

use super::{Options, RunConfig, TrainError};

/// The largest configuration file.
const MAX_BYTES: u64 = 1 << 16;

/// A configuration with the keys that were given for it. It is not checked before it is resolved.
#[derive(Clone, Debug)]
pub struct Given {
    config: RunConfig,
    /// As in a file.
    keys: BTreeSet<String>,
}

impl From<RunConfig> for Given {
    /// One of which nothing was given, though its values may be others than the defaults.
    fn from(config: RunConfig) -> Self {
        Self { config, keys: BTreeSet::new() }
    }
}

impl Given {
    /// A TOML file, then options.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Config`] naming file or key.
    pub fn read(file: Option<&Path>, options: &Options) -> Result<Self, TrainError> {
        let Some(path) = file else { return Self::from(RunConfig::default()).with(options) };
        let text = input::text(path, MAX_BYTES).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        Self::parse((path, &text))?.with(options)
    }

    /// The text of the file named.
    pub(super) fn parse((path, text): (&Path, &str)) -> Result<Self, TrainError> {
        let config = toml::from_str(text).map_err(|error| wrong(&path.display(), &error))?;
        // A file that reads as a configuration reads as a table.
        let table: toml::Table = toml::from_str(text).unwrap_or_default();
        Ok(Self { config, keys: table.keys().cloned().collect() })
    }

    /// The keys and values of a table that is called so.
    ///
    /// # Errors
    /// [`TrainError::Config`] for what is no key, or no value of one.
    pub fn of_table(name: &str, table: toml::Table) -> Result<Self, TrainError> {
        let keys = table.keys().cloned().collect();
        Ok(Self { config: table.try_into().map_err(|error| wrong(&name, &error))?, keys })
    }

    /// The same, but for the options that are given.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a value of another kind than the key's.
    pub fn with(mut self, options: &Options) -> Result<Self, TrainError> {
        options.put(&mut self.config)?;
        let arguments = RunConfig::arguments();
        let keys = arguments.iter().filter_map(|key| key.get_long()).filter(|key| options.gives(key));
        self.keys.extend(keys.map(str::to_owned));
        Ok(self)
    }

    /// Whether a key was given.
    #[must_use]
    pub fn gives(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// The values as they are before any rule's defaults.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// With the defaults of its rule and of its optimizer, where they were given; checked.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub fn resolved(&self) -> Result<RunConfig, TrainError> {
        let mut config = self.config.clone();
        if self.gives("rule") || self.gives("optimizer") {
            config.take_published(&|key| self.gives(key));
        }
        config.check()?;
        Ok(config)
    }

    /// By another rule, with its defaults, in a mode of noise; checked. Parameters of other rules are left out.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub fn by_rule(&self, rule: RuleKind, noise: Mode) -> Result<RunConfig, TrainError> {
        let mut config = RunConfig { rule, noise, ..self.config.clone() };
        config.leave_out_other_rules();
        config.take_published(&|key| self.gives(key));
        config.check()?;
        Ok(config)
    }
}

impl RunConfig {
    /// Defaults, those of the rule among them, then a TOML file, then options; checked.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Config`] naming file or key.
    pub fn resolve(file: Option<&Path>, options: &Options) -> Result<Self, TrainError> {
        Given::read(file, options)?.resolved()
    }

    /// As [`RunConfig::resolve`], of the text of the file named.
    pub(crate) fn resolve_text(file: (&Path, &str), options: &Options) -> Result<Self, TrainError> {
        Given::parse(file)?.with(options)?.resolved()
    }

    /// This one, but for the options that are given; checked.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub fn with(&self, options: &Options) -> Result<Self, TrainError> {
        Given::from(self.clone()).with(options)?.resolved()
    }
}

fn wrong(key: &dyn std::fmt::Display, reason: &dyn std::fmt::Display) -> TrainError {
    TrainError::Config { key: key.to_string(), reason: reason.to_string().trim().to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_rules_defaults_hold_for_what_is_not_given() {
        let options = |words: &[&str]| Options::parse(words.iter().copied()).unwrap();
        let given = Given::read(None, &options(&["--rho=0.2", "--beta2=0.5", "--pairs=3"])).unwrap();
        let sam = given.by_rule(RuleKind::Sam, Mode::None).unwrap();
        assert_eq!((sam.rho, sam.pairs, sam.weight_decay), (Some(0.2), None, RunConfig::default().weight_decay));
        let ivon = given.by_rule(RuleKind::Ivon, Mode::None).unwrap();
        assert_eq!((ivon.rho, ivon.beta2, ivon.weight_decay), (None, 0.5, 1e-4));
        let nso = given.by_rule(RuleKind::Nso, Mode::None).unwrap();
        assert_eq!((nso.pairs, nso.sigma), (Some(3), 0.01));
        let table = "sigma = 0.3\nrule = 'sam'\n".parse().unwrap();
        let layer = Given::of_table("arm", table).unwrap().by_rule(RuleKind::Noise, Mode::Layer).unwrap();
        assert_eq!((layer.rule, layer.noise, layer.sigma), (RuleKind::Noise, Mode::Layer, 0.3));
        let error = Given::of_table("arm", "rhoo = 1".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("arm") && error.contains("rhoo"), "{error}");
    }
}
