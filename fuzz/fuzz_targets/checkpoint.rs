//! Manifest, checksums and metrics of a checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A refusal is as good as any answer.
    let _ = jostle::fuzzing::checkpoint(bytes);
});
