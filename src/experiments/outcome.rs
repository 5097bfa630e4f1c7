//! What an experiment found: claims with their figures, tables, drawings, and the files that hold them.

use std::{fs, path::Path};

use serde::Serialize;

use crate::report::{Block, Figure, HtmlReport, Section, Table};

use super::{Claim, Definition, ExperimentError, Verdict};

/// Everything an experiment found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The claims.
    pub claims: Vec<Claim>,
    /// What the reader should know: limits met, assumptions not met.
    pub notes: Vec<String>,
    /// Tables for the report.
    pub tables: Vec<Table>,
    /// Drawings, each with the stem of its files.
    pub figures: Vec<(String, Figure)>,
    /// The settings as they were used.
    pub settings: serde_json::Value,
    /// The measurements, which with the targets give the claims again.
    pub metrics: serde_json::Value,
}

/// Who measured, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Name and driver of the adapter.
    pub adapter: String,
    /// The command.
    pub command: String,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Outcome {
    /// Of the experiment as a whole.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::overall(&self.claims)
    }

    /// The claims as a table.
    #[must_use]
    pub fn claims_table(&self) -> Table {
        let rows = self.claims.iter().map(Claim::row).collect();
        Table::new("Claims", &["claim", "", "measured", "bar", "verdict"], rows)
    }

    /// Writes `verdict.json`, `metrics.json`, `report.md`, `report.html` and every figure into a folder.
    ///
    /// # Errors
    /// [`ExperimentError::Io`] naming the file, [`ExperimentError::Report`] for a figure.
    pub fn write(&self, out: &Path, definition: &Definition, by: &Provenance) -> Result<(), ExperimentError> {
        let verdict = serde_json::json!({
            "experiment": definition.name, "title": definition.title, "verdict": self.verdict(), "claims": self.claims, "notes": self.notes,
            "jostle": env!("CARGO_PKG_VERSION"), "provenance": by, "settings": self.settings,
        });
        write(&out.join("verdict.json"), &serde_json::to_string_pretty(&verdict)?)?;
        write(&out.join("metrics.json"), &serde_json::to_string(&self.metrics)?)?;
        for (stem, figure) in &self.figures {
            figure.save(&out.join(stem))?;
        }
        write(&out.join("report.md"), &self.markdown(definition, by))?;
        Ok(self.html(definition, by).save(&out.join("report.html"))?)
    }

    /// The verdict with the number of claims of each.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |verdict| self.claims.iter().filter(|claim| claim.verdict() == verdict).count();
        let word = match self.verdict() {
            Verdict::Holds => "Holds",
            Verdict::Fails => "Fails",
            Verdict::Inconclusive => "Inconclusive",
            Verdict::DoesNotApply => "No claim applies, so nothing is shown",
        };
        let [holds, fails, inconclusive, none] =
            [Verdict::Holds, Verdict::Fails, Verdict::Inconclusive, Verdict::DoesNotApply].map(count);
        format!(
            "{word}: of {} claims {holds} hold, {fails} fail, {inconclusive} are inconclusive, {none} do not apply.",
            self.claims.len()
        )
    }

    fn markdown(&self, definition: &Definition, by: &Provenance) -> String {
        let mut text =
            format!("# {}\n\n{}\n\n**{}**\n\n", definition.title, plain(definition.claim.trim()), self.summary());
        text.push_str(&self.claims_table().to_markdown());
        for note in &self.notes {
            text.push_str(&format!("\n{}\n", plain(note)));
        }
        for (stem, figure) in &self.figures {
            text.push_str(&format!("\n![{}]({stem}.svg)\n\n{}\n", figure.title, figure.caption));
        }
        text.push_str("\n## How\n");
        for paragraph in definition.about.trim_end().split("\n\n") {
            let formula = paragraph.starts_with("    ");
            text.push_str(&format!("\n{}\n", if formula { paragraph.to_owned() } else { plain(paragraph) }));
        }
        for table in &self.tables {
            text.push_str(&format!("\n## {}\n\n{}", table.title, table.to_markdown()));
        }
        let Provenance { adapter, command, seconds } = by;
        text + &format!("\n## Made by\n\n    {command}\n\non {adapter}, in {seconds:.0} s.\n")
    }

    fn html(&self, definition: &Definition, by: &Provenance) -> HtmlReport {
        let section = |heading: &str, blocks| Section { heading: heading.to_owned(), blocks };
        let mut result = vec![Block::Paragraph(self.summary()), Block::Table(self.claims_table())];
        result.extend(self.notes.iter().cloned().map(Block::Paragraph));
        let figures = self.figures.iter().map(|(_, figure)| Block::Figure(figure.clone())).collect();
        let about = definition.about.trim_end().split("\n\n").map(|paragraph| {
            if paragraph.starts_with("    ") {
                Block::Code(paragraph.lines().map(|line| format!("{}\n", line.trim_start())).collect())
            } else {
                Block::Paragraph(paragraph.replace('\n', " "))
            }
        });
        let provenance = vec![
            Block::Code(by.command.clone()),
            Block::KeyValues(vec![
                ("adapter".to_owned(), by.adapter.clone()),
                ("seconds".to_owned(), format!("{:.0}", by.seconds)),
            ]),
            Block::Code(serde_json::to_string_pretty(&self.settings).unwrap_or_default()),
        ];
        HtmlReport {
            title: definition.title.clone(),
            lead: vec![definition.claim.trim().to_owned()],
            sections: vec![
                section("Verdict", result),
                section("Figures", figures),
                section("How", about.collect()),
                section("Tables", self.tables.iter().cloned().map(Block::Table).collect()),
                section("Made by", provenance),
            ],
        }
    }
}

/// Text in which Markdown sees no emphasis.
fn plain(text: &str) -> String {
    text.replace('*', "\\*")
}

fn write(path: &Path, text: &str) -> Result<(), ExperimentError> {
    fs::write(path, text).map_err(|source| ExperimentError::Io { path: path.to_owned(), source })
}
