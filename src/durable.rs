//! Files that are whole or absent, whatever happens meanwhile: a crash, a full disk, a power cut.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// What a file or folder is called while it is being written.
const PART: &str = ".part";

fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(PART);
    name.into()
}

/// Writes a file beside its target, makes it durable and renames it: whoever reads finds the old bytes or the new ones.
///
/// # Errors
/// The file system's; the target is then as it was.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part_of(path);
    let written = write_durably(&part, bytes).and_then(|()| fs::rename(&part, path));
    if let Err(error) = written {
        // Of no use, and in the way on a full disk. The first error is the one to report.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    sync_folder(parent(path))
}

/// Writes a folder of files as [`write_file`] writes one: it appears with all of them or not at all. A folder of its name is
/// removed at the last moment.
///
/// # Errors
/// The file system's; the folder is then as it was.
pub(crate) fn replace_folder(path: &Path, files: &[(&str, Vec<u8>)]) -> io::Result<()> {
    let part = part_of(path);
    discard(&part)?;
    let write = || {
        fs::create_dir_all(&part)?;
        for (name, bytes) in files {
            write_durably(&part.join(name), bytes)?;
        }
        sync_folder(&part)?;
        if_there(fs::remove_dir_all(path))?;
        fs::rename(&part, path)
    };
    if let Err(error) = write() {
        let _ = discard(&part);
        return Err(error);
    }
    sync_folder(parent(path))
}

/// Removes a folder with its files, if it is there: a crash meanwhile leaves nothing by its name, or the whole of it.
///
/// # Errors
/// The file system's.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    let part = part_of(path);
    discard(&part)?;
    if_there(fs::rename(path, &part))?;
    discard(&part)
}

fn discard(part: &Path) -> io::Result<()> {
    if_there(fs::remove_dir_all(part))
}

fn if_there(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes renames within a folder durable. Only Unix opens folders; elsewhere the rename is the file system's to keep.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_file(&path, b"old").unwrap();
        write_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_file(&path, b"old").unwrap();
        // What is to be the new file cannot be made: a folder has its name.
        fs::create_dir(part_of(&path)).unwrap();
        write_file(&path, b"new").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_folder_appears_whole_and_replaces_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::create_dir(part_of(&path)).unwrap();
        fs::write(part_of(&path).join("stale"), b"").unwrap();
        replace_folder(&path, &[("one", b"1".to_vec()), ("two", b"2".to_vec())]).unwrap();
        let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["one", "two"]);
        replace_folder(&path, &[("one", b"3".to_vec())]).unwrap();
        assert_eq!(fs::read(path.join("one")).unwrap(), b"3");
        assert!(!path.join("two").exists());
        remove_folder(&path).unwrap();
        remove_folder(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
