//! What a comparison of rules reports beside that of noise modes: how long each arm was, and what of it was chosen.

use serde_json::json;

use crate::{
    report::Table,
    train::{ArmRuns, Choice, Equal, Tried},
};

/// How arms of rules were made comparable.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleComparison {
    /// What their runs have in common.
    pub equal: Equal,
    /// Seeds of the runs that values were chosen by.
    pub grid_seeds: Vec<u64>,
    /// One an arm, also of those that diverged whatever their values and were left out; none of one that has nothing to choose.
    pub choices: Vec<Choice>,
}

impl RuleComparison {
    /// What the arms' runs have in common, in words.
    #[must_use]
    pub fn equality(&self) -> &'static str {
        match self.equal {
            Equal::Epochs => "equal epochs, whatever a step costs",
            Equal::Compute => {
                "equal gradient evaluations: an arm whose steps cost more has fewer epochs, its schedules with them"
            }
        }
    }

    /// The values that an arm was chosen to have.
    fn chosen(&self, arm: &str) -> String {
        let choice = self.choices.iter().find(|choice| choice.arm == arm);
        choice.and_then(Choice::values).map(Tried::text).filter(|text| !text.is_empty()).unwrap_or("-".to_owned())
    }

    /// How long the runs of each arm are.
    #[must_use]
    pub fn lengths(&self, results: &[ArmRuns]) -> Table {
        let row = |arm: &ArmRuns| {
            let config = &arm.arm.config;
            let (length, unit) = config.steps.map_or((config.epochs, "epochs"), |steps| (steps, "steps"));
            let evaluations = arm.cost.gradient_evaluations;
            vec![
                arm.arm.label.clone(),
                self.chosen(&arm.arm.label),
                format!("{length} {unit}"),
                format!("{evaluations:.2}"),
                format!("{:.1}", evaluations * length as f64),
            ]
        };
        let title = format!("Length of each arm: {}", self.equality());
        let headers = ["arm", "chosen", "length", "gradient evaluations a sample", "times the length"];
        Table::new(&title, &headers, results.iter().map(row).collect())
    }

    /// Every combination of values that was tried, if any was.
    #[must_use]
    pub fn grid(&self) -> Option<Table> {
        let rows = |choice: &Choice| -> Vec<Vec<String>> {
            let tried = choice.tried.iter().enumerate().filter(|(_, tried)| !tried.validation_losses.is_empty());
            let row = |(at, tried): (usize, &Tried)| {
                let loss = |loss: &Option<f64>| loss.map_or("diverged".to_owned(), |loss| format!("{loss:.4}"));
                let losses: Vec<String> = tried.validation_losses.iter().map(loss).collect();
                let mean = tried.mean().map_or("-".to_owned(), |mean| format!("{mean:.4}"));
                let taken = if choice.chosen == Some(at) { "chosen" } else { "" };
                vec![choice.arm.clone(), tried.text(), mean, losses.join(", "), taken.to_owned()]
            };
            tried.map(row).collect()
        };
        let rows: Vec<Vec<String>> = self.choices.iter().flat_map(rows).collect();
        let title =
            format!("Values tried, by the validation loss at the end of runs of their own, seeds {}", self.seeds());
        let headers = ["arm", "values", "mean validation loss", "by seed", ""];
        (!rows.is_empty()).then(|| Table::new(&title, &headers, rows))
    }

    fn seeds(&self) -> String {
        self.grid_seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The arms that were left out, as they diverged whatever their values.
    #[must_use]
    pub fn left_out(&self) -> Vec<&str> {
        self.choices.iter().filter(|choice| choice.chosen.is_none()).map(|choice| choice.arm.as_str()).collect()
    }

    /// Everything, for programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({
            "equal": self.equal, "grid_seeds": self.grid_seeds, "grid": self.choices, "left_out": self.left_out(),
        })
    }
}
