#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| crossmount::fuzz_targets::run("digests", input));
