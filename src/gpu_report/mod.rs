//! The report of `scripts/gpu.sh`: what an adapter passed, what was measured, each figure beside its goal.
//!
//! The script appends a line to a ledger after every piece of work; from that ledger the whole report is made anew each
//! time, so that what a cut leaves is a whole report of all that was done before.

mod goal;
mod goals;
mod harness;
mod ledger;
mod measured;
mod piece;
mod record;
mod tables;

use std::{io, path::Path};

pub use goal::{GoalLine, GoalVerdict};
pub use harness::{Failure, TestRun};
pub use ledger::{Run, Stage};
pub use piece::{Finding, Piece, PieceStatus};
pub use record::{Report, StageLine};

use ledger::Ledger;

impl Report {
    /// From the ledger in a folder.
    ///
    /// # Errors
    /// The file system's; `InvalidData` for a ledger of another form.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let Ledger { run, entries, tests } = Ledger::read(folder)?;
        let pieces = entries.into_iter().map(|entry| Piece::new(entry, &tests)).collect();
        let mut report =
            Self { run, stages: Vec::new(), goals: Vec::new(), failures: Vec::new(), left_out: Vec::new(), pieces };
        report.stages = Stage::ALL.into_iter().map(|stage| report.stage(stage)).collect();
        report.goals = goals::lines(&report);
        report.failures = report.pieces.iter().flat_map(Piece::failures).collect();
        report.left_out = report.left_out();
        Ok(report)
    }

    /// Writes `results.json` and `RESULTS.md` into a folder, each whole or not at all.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        crate::durable::write_file(&folder.join("results.json"), &json)?;
        crate::durable::write_file(&folder.join("RESULTS.md"), self.to_markdown().as_bytes())
    }
}
