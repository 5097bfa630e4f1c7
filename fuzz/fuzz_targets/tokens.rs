//! Files of tokens as nanoGPT writes them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A refusal is as good as any answer.
    let _ = jostle::fuzzing::tokens(bytes);
});
