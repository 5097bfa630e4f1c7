//! Experiments as declared: a TOML file each, with what is claimed, how it is derived, and every number that counts.

use serde::{Deserialize, de::DeserializeOwned};
use toml::Table;

use super::ExperimentError;

/// Name and file of every experiment.
const FILES: [(&str, &str); 15] = [
    ("l1", include_str!("l1.toml")),
    ("group-l1", include_str!("group_l1.toml")),
    ("nuclear", include_str!("nuclear.toml")),
    ("convergence", include_str!("convergence.toml")),
    ("width", include_str!("width.toml")),
    ("attention-width", include_str!("attention_width.toml")),
    ("smoothed-loss", include_str!("smoothed_loss.toml")),
    ("generalisation", include_str!("generalisation.toml")),
    ("fmnist-mlp", include_str!("fmnist_mlp.toml")),
    ("cifar10-cnn", include_str!("cifar10_cnn.toml")),
    ("cifar10-resnet18", include_str!("cifar10_resnet18.toml")),
    ("cifar100-vgg11", include_str!("cifar100_vgg11.toml")),
    ("gpt-noise", include_str!("gpt_noise.toml")),
    ("vit-noise", include_str!("vit_noise.toml")),
    ("rules", include_str!("rules.toml")),
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
    /// The sizes in which it can be run, the first where none is asked for.
    pub scales: Vec<Size>,
    /// Settings of every size that does not say otherwise.
    settings: Table,
}

/// What a user chose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Name of a size; the first where none is given.
    pub scale: Option<String>,
    /// Settings such as `arms.steps=1000`.
    pub overrides: Vec<String>,
}

/// A size in which an experiment can be run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// For the command line.
    pub name: String,
    /// Human-readable running time, on two cores without a GPU unless it says otherwise.
    pub time: String,
    /// Settings of this size.
    #[serde(default)]
    settings: Table,
}

impl Definition {
    /// Every experiment.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] for a file that is not a definition.
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

    /// The name of the largest size: `full` where there is one, else the last.
    #[must_use]
    pub fn largest(&self) -> Option<&str> {
        let full = self.scales.iter().find(|scale| scale.name == "full");
        full.or(self.scales.last()).map(|scale| scale.name.as_str())
    }

    fn parse(name: &str, text: &str) -> Result<Self, ExperimentError> {
        let definition: Self = toml::from_str(text).map_err(|error| settings_error(name, &error))?;
        Ok(Self { name: name.to_owned(), ..definition })
    }

    /// The size of a name, the first without one.
    fn scale(&self, name: Option<&str>) -> Result<&Size, ExperimentError> {
        let found = self.scales.iter().find(|scale| name.is_none_or(|name| scale.name == name));
        found.ok_or_else(|| {
            let known: Vec<_> = self.scales.iter().map(|scale| scale.name.as_str()).collect();
            let reason = format!("there is no scale {:?}, but {}", name.unwrap_or_default(), known.join(", "));
            settings_error(&self.name, &reason)
        })
    }

    /// The settings: those declared, those of the size asked for, then the overrides.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] for a size that there is not, for what is no TOML, is not a setting, or has the
    /// wrong type.
    pub fn settings<T: DeserializeOwned>(&self, choices: &Choices) -> Result<T, ExperimentError> {
        let mut table = self.settings.clone();
        merge(&mut table, &self.scale(choices.scale.as_deref())?.settings);
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

    const TEXT: &str = "title = 't'\nclaim = 'c'\nabout = 'a'\n[settings]\nsteps = 10\nname = 'x'\n\
        inner = { a = 1, b = 2 }\n[[scales]]\nname = 'small'\ntime = '1 s'\n[[scales]]\nname = 'full'\ntime = '2 s'\n\
        settings = { inner = { b = 3 } }\n";

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        steps: u64,
        name: String,
        inner: std::collections::BTreeMap<String, i64>,
    }

    fn settings(scale: Option<&str>, overrides: &[&str]) -> Result<Settings, ExperimentError> {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        let choices = Choices { scale: scale.map(str::to_owned), overrides };
        Definition::parse("test", TEXT).unwrap().settings(&choices)
    }

    #[test]
    fn a_scale_and_overrides_replace_what_they_name() {
        let chosen = settings(Some("full"), &["steps=7", "name=hello", "inner.a = 5"]).unwrap();
        assert_eq!((chosen.steps, chosen.name.as_str()), (7, "hello"));
        assert_eq!((chosen.inner["a"], chosen.inner["b"]), (5, 3));
        assert_eq!(settings(None, &[]).unwrap().inner["b"], 2);
        let error = settings(Some("huge"), &[]).unwrap_err().to_string();
        assert!(error.contains("huge") && error.contains("small, full"), "{error}");
    }

    #[test]
    fn what_is_no_setting_is_refused_by_name() {
        for (text, expected) in [("stepz=1", "stepz"), ("steps", "key=value"), ("steps='many'", "steps")] {
            let error = settings(None, &[text]).unwrap_err().to_string();
            assert!(error.contains("test") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_file_is_a_definition() {
        let all = Definition::all().unwrap();
        assert_eq!(all.len(), FILES.len());
        assert!(matches!(Definition::find("l2"), Err(ExperimentError::Unknown { .. })));
        let largest = |name: &str| Definition::find(name).unwrap().largest().map(str::to_owned);
        for (name, expected) in [("generalisation", "full"), ("smoothed-loss", "full"), ("fmnist-mlp", "paper")] {
            assert_eq!(largest(name).as_deref(), Some(expected), "{name}");
        }
    }
}
