//! A run's configuration in TOML.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A refusal is as good as any answer.
    let _ = jostle::fuzzing::config(bytes);
});
