//! Texts, plain or gzip, as characters and as bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A refusal is as good as any answer.
    let _ = jostle::fuzzing::text_file(bytes);
});
