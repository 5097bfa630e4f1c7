//! What a driver makes of every pipeline, for one family of GPUs.

use std::collections::BTreeMap;

use jostle::report::Table;
use jostle_compilers::spirv::{self, Checks};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    pipelines::{Pipeline, Selection, pipelines},
    radv::{Radv, Unavailable},
    statistics::Statistics,
};

/// Of one family.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Such as `rdna3`.
    pub family: String,
    /// The GPU, as the driver names it.
    pub device: String,
    /// Such as `Mesa 22.3.6`.
    pub driver: String,
    /// Whether the driver has cooperative matrices of 16 x 16 in f16 there.
    pub cooperative: bool,
    /// Every pipeline by its name.
    pub pipelines: BTreeMap<String, Compiled>,
}

/// A pipeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compiled {
    /// The training steps that take it.
    pub steps: Vec<String>,
    /// The compiler's numbers, or its refusal.
    pub outcome: Result<Statistics, String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No device.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The pipelines could not be listed.
    #[error("{0}")]
    Plan(String),
}

impl Report {
    /// Compiles what is selected by the driver that this process loads.
    ///
    /// # Errors
    /// Where there is no device, or a step cannot be planned.
    pub fn new(family: &str, selection: Selection) -> Result<Self, ReportError> {
        let radv = Radv::open()?;
        let mut compiled = BTreeMap::new();
        for pipeline in pipelines(radv.coop, selection).map_err(ReportError::Plan)? {
            let (name, outcome) = (pipeline.name(), compile(&radv, &pipeline));
            let steps = pipeline.steps.into_iter().collect();
            if compiled.insert(name.clone(), Compiled { steps, outcome }).is_some() {
                return Err(ReportError::Plan(format!("two pipelines are called {name}")));
            }
        }
        let (device, driver, cooperative) = (radv.name.clone(), radv.driver.clone(), radv.coop.is_some());
        Ok(Self { family: family.to_owned(), device, driver, cooperative, pipelines: compiled })
    }

    /// The version of Mesa without what a distribution adds to it: `25.0.7` of `Mesa 25.0.7-2~bpo12+1`.
    #[must_use]
    pub fn mesa(&self) -> &str {
        let version = self.driver.trim_start_matches("Mesa ");
        version.split(['-', ' ']).next().unwrap_or(version)
    }

    /// A line for each pipeline.
    #[must_use]
    pub fn table(&self) -> Table {
        let row = |(name, compiled): (&String, &Compiled)| match &compiled.outcome {
            Ok(numbers) => {
                let numbers = numbers.named().map(|(_, number)| number.to_string());
                [name.clone()].into_iter().chain(numbers).collect()
            }
            Err(words) => vec![format!("{name}: {words}")],
        };
        let headers: Vec<_> = ["pipeline"].into_iter().chain(Statistics::headers()).collect();
        let title = format!("{}: {}, {}", self.family, self.device, self.driver);
        Table::new(&title, &headers, self.pipelines.iter().map(row).collect())
    }

    /// How many pipelines there are and what is worst of them.
    #[must_use]
    pub fn summary(&self) -> String {
        let numbers = || self.pipelines.values().filter_map(|compiled| compiled.outcome.as_ref().ok());
        let spilling = numbers().filter(|numbers| numbers.spilt() > 0).count();
        let [least, most] = [numbers().map(Statistics::subgroups).min(), numbers().map(Statistics::subgroups).max()];
        let coop = if self.cooperative { "with" } else { "without" };
        format!(
            "{} ({}): {} of {} pipelines compiled, {spilling} spill, {} to {} subgroups a SIMD, {coop} cooperative matrices",
            self.family,
            self.driver,
            numbers().count(),
            self.pipelines.len(),
            least.unwrap_or(0),
            most.unwrap_or(0),
        )
    }

    /// As JSON for programs, every number by its name.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let pipeline = |(name, compiled): (&String, &Compiled)| {
            let mut fields =
                Map::from_iter([("name".to_owned(), json!(name)), ("steps".to_owned(), json!(compiled.steps))]);
            match &compiled.outcome {
                Ok(numbers) => fields.extend(numbers.named().map(|(name, number)| (name.to_owned(), json!(number)))),
                Err(words) => fields.extend([("refusal".to_owned(), json!(words))]),
            }
            Value::Object(fields)
        };
        json!({
            "family": self.family,
            "device": self.device,
            "driver": self.driver,
            "cooperative": self.cooperative,
            "pipelines": self.pipelines.iter().map(pipeline).collect::<Vec<_>>(),
        })
    }
}

fn compile(radv: &Radv, pipeline: &Pipeline) -> Result<Statistics, String> {
    let source = &pipeline.source;
    let spirv = spirv::write(source, &pipeline.overrides, Checks::AsTrained)?;
    Statistics::from_driver(&radv.compile(source.spec, &spirv)?)
}
