//! Keys that a command line gives, over those of a file.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::{Arg, ArgMatches, Command, FromArgMatches as _, builder::Resettable, parser::ValueSource};

use crate::input;

use super::{RunConfig, TrainError};

/// The largest configuration file.
const MAX_BYTES: u64 = 1 << 16;

/// Keys of a configuration with the values that are given for them; others keep the value of the file or the default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Of a command with every key and no defaults, so that what it holds was given. `None` where nothing is.
    given: Option<ArgMatches>,
}

impl Options {
    /// Reads words of a command line: `["--lr", "0.1", "--flip"]`.
    ///
    /// # Errors
    /// [`TrainError::Config`] for what is no option, or no value of one.
    pub fn parse<W: Into<OsString> + Clone>(words: impl IntoIterator<Item = W>) -> Result<Self, TrainError> {
        Self::read(words).map_err(|error| refused(&error))
    }

    fn read<W: Into<OsString> + Clone>(words: impl IntoIterator<Item = W>) -> Result<Self, clap::Error> {
        let keys = RunConfig::arguments().into_iter().map(|key| key.default_value(Resettable::Reset));
        let command = Command::new("options").no_binary_name(true).disable_help_flag(true).args(keys);
        Ok(Self { given: Some(command.try_get_matches_from(words)?) })
    }

    /// Those that were given to a command which has these of [`RunConfig::arguments`] as options.
    ///
    /// # Errors
    /// None where the command took values as those arguments do.
    pub fn given(matches: &ArgMatches, keys: &[Arg]) -> Result<Self, clap::Error> {
        let given = |key: &&Arg| matches.value_source(key.get_id().as_str()) == Some(ValueSource::CommandLine);
        Self::read(keys.iter().filter(given).map(|key| {
            let values: Vec<&OsStr> = matches.get_raw(key.get_id().as_str()).into_iter().flatten().collect();
            let mut word = OsString::from(format!("--{}=", key.get_long().unwrap_or_default()));
            word.push(values.join(OsStr::new(",")));
            word
        }))
    }

    /// Whether a value is given for a key, named as in a file.
    #[must_use]
    pub fn gives(&self, key: &str) -> bool {
        let id = key.replace('-', "_");
        self.given.as_ref().is_some_and(|given| matches!(given.try_contains_id(&id), Ok(true)))
    }
}

impl RunConfig {
    /// Defaults, those of the rule among them, then a TOML file, then options; checked.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Config`] naming file or key.
    pub fn resolve(file: Option<&Path>, options: &Options) -> Result<Self, TrainError> {
        let Some(path) = file else { return Self::default().with(options) };
        let text = input::text(path, MAX_BYTES).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        Self::resolve_text((path, &text), options)
    }

    /// As [`RunConfig::resolve`], of the text of the file named.
    pub(crate) fn resolve_text((path, text): (&Path, &str), options: &Options) -> Result<Self, TrainError> {
        let config: Self = toml::from_str(text).map_err(|error| TrainError::Config {
            key: path.display().to_string(),
            reason: error.to_string().trim().to_owned(),
        })?;
        // A file that reads as a configuration reads as a table.
        let table: toml::Table = toml::from_str(text).unwrap_or_default();
        config.with_given(options, &|key| table.contains_key(key))
    }

    /// This one, but for the options that are given; checked.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub fn with(&self, options: &Options) -> Result<Self, TrainError> {
        self.with_given(options, &|_| false)
    }

    /// As [`RunConfig::with`], where some keys are this configuration's own rather than defaults.
    fn with_given(&self, options: &Options, own: &dyn Fn(&str) -> bool) -> Result<Self, TrainError> {
        let mut config = self.clone();
        // Either of two keys says how long a run, or its noise, is: the one that is given overrules the other of the file.
        if options.gives("epochs") {
            config.steps = None;
        }
        if options.gives("noise-off-epoch") {
            config.noise_off_step = None;
        }
        if options.gives("noise-off-step") {
            config.noise_off_epoch = None;
        }
        if let Some(given) = &options.given {
            config.update_from_arg_matches(given).map_err(|error| refused(&error))?;
        }
        if own("rule") || options.gives("rule") {
            config.take_published(&|key| own(key) || options.gives(key));
        }
        config.check()?;
        Ok(config)
    }
}

/// The first sentence of what a reader of options says.
fn refused(error: &clap::Error) -> TrainError {
    let text = error.to_string();
    let sentence = text.lines().next().unwrap_or_default();
    TrainError::Config { key: "options".to_owned(), reason: sentence.trim_start_matches("error: ").to_owned() }
}
