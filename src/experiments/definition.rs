//! Experiments as declared: a TOML file each, with what is claimed, how it is derived, and every number that counts.

use serde::{Deserialize, de::DeserializeOwned};
use toml::Table;

use super::ExperimentError;

/// Name and file of every experiment.
const FILES: [(&str, &str); 6] = [
    ("l1", include_str!("l1.toml")),
    ("group-l1", include_str!("group_l1.toml")),
    ("nuclear", include_str!("nuclear.toml")),
    ("convergence", include_str!("convergence.toml")),
    ("width", include_str!("width.toml")),
    ("smoothed-loss", include_str!("smoothed_loss.toml")),
];

/// An experiment as its file declares it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// For the command line.
    #[serde(skip)]
    pub name: String,
    /// One line.
    pub title: String,
    /// What the paper says, and the experiment checks.
    pub claim: String,
    /// The derivation, and what is done; paragraphs, those that are indented being formulas.
    pub about: String,
    /// Running time on two cores without a GPU, at the default size and in full.
    pub time: Time,
    /// Default settings.
    settings: Table,
    /// Those that differ in full size.
    #[serde(default)]
    full: Table,
}

/// What a user chose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The full size.
    pub full: bool,
    /// Settings such as `arms.steps=1000`.
    pub overrides: Vec<String>,
}

/// Running times for people, the full one estimated from the default one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// At the default size.
    pub default: String,
    /// With `--full`.
    pub full: String,
}

impl Definition {
    /// Every experiment.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] for a file that is no definition.
    pub fn all() -> Result<Vec<Self>, ExperimentError> {
        FILES.iter().map(|(name, text)| Self::parse(name, text)).collect()
    }

    /// The experiment of a name.
    ///
    /// # Errors
    /// [`ExperimentError::Unknown`] naming those there are.
    pub fn find(name: &str) -> Result<Self, ExperimentError> {
        match FILES.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text),
            None => {
                Err(ExperimentError::Unknown { found: name.to_owned(), known: FILES.map(|(name, _)| name).join(", ") })
            }
        }
    }

    fn parse(name: &str, text: &str) -> Result<Self, ExperimentError> {
        let definition: Self = toml::from_str(text).map_err(|error| settings_error(name, &error))?;
        Ok(Self { name: name.to_owned(), ..definition })
    }

    /// The settings: those declared, those of the full size where asked for, then the overrides.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] for what is no TOML, is not a setting, or has the wrong type.
    pub fn settings<T: DeserializeOwned>(&self, choices: &Choices) -> Result<T, ExperimentError> {
        let mut table = self.settings.clone();
        if choices.full {
            merge(&mut table, &self.full);
        }
        for text in &choices.overrides {
            let parsed: Option<Table> = text.parse().ok().or_else(|| quoted(text)?.parse().ok());
            let parsed = parsed.ok_or_else(|| {
                settings_error(&self.name, &format_args!("{text:?} is not of the form key=value, with a TOML value"))
            })?;
            merge(&mut table, &parsed);
        }
        table.try_into().map_err(|error: toml::de::Error| settings_error(&self.name, &error))
    }
}

/// `key=text` with the value as a string.
fn quoted(text: &str) -> Option<String> {
    text.split_once('=').map(|(key, value)| format!("{key} = {value:?}"))
}

fn settings_error(name: &str, reason: &dyn std::fmt::Display) -> ExperimentError {
    ExperimentError::Settings { experiment: name.to_owned(), reason: reason.to_string().trim_end().to_owned() }
}

fn merge(into: &mut Table, from: &Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(other)) => merge(inner, other),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const TEXT: &str = "title = 't'\nclaim = 'c'\nabout = 'a'\ntime = { default = '1 s', full = '2 s' }\n\
        [settings]\nsteps = 10\nname = 'x'\ninner = { a = 1, b = 2 }\n[full]\ninner = { b = 3 }\n";

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        steps: u64,
        name: String,
        inner: std::collections::BTreeMap<String, i64>,
    }

    fn settings(full: bool, overrides: &[&str]) -> Result<Settings, ExperimentError> {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Definition::parse("test", TEXT).unwrap().settings(&Choices { full, overrides })
    }

    #[test]
    fn full_size_and_overrides_replace_what_they_name() {
        let of = settings(true, &["steps=7", "name=hello", "inner.a = 5"]).unwrap();
        assert_eq!((of.steps, of.name.as_str()), (7, "hello"));
        assert_eq!((of.inner["a"], of.inner["b"]), (5, 3));
        assert_eq!(settings(false, &[]).unwrap().inner["b"], 2);
    }

    #[test]
    fn what_is_no_setting_is_refused_by_name() {
        for (text, expected) in [("stepz=1", "stepz"), ("steps", "key=value"), ("steps='many'", "steps")] {
            let error = settings(false, &[text]).unwrap_err().to_string();
            assert!(error.contains("test") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_file_is_a_definition() {
        let all = Definition::all().unwrap();
        assert_eq!(all.len(), FILES.len());
        assert!(matches!(Definition::find("l2"), Err(ExperimentError::Unknown { .. })));
    }
}
