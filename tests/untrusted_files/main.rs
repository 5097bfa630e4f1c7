//! Files from anywhere: the committed corpora of the fuzz targets, and files damaged in every way that can be thought of.
//! Whatever a file holds, a reader answers or refuses; it neither panics nor takes memory that the file does not pay for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod files;
mod memory;

mod bombs;
mod messages;
mod paths;
mod texts;

#[path = "../suite/common/places.rs"]
#[allow(dead_code, reason = "no program is started here")]
mod places;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use jostle::fuzzing::{ENTRIES, Entry};
use proptest::prelude::*;

use memory::peak_of;

/// Memory that a reader of a small file may take: the rows of a decoder, a parsed header, a plan of layers.
const SMALL: usize = 4 << 20;

fn corpus(target: &str) -> PathBuf {
    places::root().join("fuzz/corpus").join(target)
}

fn entry(target: &str) -> Entry {
    ENTRIES.iter().find(|(name, _)| *name == target).unwrap_or_else(|| panic!("no reader is called {target}")).1
}

/// The reader's answer; a panic is told with the bytes that made it.
#[track_caller]
fn feed(target: &str, bytes: &[u8], what: &str) -> Result<(), String> {
    let answer = catch_unwind(AssertUnwindSafe(|| entry(target)(bytes)));
    answer.unwrap_or_else(|_| panic!("{target} panicked on {what}: {:?}", bytes.escape_ascii().to_string()))
}

#[test]
fn every_corpus_is_taken_or_refused() {
    for (target, _) in ENTRIES {
        let mut answers = Vec::new();
        for file in fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("the corpus of {target}: {error}")) {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let (answer, peak) = peak_of(|| feed(target, &bytes, &path.display().to_string()));
            answers.push(answer.is_ok());
            let most = memory::most_for(bytes.len());
            assert!(peak <= most, "{}: {peak} bytes of memory, expected at most {most}", path.display());
        }
        assert!(answers.contains(&true) && answers.contains(&false), "{target}: {answers:?}");
    }
}

/// `cargo test --test untrusted_files -- --ignored` writes the seeds that fuzzing starts from.
#[test]
#[ignore = "writes into fuzz/corpus"]
fn write_the_seeds() {
    for (target, name, bytes) in files::seeds() {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(name), bytes).unwrap();
    }
}

#[test]
fn the_seeds_are_sound() {
    for (target, name, bytes) in files::seeds().into_iter().filter(|(_, name, _)| *name != "counter") {
        feed(target, &bytes, name).unwrap_or_else(|message| panic!("{target} {name}: {message}"));
    }
}

#[test]
fn files_cut_short_are_refused_at_every_length() {
    for (target, name, bytes) in files::seeds() {
        // A text cut between two lines, or two tokens, may be whole, and decoders of images show what they have.
        let has_to_refuse = !["model", "config", "image", "text", "tokens"].contains(&target);
        for len in 0..bytes.len() {
            let answer = feed(target, &bytes[..len], &format!("the first {len} bytes of {name}"));
            assert!(answer.is_err() || !has_to_refuse, "{target} took the first {len} bytes of {name}");
        }
    }
}

#[test]
fn files_with_a_byte_changed_do_no_harm() {
    for (target, name, mut bytes) in files::seeds() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                bytes[at] ^= flip;
                let (_, peak) = peak_of(|| feed(target, &bytes, &format!("{name} with byte {at} changed")));
                let most = memory::most_for(bytes.len());
                assert!(peak <= most, "{target} {name}, byte {at} ^ {flip:#x}: {peak} bytes, expected at most {most}");
                bytes[at] ^= flip;
            }
        }
    }
}

/// A seed with some stretches replaced, and perhaps packed.
fn damaged() -> impl Strategy<Value = (usize, Vec<(prop::sample::Index, Vec<u8>)>, bool)> {
    let edit = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..9));
    (0..files::seeds().len(), prop::collection::vec(edit, 1..6), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_bytes_do_no_harm(bytes: Vec<u8>, packed: bool) {
        for (target, _) in ENTRIES {
            let bytes = if packed { files::gzip(&bytes) } else { bytes.clone() };
            let _ = feed(target, &bytes, "any bytes");
        }
    }

    #[test]
    fn damaged_files_do_no_harm((seed, edits, packed) in damaged()) {
        let (target, name, mut bytes) = files::seeds().swap_remove(seed);
        let edits = if bytes.is_empty() { Vec::new() } else { edits };
        for (place, with) in edits {
            let start = place.index(bytes.len());
            let end = (start + with.len()).min(bytes.len());
            bytes[start..end].copy_from_slice(&with[..end - start]);
        }
        let bytes = if packed { files::gzip(&bytes) } else { bytes };
        let (_, peak) = peak_of(|| feed(target, &bytes, name));
        prop_assert!(peak <= memory::most_for(bytes.len()), "{peak} bytes of memory");
    }
}
