//! The report: its parts, and what it says of them.

use serde::Serialize;

use super::{
    Finding, GoalLine, Piece, PieceStatus, Run, Stage,
    measured::{Roofline, Step, Torch, TorchLine, Variants},
};

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

    pub(super) fn pieces_of(&self, stage: Stage) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(move |piece| piece.stage == stage)
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Finding::Step(record) = &piece.finding { Some(record) } else { None })
    }

    pub(super) fn variants(&self) -> impl Iterator<Item = &Variants> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Finding::Variants(record) = &piece.finding { Some(record) } else { None })
    }

    pub(super) fn rooflines(&self) -> impl Iterator<Item = &Roofline> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Finding::Roofline(record) = &piece.finding { Some(record) } else { None })
    }

    pub(super) fn torch(&self) -> impl Iterator<Item = &Torch> {
        self.pieces.iter().flat_map(Piece::torch).filter_map(|line| match line {
            TorchLine::Timed(record) if record.is_pytorch() => Some(record),
            _ => None,
        })
    }

    pub(super) fn stage(&self, stage: Stage) -> StageLine {
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
    pub(super) fn left_out(&self) -> Vec<String> {
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
    pub(super) fn why_not(&self, stage: Stage, words: &[&str]) -> String {
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
