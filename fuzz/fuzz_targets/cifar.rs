//! Binary files of CIFAR-10 and CIFAR-100, plain or gzip.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A refusal is as good as any answer.
    let _ = jostle::fuzzing::cifar(bytes);
});
