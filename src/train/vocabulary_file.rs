//! `vocabulary.json` in the folder of a run over a text.

use std::{io::ErrorKind, path::Path};

use crate::{data::Vocabulary, durable, input};

use super::{Prepared, TrainError};

/// The file of a run's folder that says what the tokens of its text stand for.
pub(super) const NAME: &str = "vocabulary.json";

/// Writes down in a run's folder what the tokens of its data stand for, where these are a text; removes what an earlier run of
/// other data has left.
pub(super) fn write(run: &Path, prepared: &Prepared) -> Result<(), TrainError> {
    let path = run.join(NAME);
    let written = match prepared.split.train.windows() {
        Some(windows) => {
            let bytes = windows.vocabulary().to_bytes();
            bytes.map_err(std::io::Error::from).and_then(|bytes| durable::write_file(&path, &bytes))
        }
        None if path.exists() => std::fs::remove_file(&path),
        None => Ok(()),
    };
    written.map_err(|source| TrainError::Io { path, source })
}

/// What the tokens of a run stand for.
///
/// # Errors
/// [`TrainError::Config`] where its folder does not say so, or says it wrongly; [`TrainError::Io`].
pub(super) fn read(run: &Path) -> Result<Vocabulary, TrainError> {
    let path = run.join(NAME);
    let bytes = input::bytes(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => {
            let reason = format!("expected a run over a text, found no {}", path.display());
            TrainError::Config { key: "run".to_owned(), reason }
        }
        _ => TrainError::Io { path: path.clone(), source },
    })?;
    let wrong = |reason| TrainError::Config { key: path.display().to_string(), reason };
    Vocabulary::parse(&bytes).map_err(wrong)
}
