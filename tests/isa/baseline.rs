//! What a version of the compiler made of every pipeline, as it was committed, and what is worse now.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{report::Report, statistics::Statistics};

/// The numbers of one version of Mesa.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The version.
    pub mesa: String,
    /// Spills that are put up with: the reason, by how family and pipeline begin, such as `gcn5 conv_block`.
    pub argued: BTreeMap<String, String>,
    /// Names of the numbers.
    pub columns: Vec<String>,
    /// Numbers by pipeline and family.
    pub pipelines: BTreeMap<String, BTreeMap<String, Statistics>>,
}

/// What is to be said of reports beside a baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What must not be.
    pub failures: Vec<String>,
    /// What has changed.
    pub notes: Vec<String>,
}

impl Baseline {
    /// Where that of a version is committed.
    #[must_use]
    pub fn place(mesa: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("baseline-{mesa}.json"))
    }

    /// Reads one; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or is no baseline, or one of other numbers.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let baseline: Self = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if baseline.columns != Statistics::headers() {
            return Err(format!("{} has numbers of other names: remove it, and --update", path.display()));
        }
        Ok(Some(baseline))
    }

    /// This baseline with what reports say in place of what it said of their families.
    #[must_use]
    pub fn updated(mut self, mesa: &str, reports: &[Report]) -> Self {
        mesa.clone_into(&mut self.mesa);
        self.columns = Statistics::headers().map(str::to_owned).into();
        for report in reports {
            for families in self.pipelines.values_mut() {
                families.remove(&report.family);
            }
            for (name, compiled) in &report.pipelines {
                if let Ok(numbers) = compiled.outcome {
                    let families = self.pipelines.entry(name.clone()).or_default();
                    families.insert(report.family.clone(), numbers);
                }
            }
        }
        self.pipelines.retain(|_, families| !families.is_empty());
        self
    }

    /// As JSON, a line for each pipeline.
    ///
    /// # Errors
    /// None that strings and numbers could cause.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string::<BTreeMap<String, Statistics>>;
        let mut text = String::from("{\n");
        let Self { mesa, argued, columns, pipelines } = self;
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  \"mesa\": {},", serde_json::to_string(mesa)?);
        let _ = writeln!(text, "  \"argued\": {},", serde_json::to_string(argued)?);
        let _ = writeln!(text, "  \"columns\": {},", serde_json::to_string(columns)?);
        text.push_str("  \"pipelines\": {");
        for (number, (name, families)) in pipelines.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let _ = write!(text, "{comma}\n    {}: {}", serde_json::to_string(name)?, line(families)?);
        }
        text.push_str("\n  }\n}\n");
        Ok(text)
    }

    /// Whether a spill of this pipeline has a reason.
    fn argues(&self, family: &str, name: &str) -> bool {
        let site = format!("{family} {name}");
        self.argued.keys().any(|begins| site.starts_with(begins.as_str()))
    }

    fn numbers(&self, family: &str, name: &str) -> Option<&Statistics> {
        self.pipelines.get(name)?.get(family)
    }
}

impl Judgement {
    /// Of reports beside the baseline of their version, if there is one; without, only a refusal fails.
    #[must_use]
    pub fn new(baseline: Option<&Baseline>, reports: &[Report]) -> Self {
        let mut judgement = Self::default();
        for report in reports {
            for (name, compiled) in &report.pipelines {
                let site = format!("{} {name}", report.family);
                match &compiled.outcome {
                    Ok(numbers) => judgement.weigh(baseline, &report.family, name, numbers),
                    Err(words) => judgement.failures.push(format!("{site}: {words}")),
                }
            }
            let gone = baseline.iter().flat_map(|baseline| &baseline.pipelines);
            let gone = gone.filter(|(name, families)| {
                families.contains_key(&report.family) && !report.pipelines.contains_key(*name)
            });
            judgement.notes.extend(gone.map(|(name, _)| format!("{} {name}: gone", report.family)));
        }
        judgement
    }

    fn weigh(&mut self, baseline: Option<&Baseline>, family: &str, name: &str, now: &Statistics) {
        let site = format!("{family} {name}");
        if now.spilt() > 0 {
            let line = format!("{site}: {} registers spilt", now.spilt());
            match baseline {
                Some(baseline) if !baseline.argues(family, name) => self.failures.push(line),
                _ => self.notes.push(line),
            }
        }
        let Some(baseline) = baseline else { return };
        let Some(before) = baseline.numbers(family, name) else {
            self.notes.push(format!("{site}: new"));
            return;
        };
        if now.subgroups() < before.subgroups() {
            let [now, before] = [now.subgroups(), before.subgroups()];
            self.failures.push(format!("{site}: occupancy lost: {now} subgroups a SIMD, {before} before"));
        }
        let changes: Vec<_> = before
            .named()
            .zip(now.named())
            .filter(|((_, before), (_, now))| before != now)
            .map(|((header, before), (_, now))| format!("{header} {before} -> {now}"))
            .collect();
        if !changes.is_empty() {
            self.notes.push(format!("{site}: {}", changes.join(", ")));
        }
    }
}
