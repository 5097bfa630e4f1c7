//! Keys that a command line gives, over those of a file.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgMatches, Command, FromArgMatches as _, builder::Resettable, parser::ValueSource};

use super::{RunConfig, TrainError};

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

    /// Puts the values that are given into a configuration.
    pub(super) fn put(&self, config: &mut RunConfig) -> Result<(), TrainError> {
        // Either of two keys says how long a run, or its noise, is: the one that is given overrules the other of the file.
        if self.gives("epochs") {
            config.steps = None;
        }
        if self.gives("noise-off-epoch") {
            config.noise_off_step = None;
        }
        if self.gives("noise-off-step") {
            config.noise_off_epoch = None;
        }
        let given = self.given.as_ref();
        given.map_or(Ok(()), |given| config.update_from_arg_matches(given)).map_err(|error| refused(&error))
    }
}

/// The first sentence of what a reader of options says.
fn refused(error: &clap::Error) -> TrainError {
    let text = error.to_string();
    let sentence = text.lines().next().unwrap_or_default();
    TrainError::Config { key: "options".to_owned(), reason: sentence.trim_start_matches("error: ").to_owned() }
}
