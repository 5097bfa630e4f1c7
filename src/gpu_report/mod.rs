//! The report of `scripts/gpu.sh`: what an adapter passed, what was measured, each figure beside its goal.
//!
//! The script appends a line to a ledger after every piece of work; from that ledger the whole report is made anew each
//! time, so that what a cut leaves is a whole report of all that was done before.

mod goals;
mod harness;
mod ledger;
mod measured;
mod piece;
mod tables;

use std::{io, path::Path};

use serde::Serialize;

pub use goals::{GoalLine, GoalVerdict};
pub use harness::{Failure, TestRun};
pub use ledger::{Run, Stage};
pub use piece::{Finding, Piece, PieceStatus};

use ledger::Ledger;
use measured::{Roofline, Step, Torch, TorchLine, Variants};

/// The report of a run, whole or so far.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The run as a whole.
    pub run: Run,
    /// Each stage.
    pub stages: Vec<StageLine>,
    /// Each goal.
    pub goals: Vec<GoalLine>,
    /// What went wrong with the program on this adapter, by name.
    pub failures: Vec<String>,
    /// What was not done or not finished, and why.
    pub left_out: Vec<String>,
    /// Every piece of work, in order.
    pub pieces: Vec<Piece>,
}

/// A stage's result.
#[derive(Clone, Debug, Serialize)]
pub struct StageLine {
    /// Which.
    pub stage: Stage,
    /// Its result in a few words.
    pub result: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// Whether all its pieces were begun and came to an end.
    pub complete: bool,
}

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

    /// Whether every test of the kernels and every comparison with the trace ran and passed, and nothing else failed.
    #[must_use]
    pub fn correct(&self) -> bool {
        let tests = |stage: Stage| self.pieces_of(stage).all(|piece| piece.status == PieceStatus::Passed);
        let there = |stage: Stage| self.pieces_of(stage).next().is_some();
        let correctness = [Stage::Correctness, Stage::Trace];
        self.failures.is_empty() && correctness.into_iter().all(|stage| there(stage) && tests(stage))
    }

    /// Whether every stage but PyTorch's was done in full.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.stages.iter().all(|line| line.complete || line.stage == Stage::Torch)
    }

    fn pieces_of(&self, stage: Stage) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(move |piece| piece.stage == stage)
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Finding::Step(record) = &piece.finding { Some(record) } else { None })
    }

    fn variants(&self) -> impl Iterator<Item = &Variants> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Finding::Variants(record) = &piece.finding { Some(record) } else { None })
    }

    fn rooflines(&self) -> impl Iterator<Item = &Roofline> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Finding::Roofline(record) = &piece.finding { Some(record) } else { None })
    }

    fn torch(&self) -> impl Iterator<Item = &Torch> {
        self.pieces.iter().flat_map(Piece::torch).filter_map(|line| match line {
            TorchLine::Timed(record) => Some(record),
            TorchLine::Failed { .. } => None,
        })
    }

    fn stage(&self, stage: Stage) -> StageLine {
        let pieces: Vec<_> = self.pieces_of(stage).collect();
        let count = |status: PieceStatus| pieces.iter().filter(|piece| piece.status == status).count();
        let done = count(PieceStatus::Passed);
        let mut words = vec![format!("done {done} of {}", pieces.len())];
        for (status, word) in
            [(PieceStatus::Failed, "failed"), (PieceStatus::Cut, "out of time"), (PieceStatus::Skipped, "skipped")]
        {
            if count(status) > 0 {
                words.push(format!("{} {word}", count(status)));
            }
        }
        let result = if pieces.is_empty() { "not reached".to_owned() } else { words.join(", ") };
        let seconds = pieces.iter().fold(0.0, |sum, piece| sum + piece.seconds);
        let ended = |piece: &&Piece| matches!(piece.status, PieceStatus::Passed | PieceStatus::Failed);
        StageLine { stage, result, seconds, complete: !pieces.is_empty() && pieces.iter().all(ended) }
    }

    /// What was skipped, was cut or was never reached, pieces of one reason together.
    fn left_out(&self) -> Vec<String> {
        let mut reasons: Vec<(Stage, String, Vec<&str>)> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| matches!(piece.status, PieceStatus::Skipped | PieceStatus::Cut))
        {
            match reasons.iter_mut().find(|(stage, why, _)| (*stage, &why[..]) == (piece.stage, &piece.note[..])) {
                Some((.., titles)) => titles.push(&piece.title),
                None => reasons.push((piece.stage, piece.note.clone(), vec![&piece.title])),
            }
        }
        let skipped =
            reasons.into_iter().map(|(stage, why, titles)| format!("{}: {}: {why}", stage.letter(), titles.join("; ")));
        let unreached = self.stages.iter().filter(|line| self.pieces_of(line.stage).next().is_none());
        let unreached = unreached.map(|line| {
            format!(
                "{}: {}: not reached, the run was cut before or is still going",
                line.stage.letter(),
                line.stage.title()
            )
        });
        skipped.chain(unreached).collect()
    }

    /// Why there is no figure of a stage: what the piece says whose title has all of `words`, else any that was not done.
    fn why_not(&self, stage: Stage, words: &[&str]) -> String {
        let undone = |piece: &&Piece| piece.status != PieceStatus::Passed;
        let named = |piece: &&Piece| words.iter().all(|word| piece.title.contains(word));
        let reason = |piece: &Piece| format!("not measured: {}: {}", piece.title, piece.note);
        match self.pieces_of(stage).filter(undone).find(named) {
            Some(piece) => reason(piece),
            None if self.pieces_of(stage).next().is_none() => {
                format!("not measured: stage {} was not reached", stage.letter())
            }
            None if self.run.toy => "not measured: a rehearsal has other shapes".to_owned(),
            None => self
                .pieces_of(stage)
                .find(undone)
                .map_or("not measured: it was not among what was timed".to_owned(), reason),
        }
    }
}
