//! Where what the tests read and run lies: in the checkout that they were built in, or where they were carried to.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder that holds `assets`, `shaders` and `src`: JOSTLE_ROOT, else the one that the tests were built in.
pub fn root() -> PathBuf {
    std::env::var_os("JOSTLE_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The program under test: JOSTLE_BIN, else the one that was built along with the tests.
pub fn program() -> PathBuf {
    std::env::var_os("JOSTLE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_jostle").into(), PathBuf::from)
}

/// The Rust files of a folder and of those in it, or the file itself; none where there is no such folder.
pub fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| rust_files(&entry.unwrap().path())).collect();
    }
    if path.extension().is_some_and(|extension| extension == "rs") { vec![path.to_owned()] } else { Vec::new() }
}
